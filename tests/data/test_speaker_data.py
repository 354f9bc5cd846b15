from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vprtrain.data.audio import AudioError, read_audio
from vprtrain.data.manifest import write_manifest
from vprtrain.data.sampler import EpochSampler
from vprtrain.data.speaker_data import SpeakerData
from vprtrain.errors import UsageError


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Any]:
    """The arguments for 15 utterances of three speakers to train on, and two speakers to evaluate."""
    rng = np.random.default_rng(0)

    def record(name: str, seconds: float) -> tuple[str, float]:
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, round(16000 * seconds)), 16000, subtype="FLOAT")
        return name, seconds

    rows = []
    for index in range(15):
        name, seconds = record(f"train{index}.wav", 0.6 + 0.1 * index)
        rows.append((name, f"speaker{index % 3}", seconds))
    write_manifest(tmp_path / "train.tsv", rows)
    lengths = {
        "a1": 1.0,
        "a2": 1.0,
        "b1": 0.7,
        "a-enroll": 2.0,
        "b-enroll": 1.0,
        "a/t": 0.2,
        "b/t": 1.0,
        "unused": 1.0,
    }
    evaluation = [(key, *record(f"eval-{key.replace('/', '-')}.wav", seconds)) for key, seconds in lengths.items()]
    write_manifest(tmp_path / "eval.tsv", evaluation)
    (tmp_path / "enroll.map").write_text("a-enroll a1 a2\nb-enroll b1\nc-enroll c1\n")
    (tmp_path / "trials.txt").write_text("a-enroll a/t 1\na-enroll b/t 0\nb-enroll a/t 0\nb-enroll b/t 1\n")
    return {
        "train_manifest": tmp_path / "train.tsv",
        "trials": tmp_path / "trials.txt",
        "eval_manifest": tmp_path / "eval.tsv",
        "enroll": tmp_path / "enroll.map",
        "batch_size": 4,
        "crop_seconds": 1.0,
    }


def evaluated(data: SpeakerData) -> list[tuple[tuple[str, ...], np.ndarray]]:
    batches = data.validation_batches()
    assert batches is not None
    return [(batch.keys, batch.waveforms) for batch in batches]


def test_batches_have_the_stated_shapes(corpus: dict[str, Any]) -> None:
    data = SpeakerData(**corpus)
    batches = list(data.train_batches(0, 0))
    assert len(batches) == data.steps_per_epoch == 3
    assert data.num_speakers == 3 and data.unit == "utterances"
    for batch in batches:
        assert batch.waveforms.shape == (4, 16000) and batch.waveforms.dtype == np.float32
        assert batch.labels.shape == (4,) and batch.labels.dtype == np.int64
        assert data.batch_size(batch) == 4


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_the_stream_is_the_same_for_any_workers_and_from_any_start(corpus: dict[str, Any], workers: int) -> None:
    reference = list(SpeakerData(**corpus, workers=0).train_batches(3, 0))
    data = SpeakerData(**corpus, workers=workers, prefetch=1 + workers)
    for start in range(4):
        continued = list(data.train_batches(3, start))
        assert len(continued) == 3 - start
        for batch, expected in zip(continued, reference[start:], strict=True):
            np.testing.assert_array_equal(batch.waveforms, expected.waveforms)
            np.testing.assert_array_equal(batch.labels, expected.labels)


def test_epochs_and_seeds_differ(corpus: dict[str, Any]) -> None:
    first = next(iter(SpeakerData(**corpus).train_batches(0, 0))).waveforms
    for data, epoch in ((SpeakerData(**corpus), 1), (SpeakerData(**corpus, seed=1), 0)):
        assert not np.array_equal(next(iter(data.train_batches(epoch, 0))).waveforms, first)


def test_nothing_that_is_skipped_is_decoded(corpus: dict[str, Any]) -> None:
    data = SpeakerData(**corpus, workers=0)
    last = next(iter(data.train_batches(0, 2)))
    kept = {data.manifest[index].path for index in EpochSampler(size=15, batch_size=4, seed=0).indices(0, 2)}
    for utterance in map(data.manifest.__getitem__, range(len(data.manifest))):
        if utterance.path not in kept:
            Path(utterance.path).write_text("not audio")
    np.testing.assert_array_equal(next(iter(data.train_batches(0, 2))).waveforms, last.waveforms)
    with pytest.raises(AudioError):
        next(iter(data.train_batches(0, 0)))


