"""CN-Celeb's preparation, on synthetic and on real speech in the layout of the archives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vprtrain.data.manifest import read_manifest, read_recordings
from vprtrain.data.preparation import Preparation, Summary
from vprtrain.data.synthetic import voices
from vprtrain.errors import RunError, UsageError
from vprtrain.recipes.cnceleb.corpus import make_corpus
from vprtrain.recipes.cnceleb.prepare import prepare as prepare_cnceleb
from vprtrain.scoring.trials import read_enrollment, read_trials
from vprtrain.speaker.data import SpeakerData

PATIENCE = 60.0
"""Seconds: far more than is needed, so that only a hang exceeds it."""
SMALL = {"speakers": 3, "unseen": 2, "utterances": 4, "seconds": 0.6}


def prepare(
    cnceleb1: Path | None, out: Path, *more: Path, workers: int = 2, **options: Any
) -> Summary:
    preparation = Preparation(out_dir=out, workers=workers)
    prepare_cnceleb(preparation, cnceleb1, *more, **options)
    return preparation.finish()


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("small"), **SMALL)


@pytest.fixture
def corpus(small_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the small corpus, for the test to change."""
    return Path(shutil.copytree(small_corpus, tmp_path / "given" / "CN-Celeb_flac"))


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_corpus_has_the_layout_of_cnceleb(small_corpus: Path) -> None:
    assert small_corpus.name == "CN-Celeb_flac"
    assert (small_corpus / "dev/dev.lst").read_text().split() == ["id00000", "id00001", "id00002"]
    assert len(list((small_corpus / "data").glob("id*/speech-*.flac"))) == 5 * 4
    assert {path.name for path in (small_corpus / "eval/enroll").iterdir()} == {
        "id00800-enroll.flac",
        "id00801-enroll.flac",
    }
    lists = small_corpus / "eval/lists"
    assert (lists / "enroll.lst").read_text().split("\n")[
        0
    ] == "id00800-enroll enroll/id00800-enroll.wav"
    assert len(read_enrollment(lists / "enroll.map")["id00800-enroll"]) == 3
    trials = read_trials(lists / "trials.lst")
    assert len(trials) == 4 and trials.targets.sum() == 2
    assert (lists / "test.lst").read_text().split() == list(trials.test_ids)
    info = soundfile.info(small_corpus / "data/id00000/speech-01-001.flac")
    assert (info.samplerate, info.channels, info.frames, info.format) == (16000, 1, 9600, "FLAC")
    enrolled, _ = soundfile.read(small_corpus / "eval/enroll/id00801-enroll.flac")
    first, _ = soundfile.read(small_corpus / "data/id00801/speech-01-001.flac")
    assert len(enrolled) == 3 * 9600
    np.testing.assert_array_equal(enrolled[:9600], first)


def test_a_complete_corpus_is_used_again(small_corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_corpus.rglob("*")}
    assert make_corpus(small_corpus.parent, **SMALL) == small_corpus
    assert {path: path.stat().st_mtime_ns for path in small_corpus.rglob("*")} == before


