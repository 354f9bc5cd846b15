"""``vprtrain prepare``: any folder becomes something to train on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vprtrain.commands import program
from vprtrain.commands.prepare import prepare
from vprtrain.data.manifest import read_manifest, read_recordings
from vprtrain.speaker.data import SpeakerData

main = program.choose(prepare, description="", prog="vprtrain")


@pytest.fixture
def speakers(tmp_path: Path) -> Path:
    """Five speakers with three utterances each, in ``wav``."""
    rng = np.random.default_rng(0)
    for speaker in range(5):
        for number in range(3):
            path = tmp_path / "wav" / f"speaker {speaker}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 12000), 16000)
    return tmp_path / "wav"


def test_a_folder_of_speakers_with_some_held_out(
    speakers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [
        "prepare",
        "--from=folder",
        str(speakers),
        f"--out_dir={out}",
        "--held_out=2",
        "--shards",
    ]
    assert program.status(main, arguments) == 0
    said = capsys.readouterr().out
    assert "3 speakers in train.tsv" in said and "15 trials" in said and "1 shards" in said
    data = SpeakerData.from_files(
        train_manifest=out / "train.tsv",
        trials=out / "trials.txt",
        eval_manifest=out / "eval.tsv",
        shards=out / "shards",
        batch_size=4,
        crop_seconds=0.5,
    )
    assert data.num_speakers == 3 and len(list(data.train_batches(0, 0))) == 2
    assert len(read_recordings(out / "eval.tsv")) == 6


def test_trials_of_speakers_who_would_be_trained_on_are_refused(
    speakers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["prepare", "--from=folder", str(speakers), f"--out_dir={out}"]
    assert program.status(main, [*arguments, "--held_out=2"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert program.status(main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "has eval.tsv and trials.txt of speakers who would now be in the training data; give --held"
        in line
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "trials.txt").unlink()
    assert program.status(main, arguments) == 2
    (out / "eval.tsv").unlink()
    assert program.status(main, arguments) == 0
    assert len(read_manifest(out / "train.tsv").speakers) == 5


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_name_that_standard_output_has_no_letters_for_is_escaped(
    speakers: Path, tmp_path: Path, encoding: str
) -> None:
    bad = os.path.join(os.fsencode(speakers), b"speaker 0", "é".encode() + b"\xff.wav")
    with open(bad, "wb"):
        pass
    command = [
        sys.executable,
        "-m",
        "vprtrain",
        "prepare",
        "--from=folder",
        str(speakers),
        f"--out_dir={tmp_path}",
    ]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert rb"\udcff.wav" in done.stdout and b"15 utterances in train.tsv" in done.stdout


@pytest.mark.parametrize("origin", ["kaldi", "ppvector"])
def test_lists_with_relative_paths(speakers: Path, tmp_path: Path, origin: str) -> None:
    source = tmp_path / "lists"
    source.mkdir()
    files = sorted(speakers.rglob("*.wav"))
    relative = [str(path.relative_to(tmp_path)) for path in files]
    labels = [path.parent.name.replace("speaker ", "1") for path in files]
    if origin == "kaldi":
        (source / "wav.scp").write_text(
            "".join(f"u{n} {path}\n" for n, path in enumerate(relative))
        )
        (source / "utt2spk").write_text(
            "".join(f"u{n} {label}\n" for n, label in enumerate(labels))
        )
    else:
        source /= "train_list.txt"
        source.write_text(
            "".join(f"{path}\t{label}\n" for path, label in zip(relative, labels, strict=True))
        )
    out = tmp_path / "out"
    arguments = [
        "prepare",
        f"--from={origin}",
        str(source),
        f"--root={tmp_path}",
        f"--out_dir={out}",
    ]
    assert program.status(main, arguments) == 0
    manifest = read_manifest(out / "train.tsv")
    assert manifest.speakers == ("10", "11", "12", "13", "14")
    assert [manifest[index].path for index in range(15)] == list(map(str, files))
    np.testing.assert_allclose(manifest.durations, 0.75)


def test_what_cannot_be_used_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["--from=kaldi", str(tmp_path)], "wav.scp and utt2spk not found"),
        (["--from=htk", str(tmp_path)], "'--from'"),
        (["--from=folder", str(tmp_path / "nowhere")], "no such folder"),
        (["--from=folder", str(tmp_path), "--musan", str(tmp_path)], "not an unpacked musan"),
    ):
        assert program.status(main, ["prepare", *arguments, f"--out_dir={tmp_path / 'out'}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