def test_closing_the_batches_ends_the_threads(corpus: dict[str, Any]) -> None:
    batches = SpeakerData(**corpus, workers=2).train_batches(0, 0)
    next(batches)
    batches.close()
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("loader-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_broken_recording_is_named_with_its_path(corpus: dict[str, Any]) -> None:
    data = SpeakerData(**corpus)
    for index in range(15):
        Path(data.manifest[index].path).write_text("not audio")
    with pytest.raises(AudioError, match=r"train\d+\.wav: cannot be decoded"):
        next(iter(data.train_batches(0, 0)))


def test_every_evaluated_utterance_comes_once_and_whole(corpus: dict[str, Any], tmp_path: Path) -> None:
    data = SpeakerData(**corpus)
    waveforms = {}
    for keys, block in evaluated(data):
        assert len(keys) == len(block) and block.dtype == np.float32
        for key, waveform in zip(keys, block, strict=True):
            assert key not in waveforms
            waveforms[key] = waveform
    assert set(waveforms) == {"a1", "a2", "b1", "a/t", "b/t"}
    for key in ("a1", "b1", "b/t"):
        np.testing.assert_array_equal(waveforms[key], read_audio(tmp_path / f"eval-{key.replace('/', '-')}.wav"))
    short = read_audio(tmp_path / "eval-a-t.wav")
    np.testing.assert_array_equal(waveforms["a/t"], np.resize(short, 8000))


def test_the_concatenated_enrolment_is_the_enrol_ids_own_recording(corpus: dict[str, Any]) -> None:
    data = SpeakerData(**{**corpus, "enroll": None})
    assert data.evaluation.enrollment is None
    assert {key for keys, _ in evaluated(data) for key in keys} == {"a-enroll", "b-enroll", "a/t", "b/t"}


def test_evaluation_is_the_same_for_any_workers(corpus: dict[str, Any]) -> None:
    reference = evaluated(SpeakerData(**corpus, workers=0))
    assert ("a1", "a2", "b/t") in [keys for keys, _ in reference]
    for workers in (1, 3):
        for (keys, waveforms), (expected, block) in zip(
            evaluated(SpeakerData(**corpus, workers=workers)), reference, strict=True
        ):
            assert keys == expected
            np.testing.assert_array_equal(waveforms, block)


def test_without_trials_there_is_no_validation(corpus: dict[str, Any]) -> None:
    data = SpeakerData(train_manifest=corpus["train_manifest"], batch_size=4)
    assert data.validation_batches() is None and data.evaluation is None


def test_the_fingerprint_is_of_what_changes_the_weights(corpus: dict[str, Any]) -> None:
    fingerprint = SpeakerData(**corpus).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert SpeakerData(**corpus, workers=0, prefetch=9).fingerprint() == fingerprint
    for change in (
        {"seed": 1},
        {"batch_size": 5},
        {"crop_seconds": 2.0},
        {"sample_rate": 8000},
        {"enroll": None},
    ):
        assert SpeakerData(**{**corpus, **change}).fingerprint() != fingerprint
    for name in ("train_manifest", "trials", "eval_manifest", "enroll"):
        path = corpus[name]
        text = path.read_text()
        path.write_text(text + "\n")
        assert SpeakerData(**corpus).fingerprint() != fingerprint
        path.write_text(text)


def test_the_fingerprint_does_not_know_where_the_data_lie(corpus: dict[str, Any], tmp_path: Path) -> None:
    fingerprint = SpeakerData(**corpus).fingerprint()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    arguments = {name: moved / value.name if isinstance(value, Path) else value for name, value in corpus.items()}
    assert SpeakerData(**arguments).fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 16}, "15 utterances do not fill one batch of 16"),
        ({"crop_seconds": 0.4}, "crop_seconds is 0.4"),
        ({"crop_seconds": float("nan")}, "crop_seconds is nan"),
        ({"sample_rate": 10}, "sample_rate is 10"),
        ({"workers": -1}, "workers is -1"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"train_manifest": "gone.tsv"}, "gone.tsv: no such file"),
        ({"trials": "gone.txt"}, "gone.txt: no such file"),
        ({"enroll": "gone.map"}, "gone.map: no such file"),
        ({"eval_manifest": None}, "eval_manifest None: expected both"),
        ({"trials": None}, "expected both"),
    ],
)
def test_bad_arguments_are_refused_at_once(corpus: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpeakerData(**{**corpus, **change})


def test_what_the_trials_miss_is_named_before_training(corpus: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("gone.wav\ta\n" * 4 + "gone.wav\tb\n")
    with pytest.raises(UsageError, match=r"train\.tsv: recordings that are not on disk: .*gone\.wav"):
        SpeakerData(**corpus)
    (tmp_path / "train.tsv").write_text("train0.wav\ta\n" * 5)
    with pytest.raises(UsageError, match="expected at least 2"):
        SpeakerData(**corpus)
    (tmp_path / "train.tsv").write_text("train0.wav\ta\n" * 4 + "train0.wav\tb\n")
    (tmp_path / "eval-b-t.wav").unlink()
    with pytest.raises(UsageError, match=r"not on disk: .*eval-b-t\.wav"):
        SpeakerData(**corpus)
    with corpus["trials"].open("a") as file:
        file.write("a-enroll c/t 0\n")
    with pytest.raises(UsageError, match=r"eval\.tsv: no line for ids of the trials: c/t"):
        SpeakerData(**corpus)
    with corpus["trials"].open("a") as file:
        file.write("d-enroll b/t 0\n")
    with pytest.raises(UsageError, match=r"enroll\.map: no line for enrol ids of the trials: d-enroll"):
        SpeakerData(**corpus)
