from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from probes import StopAfter, train
from toy import ToyModule

from vprtrain.callbacks import EtaLogger, GracefulStop
from vprtrain.data.bad_audio import BadAudio, BadRecording
from vprtrain.data.manifest import Manifest, read_manifest, write_manifest
from vprtrain.data.source import Source
from vprtrain.errors import RunError
from vprtrain.speaker.data import SpeakerData

MakeBad = Callable[[int], BadRecording]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """40 utterances without files."""
    write_manifest(
        tmp_path / "train.tsv", [(f"声{index}.wav", str(index % 2), None) for index in range(40)]
    )
    return read_manifest(tmp_path / "train.tsv")


@pytest.fixture
def bad(manifest: Manifest) -> MakeBad:
    return lambda index: BadRecording(manifest[index].path, f"reason {index}", is_utterance=True)


def lines(folder: Path) -> list[str]:
    return (folder / "bad_audio.tsv").read_text(encoding="utf-8").splitlines()


def test_each_is_noted_once(manifest: Manifest, bad: MakeBad, tmp_path: Path) -> None:
    audio = BadAudio(manifest=manifest, max_share=0.1)
    audio.begin(tmp_path, resumed=False)
    audio.add([])
    assert not (tmp_path / "bad_audio.tsv").exists()
    audio.add([bad(3), bad(5), bad(3)])
    audio.add(
        [
            bad(5)._replace(reason="silent elsewhere"),
            BadRecording("n.wav", "of\ttwo\nlines", is_utterance=False),
        ]
    )
    assert len(audio) == 3
    expected = [
        f"{tmp_path}/声3.wav\treason 3",
        f"{tmp_path}/声5.wav\treason 5",
        "n.wav\tof two lines",
    ]
    assert lines(tmp_path) == expected


def test_the_limit_is_a_share_of_the_manifest(
    manifest: Manifest, bad: MakeBad, tmp_path: Path
) -> None:
    audio = BadAudio(manifest=manifest, max_share=0.1)
    audio.begin(tmp_path, resumed=False)
    audio.add(BadRecording(f"noise{index}.wav", "torn", is_utterance=False) for index in range(30))
    audio.add(map(bad, range(4)))
    with pytest.raises(
        RunError,
        match=r"5 of 40 utterances are bad .* max_bad_share \(0\.1\).*bad_audio\.tsv",
    ):
        audio.add([bad(4)])
    assert len(lines(tmp_path)) == 35


def test_a_resumed_run_goes_on_with_the_file(
    manifest: Manifest, bad: MakeBad, tmp_path: Path
) -> None:
    first = BadAudio(manifest=manifest, max_share=0.1)
    first.begin(tmp_path, resumed=False)
    first.add([bad(1), bad(2), BadRecording("noise.wav", "torn", is_utterance=False)])
    with (tmp_path / "bad_audio.tsv").open("ab") as file:
        file.write(f"{tmp_path}/声3".encode()[:-1])  # as after a crash of the machine
    second = BadAudio(manifest=manifest, max_share=0.1)
    second.begin(tmp_path, resumed=True)
    assert len(second) == 3
    second.add([bad(2), bad(3), bad(4)])
    assert [line.split("\t")[0].rpartition("/")[2] for line in lines(tmp_path)] == [
        *("声1.wav", "声2.wav", "noise.wav", "声3.wav", "声4.wav")
    ]
    with pytest.raises(RunError, match="5 of 40"):
        second.add([bad(5)])
    with pytest.raises(RunError, match="5 of 40"):
        BadAudio(manifest=manifest, max_share=0.1).begin(tmp_path, resumed=True)
    BadAudio(manifest=manifest, max_share=0.2).begin(tmp_path, resumed=True)


def test_a_new_run_begins_without_the_file_of_another(
    manifest: Manifest, bad: MakeBad, tmp_path: Path
) -> None:
    audio = BadAudio(manifest=manifest, max_share=0.1)
    audio.begin(tmp_path, resumed=False)
    audio.add([bad(1)])
    audio.begin(tmp_path, resumed=False)
    assert len(audio) == 0 and not (tmp_path / "bad_audio.tsv").exists()


def test_a_run_that_writes_nothing_counts_all_the_same(manifest: Manifest, bad: MakeBad) -> None:
    audio = BadAudio(manifest=manifest, max_share=0.0)
    audio.begin(None, resumed=False)
    with pytest.raises(RunError, match="they are listed in the log"):
        audio.add([bad(1)])


