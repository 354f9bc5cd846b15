"""``embed`` and ``identify`` of many recordings: lists, files, and what cannot be used."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.commands import program
from vprtrain.commands.main import main
from vprtrain.inference import many

RATE = 16000


class Answer(NamedTuple):
    status: int
    out: str
    error: str


Vprtrain = Callable[..., Answer]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("many") / "epoch_1", threshold=0.999)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: 0.wav to 5.wav of several lengths, and silent.wav."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        waveform = voice(number, seconds=2.5 - 0.3 * number)
        soundfile.write(tmp_path / f"{number}.wav", waveform, RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, "float32"), RATE)
    return tmp_path


@pytest.fixture
def vprtrain(capsys: pytest.CaptureFixture[str], checkpoint: Path, folder: Path) -> Vprtrain:
    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        status = program.status(main, [*arguments, f"--checkpoint={checkpoint}"])
        return Answer(status, *capsys.readouterr())

    return run


@pytest.fixture
def one_by_one(checkpoint: Path, folder: Path) -> dict[str, np.ndarray]:
    predictor = Predictor(checkpoint)
    return {f"{number}.wav": predictor.embed(f"{number}.wav") for number in range(6)}


def assert_close(found: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for key, embedding in expected.items():
        np.testing.assert_allclose(np.array(found[key], "float32"), embedding, atol=1e-5, rtol=0)


def read_ark(path: str) -> np.ndarray:
    """A float vector at ``file:offset``, read as Kaldi's documentation describes the format."""
    name, _, offset = path.rpartition(":")
    data = Path(name).read_bytes()[int(offset) :]
    assert data[:6] == b"\0BFV \4"
    (length,) = struct.unpack("<i", data[6:10])
    return np.frombuffer(data[10 : 10 + 4 * length], "<f4")


def test_many_files_are_a_line_each(vprtrain: Vprtrain, one_by_one: dict[str, np.ndarray]) -> None:
    answer = vprtrain("embed", *one_by_one)
    assert answer.status == 0 and not answer.error
    rows = [line.split("\t") for line in answer.out.splitlines()]
    for key, values in rows:
        np.testing.assert_allclose(
            np.array(values.split(), float), one_by_one[key], rtol=1e-5, atol=1e-5
        )
    assert [key for key, _ in rows] == list(one_by_one)


def test_a_bad_file_is_named_and_does_not_stop_the_others(
    vprtrain: Vprtrain, one_by_one: dict[str, np.ndarray]
) -> None:
    files = ["silent.wav", *one_by_one, "gone.wav"]
    answer = vprtrain("embed", *files, "--json")
    found = json.loads(answer.out)
    assert answer.status == 1
    assert_close(found["embeddings"], one_by_one)
    assert list(found["refused"]) == ["silent.wav", "gone.wav"]
    assert found["refused"]["gone.wav"].startswith("No such file")
    lines = answer.error.splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in lines] == ["silent.wav", "gone.wav"]
    assert all(line.endswith("; left out") for line in lines)


@pytest.mark.parametrize("suffix", [".npz", ".ark", ".jsonl"])
def test_a_file_of_embeddings(
    vprtrain: Vprtrain, one_by_one: dict[str, np.ndarray], folder: Path, suffix: str
) -> None:
    out = f"found{suffix}"
    answer = vprtrain("embed", *one_by_one, "silent.wav", f"--out={out}")
    assert answer.status == 1
    assert answer.out == f"{out}: 6 embeddings; 1 left out\n"
    if suffix == ".npz":
        with np.load(out) as content:
            found = dict(zip(content["keys"].tolist(), content["embeddings"], strict=True))
            assert content["embeddings"].dtype == np.float32
    elif suffix == ".ark":
        rows = [line.split() for line in Path("found.scp").read_text().splitlines()]
        found = {key: read_ark(path) for key, path in rows}
    else:
        lines = [json.loads(line) for line in Path(out).read_text().splitlines()]
        assert lines[-1].keys() == {"id", "error"} and lines[-1]["id"] == "silent.wav"
        found = {line["id"]: line["embedding"] for line in lines[:-1]}
    assert_close(found, one_by_one)


def test_lists(vprtrain: Vprtrain, one_by_one: dict[str, np.ndarray], folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "paths.txt").write_text("../0.wav\n\n../1.wav\n")
    (folder / "lists" / "named.tsv").write_text("two\t../2.wav\nthree\t../3.wav\t1.6\n")
    (folder / "lists" / "wav.scp").write_text("four 4.wav\n")
    lists = ("--list=lists/paths.txt", "--scp=lists/wav.scp")
    found = json.loads(vprtrain("embed", "5.wav", *lists, "--json").out)["embeddings"]
    names = {"5.wav": "5.wav", "lists/../0.wav": "0.wav", "lists/../1.wav": "1.wav"}
    names["four"] = "4.wav"
    assert_close(found, {key: one_by_one[name] for key, name in names.items()})
    found = json.loads(vprtrain("embed", "--list=lists/named.tsv", "--json").out)["embeddings"]
    assert_close(found, {"two": one_by_one["2.wav"], "three": one_by_one["3.wav"]})