def test_an_incomplete_corpus_is_completed_to_the_same(small_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(small_corpus.parent, tmp_path / "again")
    again = tmp_path / "again"
    (again / "corpus.json").rename(again / "corpus.partial.json")
    shutil.rmtree(again / "CN-Celeb_flac/data/id00801")
    (again / "CN-Celeb_flac/dev/dev.lst").unlink()
    make_corpus(again, **SMALL, processes=3)
    assert files_below(again) == files_below(small_corpus.parent)


def test_other_folders_are_never_touched(small_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds another synthetic corpus"):
        make_corpus(small_corpus.parent, **{**SMALL, "seconds": 0.7})
    (tmp_path / "CN-Celeb_flac").mkdir()
    with pytest.raises(UsageError, match="not a synthetic corpus"):
        make_corpus(tmp_path, **SMALL)
    for change in (
        {"speakers": 801},
        {"unseen": 1},
        {"utterances": 1},
        {"seconds": 0.1},
        {"processes": 0},
    ):
        with pytest.raises(UsageError, match="expected"):
            make_corpus(tmp_path / "new", **{**SMALL, **change})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_survives_the_one_that_is_killed(tmp_path: Path, sent: signal.Signals) -> None:
    code = (
        "import sys\n"
        "from vprtrain.recipes.cnceleb.corpus import make_corpus\n"
        "make_corpus(sys.argv[1], speakers=800, seconds=1.0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    maker = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    data = tmp_path / "CN-Celeb_flac" / "data"
    try:
        deadline = time.monotonic() + PATIENCE
        while len(list(data.rglob("*.flac"))) < 4:
            assert maker.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        maker.send_signal(sent)
        assert maker.wait(PATIENCE) != 0
        while processes_in_group(maker.pid):
            assert time.monotonic() < deadline, "a synthesising process goes on without its parent"
            time.sleep(0.05)
        assert not (tmp_path / "corpus.json").exists(), "it was complete before the signal arrived"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(maker.pid, signal.SIGKILL)
    for path in data.glob("id*/speech-*.flac"):
        assert soundfile.info(path).frames == 16000
    assert (tmp_path / "corpus.partial.json").is_file()


def processes_in_group(group: int) -> list[int]:
    """The living processes of a group, without those that only wait for their parent."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended after the listing
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            alive.append(int(stat.parent.name))
    return alive


def test_a_process_that_fails_fails_the_corpus(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus.partial.json").write_text(
        json.dumps({**SMALL, "seed": 0, "generator": voices.VERSION}), encoding="utf-8"
    )
    (tmp_path / "CN-Celeb_flac").write_text("a file where a folder should be")
    with pytest.raises(RunError, match="making the corpus failed"):
        make_corpus(tmp_path, **SMALL)
    assert not (tmp_path / "corpus.json").exists()
    assert "NotADirectoryError" in capfd.readouterr().err


def test_prepare_selects_by_the_lists_and_finds_every_recording(
    corpus: Path, tmp_path: Path
) -> None:
    """Four traps: unlisted speakers below id00800, lists that name .wav, WAV beside FLAC, hidden
    files."""
    shutil.copytree(corpus / "data/id00000", corpus / "data/id00700")
    wave, rate = soundfile.read(corpus / "data/id00001/speech-01-001.flac")
    soundfile.write(corpus / "data/id00001/speech-01-001.wav", wave, rate)
    soundfile.write(corpus / "data/id00001/speech-02-001.WAV", wave, rate)
    (corpus / "data/id00001/._speech-01-002.flac").write_bytes(b"resource fork")
    (corpus / "data/id00001/notes.txt").write_text("no audio")
    (corpus / "eval/test/id00800-speech-01-004.flac").rename(
        corpus / "eval/test/id00800-speech-01-004.wav"
    )
    summary = prepare(corpus.parent, tmp_path / "out")

    manifest = read_manifest(tmp_path / "out/train.tsv")
    assert manifest.speakers == ("id00000", "id00001", "id00002")
    names = [
        Path(manifest[index].path).name
        for index in range(len(manifest))
        if manifest[index].speaker == "id00001"
    ]
    assert names == [f"speech-01-00{number}.flac" for number in (1, 2, 3, 4)] + [
        "speech-02-001.WAV"
    ]
    np.testing.assert_allclose(manifest.durations, 0.6, atol=1e-6)
    recordings = read_recordings(tmp_path / "out/eval.tsv")
    assert recordings["test/id00800-speech-01-004.wav"].path.endswith(".wav")
    assert recordings["id00801/speech-01-001.wav"].path.endswith("data/id00801/speech-01-001.flac")
    assert all(Path(recording.path).is_file() for recording in recordings.values())
    counts = summary.counts
    assert (
        counts["speakers in train.tsv"],
        counts["utterances in train.tsv"],
        counts["recordings in eval.tsv"],
    ) == (
        3,
        13,
        10,
    )
    assert "3 training speakers listed in CN-Celeb1  (complete: 797)" in str(summary)
    assert "4 trials  (complete: 3,484,292)" in str(summary)
    assert "25 utterances in CN-Celeb1's data, of all speakers  (complete: 126,532)" in str(summary)


def test_both_enrolments_can_be_evaluated(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "out")
    out = tmp_path / "out"
    arguments = {
        "train_manifest": out / "train.tsv",
        "trials": out / "trials.txt",
        "eval_manifest": out / "eval.tsv",
    }
    averaged = SpeakerData.from_files(
        **arguments, enroll=out / "enroll.map", batch_size=4, crop_seconds=0.5
    )
    concatenated = SpeakerData.from_files(**arguments, batch_size=4, crop_seconds=0.5)
    lengths = []
    for data in (averaged, concatenated):
        batches = data.validation_batches()
        assert batches is not None
        lengths.append(sorted(waveform.size for batch in batches for waveform in batch.waveforms))
    assert lengths == [[9600] * 8, [9600] * 2 + [28800] * 2]
    assert len(list(averaged.train_batches(0, 0))) == 3


def test_cnceleb2_adds_its_listed_speakers(corpus: Path, tmp_path: Path) -> None:
    second = tmp_path / "CN-Celeb2_flac"
    for speaker in ("id10001", "id10002"):
        shutil.copytree(corpus / "data/id00000", second / "data" / speaker)
    (second / "spk.lst").write_text("id10001\nid19999\n")
    summary = prepare(corpus, tmp_path / "out", second)
    assert read_manifest(tmp_path / "out/train.tsv").speakers == (
        "id00000",
        "id00001",
        "id00002",
        "id10001",
    )
    assert (
        "1 speakers of" in str(summary)
        and "have no folder" in str(summary)
        and "id19999" in str(summary)
    )
    assert "there is nothing to validate on" in str(
        prepare(None, tmp_path / "alone", second.parent)
    )
    assert read_manifest(tmp_path / "alone/train.tsv").speakers == ("id10001",)
    assert not (tmp_path / "alone/eval.tsv").exists()
    with pytest.raises(UsageError, match="neither cnceleb1 nor cnceleb2 is given"):
        prepare(None, tmp_path / "none")


def test_short_utterances_are_joined_by_speaker_and_genre(corpus: Path, tmp_path: Path) -> None:
    """Four of 0.6 s, one of another genre: three together reach 1.5 s, the fourth is unchanged."""
    for speaker in ("id00000", "id00001"):
        (corpus / "data" / speaker / "speech-01-004.flac").rename(
            corpus / "data" / speaker / "vlog-01-001.flac"
        )
    prepare(corpus, tmp_path / "out", join_seconds=1.5)
    manifest = read_manifest(tmp_path / "out/train.tsv")
    rows = [
        (manifest.written_paths[index], round(float(manifest.durations[index]), 3))
        for index in range(len(manifest))
    ]
    assert rows == [
        ("joined/id00000/speech-01-001-comb3.flac", 1.8),
        (str(corpus / "data/id00000/vlog-01-001.flac"), 0.6),
        ("joined/id00001/speech-01-001-comb3.flac", 1.8),
        (str(corpus / "data/id00001/vlog-01-001.flac"), 0.6),
        ("joined/id00002/speech-01-001-comb4.flac", 2.4),
    ]
    joined, _ = soundfile.read(manifest[0].path, dtype="int16")
    parts = [
        soundfile.read(corpus / f"data/id00000/speech-01-00{n}.flac", dtype="int16")[0]
        for n in (1, 2, 3)
    ]
    np.testing.assert_array_equal(joined, np.concatenate(parts))
    assert not [
        path
        for path in read_recordings(tmp_path / "out/eval.tsv").values()
        if "joined" in path.path
    ]


def test_manifests_below_the_data_move_with_them(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, corpus.parent)
    moved = corpus.parent.rename(tmp_path / "elsewhere")
    assert Path(read_manifest(moved / "train.tsv")[0].path).is_file()


def test_unusable_utterances_are_left_out_and_counted(corpus: Path, tmp_path: Path) -> None:
    soundfile.write(corpus / "data/id00000/speech-01-001.flac", np.zeros(1600), 16000)
    (corpus / "data/id00000/speech-01-002.flac").write_bytes(b"")
    summary = prepare(corpus, tmp_path / "out")
    assert summary.counts["utterances in train.tsv"] == 10
    assert summary.counts["bad recordings, named in bad_audio.tsv"] == 2
    assert "speech-01-002.flac: empty" in str(summary) and "0.10 s; expected at least 0.5 s" in str(
        summary
    )


def test_a_second_run_writes_the_same(corpus: Path, tmp_path: Path) -> None:
    first = prepare(corpus, tmp_path / "out", workers=1)
    before = files_below(tmp_path / "out")
    assert set(before) == {
        *("train.tsv", "eval.tsv", "trials.txt", "enroll.map", "bad_audio.tsv", "durations.cache"),
    }
    (tmp_path / "out/train.tsv").write_text("half")
    (tmp_path / "out/.tmp-eval.tsv").write_text("left by a kill")
    assert str(prepare(corpus, tmp_path / "out", workers=4)) == str(first)
    assert files_below(tmp_path / "out") == before


def test_killed_at_any_moment_it_is_finished_by_the_next_run(corpus: Path, tmp_path: Path) -> None:
    """Killed between two system calls: while joining, planning, packing and indexing."""
    command = [
        sys.executable,
        "-m",
        "vprtrain",
        "prepare",
        "--recipe=cnceleb",
        f"--cnceleb1={corpus}",
        "--workers=1",
        "--shards",
    ]
    command += ["--join_seconds=1.5"]
    killer = (
        "import os, signal, sys\n"
        "from vprtrain import files\n"
        "left = [int(sys.argv.pop(1))]\n"
        "def watch(point):\n"
        "    left[0] -= 1\n"
        "    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.watch = watch\n"
        "from vprtrain.__main__ import console\n"
        "console()\n"
    )
    whole = tmp_path / "whole"
    subprocess.run([*command, f"--out_dir={whole}"], check=True, capture_output=True)
    killed = tmp_path / "killed"
    for passing in (4, 9, 11, 13):  # joining, planning the shards, packing, their index
        started = [command[0], "-c", killer, str(passing), *command[3:], f"--out_dir={killed}"]
        assert subprocess.run(started, capture_output=True).returncode == -signal.SIGKILL
    subprocess.run([*command, f"--out_dir={killed}"], check=True, capture_output=True)
    left, right = files_below(whole), files_below(killed)
    assert {name: len(content) for name, content in right.items()} == {
        name: len(content) for name, content in left.items()
    }
    for name in left.keys() - {"durations.cache", "shards/plan.json"}:  # which hold times and paths
        assert right[name] == left[name], name


def test_a_wrong_folder_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(
        UsageError, match=r"not an unpacked CN-Celeb_flac: dev/dev\.lst, eval/lists/trials\.lst not"
    ):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_evaluation_files_are_named(corpus: Path, tmp_path: Path) -> None:
    (corpus / "eval/test/id00801-speech-01-004.flac").unlink()
    with pytest.raises(
        UsageError, match=r"1 recordings of the evaluation are missing.*id00801-speech-01-004\.wav"
    ):
        prepare(corpus, tmp_path / "out")


def test_real_speech_laid_out_as_cnceleb(test_data: Path, tmp_path: Path) -> None:
    pack = test_data / "dev_pack"
    command = [
        sys.executable,
        pack / "make_layouts.py",
        pack,
        tmp_path,
        "cnceleb",
        "--max-per-speaker",
        "2",
    ]
    subprocess.run(command, check=True, capture_output=True)
    summary = prepare(tmp_path, tmp_path / "out")
    assert (
        summary.counts["speakers in train.tsv"] == 294
        and summary.counts["recordings in eval.tsv"] == 69 * 3
    )
    assert not summary.remarks
    out = tmp_path / "out"
    data = SpeakerData.from_files(
        train_manifest=out / "train.tsv",
        trials=out / "trials.txt",
        eval_manifest=out / "eval.tsv",
        enroll=out / "enroll.map",
        batch_size=32,
    )
    batch = next(iter(data.train_batches(0, 0)))
    assert batch.waveforms.shape == (32, 48000) and 0.01 < np.abs(batch.waveforms).max() <= 1
    batches = data.validation_batches()
    assert batches is not None
    keys = [key for batch in batches for key in batch.keys]
    assert len(keys) == len(set(keys)) == 69 * 2