def test_a_file_that_cannot_be_written_ends_the_run(
    manifest: Manifest, bad: MakeBad, tmp_path: Path
) -> None:
    audio = BadAudio(manifest=manifest, max_share=0.1)
    audio.begin(tmp_path, resumed=False)
    (tmp_path / "bad_audio.tsv").mkdir()
    with pytest.raises(RunError, match=r"bad_audio\.tsv cannot be written \(Is a directory\)"):
        audio.add([bad(1)])
    with pytest.raises(RunError, match=r"bad_audio\.tsv cannot be written"):
        audio.begin(tmp_path, resumed=False)


class ByLoudness(ToyModule):
    """The toy module on eight numbers of each waveform."""

    metric_names = ()

    def training_step(self, batch: Any) -> Any:
        waveforms, labels = batch
        figures = waveforms.reshape(len(waveforms), 8, -1).std(axis=2)
        return super().training_step((figures, labels[:, None].astype("float32")))


@pytest.fixture
def recordings(tmp_path: Path) -> dict[str, Any]:
    """The arguments for 40 utterances of half a second; two of them are not audio."""
    rng = np.random.default_rng(0)
    for index in range(40):
        soundfile.write(tmp_path / f"{index}.wav", rng.normal(0, 0.01 * (1 + index), 8000), 16000)
    for index in (8, 9):
        (tmp_path / f"{index}.wav").write_text("not audio")
    write_manifest(
        tmp_path / "train.tsv", [(f"{index}.wav", str(index % 2), 0.5) for index in range(40)]
    )
    return {
        "train_manifest": tmp_path / "train.tsv",
        "batch_size": 4,
        "crop_seconds": 0.5,
        "max_bad_share": 0.05,
    }


def test_a_run_says_so_in_its_directory_and_in_its_progress(
    recordings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    data = SpeakerData.from_files(**recordings)
    train(EtaLogger(), module=ByLoudness, data=data, run_dir=tmp_path / "run", log_every=10)
    assert sorted(os.path.basename(line.split("\t")[0]) for line in lines(tmp_path / "run")) == [
        "8.wav",
        "9.wav",
    ]
    (progress,) = [
        record.getMessage() for record in caplog.records if "step 20/20" in record.getMessage()
    ]
    assert ", 2 bad recordings, ETA" in progress


def test_a_run_in_pieces_trains_on_the_same_and_notes_the_same(
    recordings: dict[str, Any], tmp_path: Path
) -> None:
    straight = train(
        module=ByLoudness, data=SpeakerData.from_files(**recordings), run_dir=tmp_path / "straight"
    )
    for stop in (*range(1, 20, 3), 20):
        pieces = train(
            StopAfter(stop),
            module=ByLoudness,
            data=SpeakerData.from_files(**recordings),
            run_dir=tmp_path / "pieces",
        )
    assert lines(tmp_path / "pieces") == lines(tmp_path / "straight")
    for name, weight in straight.weights.items():
        np.testing.assert_array_equal(weight, pieces.weights[name])


def test_a_first_few_batches_are_set_up_too(recordings: dict[str, Any], tmp_path: Path) -> None:
    data = SpeakerData.from_files(**recordings)
    train(module=ByLoudness, data=data, run_dir=tmp_path / "run", overfit_batches=10)
    assert data.counts() == {"bad recordings": 2} and len(lines(tmp_path / "run")) == 2


def test_a_signal_ends_the_wait_for_a_recording_that_hangs(
    recordings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, read = threading.Event(), Source.read

    def hang(self: Source, index: int, start: float, duration: float) -> np.ndarray:
        if index == 20:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
            released.wait(60)
        return read(self, index, start, duration)

    monkeypatch.setattr(Source, "read", hang)
    data = SpeakerData.from_files(**recordings, workers=1)
    run = train(GracefulStop(), module=ByLoudness, data=data, run_dir=tmp_path / "run")
    assert not released.is_set()
    released.set()
    assert run.result.stopped_by == "SIGTERM" and run.result.step < 10


def test_what_other_processes_collect_is_noted_by_the_first(
    manifest: Manifest, bad: MakeBad, tmp_path: Path
) -> None:
    first = BadAudio(manifest=manifest, max_share=0.1)
    first.begin(tmp_path, resumed=False)
    other = BadAudio(manifest=manifest, max_share=0.1, collects=True)
    other.begin(None, resumed=False)
    first.add([bad(3)])
    other.add([bad(3), bad(5)])
    other.add([bad(5), bad(7)])
    assert (first.take_collected(), other.take_collected()) == ([], [bad(3), bad(5), bad(7)])
    first.add([bad(3), bad(5), bad(7)])
    assert [line.partition("\t")[2] for line in lines(tmp_path)] == [
        "reason 3",
        "reason 5",
        "reason 7",
    ]
    other.add([bad(7)])
    assert other.take_collected() == []