MISTAKES = [
    (("embed",), "give FILES, --list or --scp"),
    (("embed", "0.wav", "--out=found.txt"), "found.txt has another suffix: expected .npz"),
    (("embed", "0.wav", "--out=gone/found.npz"), "there is no folder for --out gone/found.npz"),
    (("embed", "a b.wav", "--out=found.ark"), "the id 'a b.wav' has a blank"),
    (("embed", "--list=gone.txt"), "gone.txt: no such file"),
    (("embed", "--scp=pipe.scp"), "commands are not run"),
    (("embed", "0.wav", "1.wav", "--workers=-1"), "--workers is -1"),
    (("embed", "--list=twice.tsv", "--scp=twice.scp"), "the id 'one' is that of "),
    (("identify", "0.wav", "--out=found.npz"), "found.npz has another suffix: expected .jsonl"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes(vprtrain: Vprtrain, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder / "pipe.scp").write_text("one cat 0.wav |\n")
    (folder / "twice.tsv").write_text("one\t0.wav\n")
    (folder / "twice.scp").write_text("one 1.wav\n")
    answer = vprtrain(*arguments)
    assert (answer.status, answer.out, answer.error.count("\n")) == (2, "", 1)
    assert said in answer.error


def test_nothing_is_written_when_nothing_can_be_used(vprtrain: Vprtrain, folder: Path) -> None:
    before = set(folder.iterdir())
    answer = vprtrain("embed", "silent.wav", "gone.wav", "--out=found.ark")
    assert answer.status == 1 and "none of the 2 recordings can be used" in answer.error
    answer = vprtrain("embed", "gone.wav", "--out=found.npz")
    assert (answer.status, answer.error.count("\n")) == (1, 1) and "No such file" in answer.error
    assert set(folder.iterdir()) == before


def test_identify_many(vprtrain: Vprtrain, folder: Path) -> None:
    for number in (0, 1):
        assert vprtrain("enroll", f"user {number}", f"{number}.wav").status == 0
    files = ("0.wav", "1.wav", "gone.wav", "2.wav")
    answer = vprtrain("identify", *files, "--threshold=0.9999")
    first, second, third, summary = answer.out.splitlines()
    assert first.startswith("0.wav: user 0: score 1.0000")
    assert second.startswith("1.wav: user 1: score ")
    assert third.startswith("2.wav: none of the users: score ")
    assert summary.startswith("2 of 4 recordings are of a user, 1 cannot be used; threshold 0.9999")
    assert answer.status == 1 and "gone.wav: No such file" in answer.error

    found = json.loads(vprtrain("identify", *files, "--threshold=0.9999", "--json").out)
    assert found["threshold"] == 0.9999
    assert [row.get("user") for row in found["results"]] == ["user 0", "user 1", None, None]
    assert found["results"][2].keys() == {"id", "error"}
    answer = vprtrain("identify", *files, "--threshold=0.9999", "--out=found.jsonl")
    again = (*files, "--threshold=0.9999", "--out=found.jsonl", "--json")
    written = json.loads(vprtrain("identify", *again).out)
    assert list(written) == ["path", "recordings", "refused", "threshold", "runtime"]
    assert (written["recordings"], list(written["refused"])) == (3, ["gone.wav"])
    lines = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert lines == found["results"] and answer.out.startswith("found.jsonl: 2 of 4 ")


def test_audio_is_sorted_a_window_at_a_time(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results keep the order of the recordings, whatever order they are embedded in."""
    monkeypatch.setattr(many, "WINDOW_SECONDS", 4.0)
    predictor = Predictor(checkpoint)
    lengths = [2.0, 1.0, 1.5, 3.0, 0.7, 0.9]
    audios = {str(n): (voice(n, seconds=length), RATE) for n, length in enumerate(lengths)}
    sizes: list[list[float]] = []
    embed = predictor._extractor.embed

    def watched(waveforms: list[np.ndarray]) -> np.ndarray:
        sizes.append([len(waveform) / RATE for waveform in waveforms])
        return embed(waveforms)

    monkeypatch.setattr(predictor._extractor, "embed", watched)
    found = dict(predictor.embed_each(audios))
    assert sizes == [[1.0, 1.5, 2.0], [0.7, 0.9, 3.0]]
    assert_close(found, {key: predictor.embed(audio) for key, audio in audios.items()})
