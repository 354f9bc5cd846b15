from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.augmentation import (
    AdditiveNoise,
    Augmentation,
    Reverberation,
    SilenceTrimming,
    SpeedPerturbation,
    Volume,
)
from vprtrain.data.manifest import write_manifest
from vprtrain.data.sampler import BalancedOrder, EpochSampler, GroupedOrder, ShuffledOrder
from vprtrain.errors import RunError, UsageError
from vprtrain.speaker.data import SpeakerBatch, SpeakerData


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Any]:
    """The arguments for 15 training utterances of three speakers, and two speakers to evaluate."""
    rng = np.random.default_rng(0)

    def record(name: str, seconds: float) -> tuple[str, float]:
        soundfile.write(
            tmp_path / name, rng.normal(0, 0.1, round(16000 * seconds)), 16000, subtype="FLOAT"
        )
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
    evaluation = [
        (key, *record(f"eval-{key.replace('/', '-')}.wav", seconds))
        for key, seconds in lengths.items()
    ]
    write_manifest(tmp_path / "eval.tsv", evaluation)
    (tmp_path / "enroll.map").write_text("a-enroll a1 a2\nb-enroll b1\nc-enroll c1\n")
    (tmp_path / "trials.txt").write_text(
        "a-enroll a/t 1\na-enroll b/t 0\nb-enroll a/t 0\nb-enroll b/t 1\n"
    )
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
    data = SpeakerData.from_files(**corpus)
    batches = list(data.train_batches(0, 0))
    assert len(batches) == data.steps_per_epoch == 3
    assert data.num_speakers == 3 and data.unit == "utterances"
    for batch in batches:
        assert batch.waveforms.shape == (4, 16000) and batch.waveforms.dtype == np.float32
        assert batch.labels.shape == (4,) and batch.labels.dtype == np.int64
        assert data.batch_size(batch) == 4


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_the_stream_is_the_same_for_any_workers_and_from_any_start(
    corpus: dict[str, Any], workers: int
) -> None:
    reference = list(SpeakerData.from_files(**corpus, workers=0).train_batches(3, 0))
    data = SpeakerData.from_files(**corpus, workers=workers, prefetch=1 + workers)
    for start in range(4):
        continued = list(data.train_batches(3, start))
        assert len(continued) == 3 - start
        for batch, expected in zip(continued, reference[start:], strict=True):
            np.testing.assert_array_equal(batch.waveforms, expected.waveforms)
            np.testing.assert_array_equal(batch.labels, expected.labels)


@pytest.fixture
def augmented(corpus: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The corpus with everything that draws random numbers; one noise file cannot be read."""
    (tmp_path / "torn.wav").write_text("not audio")
    noises = [
        ("train0.wav", "noise", None),
        ("train1.wav", "speech", 0.7),
        ("torn.wav", "music", None),
    ]
    write_manifest(tmp_path / "musan.tsv", noises)
    write_manifest(tmp_path / "rirs.tsv", [("train2.wav", "smallroom", None)])
    return {
        **corpus,
        "order": GroupedOrder(utterances_per_speaker=2),
        "crop_seconds": (0.6, 1.2),
        "speed_perturbation": SpeedPerturbation(),
        "augmentations": [
            SilenceTrimming(),
            Reverberation(manifest=str(tmp_path / "rirs.tsv"), probability=0.5),
            AdditiveNoise(manifest=str(tmp_path / "musan.tsv")),
            Volume(probability=0.5),
        ],
    }


def assert_same(batches: Iterable[SpeakerBatch], expected: Iterable[SpeakerBatch]) -> None:
    for batch, other in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch.waveforms, other.waveforms)
        np.testing.assert_array_equal(batch.labels, other.labels)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(workers=st.sampled_from([0, 1, 2, 4]), prefetch=st.integers(1, 8), start=st.integers(0, 3))
def test_augmented_batches_are_the_same_for_any_workers_and_from_any_start(
    augmented: dict[str, Any], workers: int, prefetch: int, start: int
) -> None:
    reference = list(SpeakerData.from_files(**augmented, workers=0).train_batches(5, 0))
    assert len({batch.waveforms.shape for batch in reference}) > 1
    data = SpeakerData.from_files(**augmented, workers=workers, prefetch=prefetch)
    assert_same(data.train_batches(5, start), reference[start:])


@pytest.mark.parametrize("world_size", [2, 4])
def test_all_ranks_together_train_on_the_same(augmented: dict[str, Any], world_size: int) -> None:
    ranks = [
        SpeakerData.from_files(**augmented, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    parts = [list(rank.train_batches(1, 1)) for rank in ranks]
    together = [
        SpeakerBatch(*map(np.concatenate, zip(*batch, strict=True)))
        for batch in zip(*parts, strict=True)
    ]
    assert_same(together, SpeakerData.from_files(**augmented).train_batches(1, 1))
    assert len({rank.fingerprint()["batch_size"] for rank in ranks}) == 1


def test_speeds_make_more_classes(corpus: dict[str, Any]) -> None:
    data = SpeakerData.from_files(**corpus, speed_perturbation=SpeedPerturbation())
    assert (data.num_speakers, data.num_classes) == (3, 9)
    labels = {
        int(label)
        for epoch in range(20)
        for batch in data.train_batches(epoch, 0)
        for label in batch.labels
    }
    assert labels == set(range(9))
    alike = SpeakerData.from_files(
        **corpus, speed_perturbation=SpeedPerturbation(new_speakers=False)
    )
    assert alike.num_classes == SpeakerData.from_files(**corpus).num_classes == 3


def test_an_unreadable_noise_is_told_of_once(
    augmented: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    data = SpeakerData.from_files(**augmented)
    for epoch in range(8):
        list(data.train_batches(epoch, 0))
    assert sum("torn.wav" in record.message for record in caplog.records) == 1


def test_the_channel_is_that_of_the_option(corpus: dict[str, Any], tmp_path: Path) -> None:
    for path in tmp_path.glob("*.wav"):
        samples = soundfile.read(path)[0]
        soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), 16000, subtype="FLOAT")
    first, second = SpeakerData.from_files(**corpus), SpeakerData.from_files(**corpus, channel=1)
    for one, other in zip(first.train_batches(0, 0), second.train_batches(0, 0), strict=True):
        np.testing.assert_allclose(0.5 * one.waveforms, other.waveforms, atol=1e-6)
    for (_, one), (_, other) in zip(evaluated(first), evaluated(second), strict=True):
        np.testing.assert_allclose(0.5 * one, other, atol=1e-6)


def test_epochs_and_seeds_differ(corpus: dict[str, Any]) -> None:
    first = next(iter(SpeakerData.from_files(**corpus).train_batches(0, 0))).waveforms
    for data, epoch in (
        (SpeakerData.from_files(**corpus), 1),
        (SpeakerData.from_files(**corpus, seed=1), 0),
    ):
        assert not np.array_equal(next(iter(data.train_batches(epoch, 0))).waveforms, first)


def test_nothing_that_is_skipped_is_decoded(corpus: dict[str, Any]) -> None:
    data = SpeakerData.from_files(**corpus, workers=0)
    last = next(iter(data.train_batches(0, 2)))
    sampler = EpochSampler(labels=data.manifest.labels, batch_size=4, seed=0, order=ShuffledOrder())
    kept = {data.manifest[int(draw)].path for draw in next(sampler.batches(0, 2))}
    for utterance in map(data.manifest.__getitem__, range(len(data.manifest))):
        if utterance.path not in kept:
            Path(utterance.path).write_text("not audio")
    np.testing.assert_array_equal(next(iter(data.train_batches(0, 2))).waveforms, last.waveforms)
    with pytest.raises(RunError, match="are bad so far"):
        next(iter(data.train_batches(0, 0)))


def test_closing_the_batches_ends_the_threads(corpus: dict[str, Any]) -> None:
    batches = SpeakerData.from_files(**corpus, workers=2).train_batches(0, 0)
    next(batches)
    batches.close()
    deadline = time.monotonic() + 60
    while any(thread.name.startswith("loader-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_but_bad_recordings_ends_at_once(corpus: dict[str, Any], workers: int) -> None:
    data = SpeakerData.from_files(**corpus, workers=workers, max_bad_share=1.0)
    for index in range(15):
        Path(data.manifest[index].path).unlink()
    with pytest.raises(RunError, match="16 utterances in a row are bad"):
        next(iter(data.train_batches(0, 0)))


def test_a_bad_recording_is_counted_and_replaced(
    corpus: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    data = SpeakerData.from_files(**corpus, max_bad_share=0.07)
    bad = data.manifest[7].path
    Path(bad).write_text("not audio")
    assert data.counts() == {}
    for epoch in range(3):
        for batch in data.train_batches(epoch, 0):
            assert batch.waveforms.shape == (4, 16000)
    assert data.counts() == {"bad recordings": 1}
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{bad}: cannot be decoded") and told.endswith(
        "the next utterance replaces it"
    )


def test_a_bad_evaluated_recording_is_an_error_that_names_it(
    corpus: dict[str, Any], tmp_path: Path
) -> None:
    data = SpeakerData.from_files(**corpus, max_bad_share=1.0)
    (tmp_path / "eval-b1.wav").write_text("not audio")
    with pytest.raises(AudioError, match=r"eval-b1\.wav: cannot be decoded"):
        evaluated(data)


class Stuck(Augmentation):
    """Hangs until it is released, as a dead network drive does."""

    released = threading.Event()
    gave_up = threading.Event()

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        if not self.released.wait(60):
            self.gave_up.set()
        return waveform


def test_a_recording_that_hangs_ends_the_stream_and_is_named(corpus: dict[str, Any]) -> None:
    data = SpeakerData.from_files(
        **corpus, augmentations=[Stuck(probability=0.5)], workers=2, worker_timeout=1.5
    )
    with pytest.raises(RunError, match=r"train\d+\.wav: not loaded after 1\.5 s"):
        list(data.train_batches(0, 0))
    assert not Stuck.gave_up.is_set(), "the stream waited for the recording"
    Stuck.released.set()


def test_every_evaluated_utterance_comes_once_and_whole(
    corpus: dict[str, Any], tmp_path: Path
) -> None:
    data = SpeakerData.from_files(**corpus)
    waveforms = {}
    for keys, block in evaluated(data):
        assert len(keys) == len(block) and block.dtype == np.float32
        for key, waveform in zip(keys, block, strict=True):
            assert key not in waveforms
            waveforms[key] = waveform
    assert set(waveforms) == {"a1", "a2", "b1", "a/t", "b/t"}
    for key in ("a1", "b1", "b/t"):
        np.testing.assert_array_equal(
            waveforms[key], read_audio(tmp_path / f"eval-{key.replace('/', '-')}.wav")
        )
    short = read_audio(tmp_path / "eval-a-t.wav")
    np.testing.assert_array_equal(waveforms["a/t"], np.resize(short, 8000))


def test_the_concatenated_enrolment_is_the_enrol_ids_own_recording(corpus: dict[str, Any]) -> None:
    data = SpeakerData.from_files(**{**corpus, "enroll": None})
    assert data.evaluation.enrollment is None
    assert {key for keys, _ in evaluated(data) for key in keys} == {
        "a-enroll",
        "b-enroll",
        "a/t",
        "b/t",
    }


def test_evaluation_is_the_same_for_any_workers(corpus: dict[str, Any]) -> None:
    reference = evaluated(SpeakerData.from_files(**corpus, workers=0))
    assert ("a1", "a2", "b/t") in [keys for keys, _ in reference]
    for workers in (1, 3):
        for (keys, waveforms), (expected, block) in zip(
            evaluated(SpeakerData.from_files(**corpus, workers=workers)), reference, strict=True
        ):
            assert keys == expected
            np.testing.assert_array_equal(waveforms, block)


def test_without_trials_there_is_no_validation(corpus: dict[str, Any]) -> None:
    data = SpeakerData.from_files(train_manifest=corpus["train_manifest"], batch_size=4)
    assert data.validation_batches() is None and data.evaluation is None


def test_the_fingerprint_is_of_what_changes_the_weights(corpus: dict[str, Any]) -> None:
    fingerprint = SpeakerData.from_files(**corpus).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert (
        SpeakerData.from_files(**corpus, workers=0, prefetch=9, worker_timeout=1.0).fingerprint()
        == fingerprint
    )
    assert SpeakerData.from_files(**corpus, max_bad_share=0.5).fingerprint() == fingerprint
    for change in (
        {"seed": 1},
        {"batch_size": 5},
        {"crop_seconds": 2.0},
        {"sample_rate": 8000},
        {"enroll": None},
        {"order": BalancedOrder()},
        {"crop_seconds": (1.0, 2.0)},
        {"min_seconds": 0.6},
        {"channel": 1},
        {"speed_perturbation": SpeedPerturbation()},
        {"augmentations": [Volume()]},
    ):
        assert SpeakerData.from_files(**{**corpus, **change}).fingerprint() != fingerprint
    for name in ("train_manifest", "trials", "eval_manifest", "enroll"):
        path = corpus[name]
        text = path.read_text()
        path.write_text(text + "\n")
        assert SpeakerData.from_files(**corpus).fingerprint() != fingerprint
        path.write_text(text)


def test_the_fingerprint_does_not_know_where_the_data_lie(
    corpus: dict[str, Any], tmp_path: Path
) -> None:
    fingerprint = SpeakerData.from_files(**corpus).fingerprint()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    arguments = {
        name: moved / value.name if isinstance(value, Path) else value
        for name, value in corpus.items()
    }
    assert SpeakerData.from_files(**arguments).fingerprint() == fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 16}, "15 utterances do not fill one batch of 16"),
        ({"crop_seconds": 0.4}, "crop_seconds is 0.4"),
        ({"crop_seconds": (2.0, 1.0)}, "the longer crop_seconds is 1.0; expected 2.0 or more"),
        ({"channel": -1}, "channel is -1"),
        ({"min_seconds": -1.0}, "min_seconds is -1"),
        ({"world_size": 3}, "3 ranks cannot share equally"),
        ({"crop_seconds": float("nan")}, "crop_seconds is nan"),
        ({"sample_rate": 10}, "sample_rate is 10"),
        ({"workers": -1}, "workers is -1"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"worker_timeout": -1.0}, "worker_timeout is -1"),
        ({"max_bad_share": 1.5}, "max_bad_share is 1.5; expected 0 to 1"),
        ({"seed": -1}, "seed is -1"),
        ({"train_manifest": "gone.tsv"}, "gone.tsv: no such file"),
        ({"trials": "gone.txt"}, "gone.txt: no such file"),
        ({"enroll": "gone.map"}, "gone.map: no such file"),
        ({"eval_manifest": None}, "no eval_manifest: give one"),
        ({"trials": None}, "but no trials: expected"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    corpus: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        SpeakerData.from_files(**{**corpus, **change})


def test_what_the_trials_miss_is_named_before_training(
    corpus: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "train.tsv").write_text("gone.wav\ta\n" * 4 + "away.wav\tb\n")
    with pytest.raises(
        UsageError, match=r"train\.tsv: recordings that are not on disk: .*(gone|away)\.wav"
    ):
        SpeakerData.from_files(**corpus)
    (tmp_path / "train.tsv").write_text("train0.wav\ta\n" * 5)
    with pytest.raises(UsageError, match="expected at least 2"):
        SpeakerData.from_files(**corpus)
    (tmp_path / "train.tsv").write_text("train0.wav\ta\n" * 4 + "train1.wav\tb\n")
    (tmp_path / "eval-b-t.wav").unlink()
    with pytest.raises(UsageError, match=r"not on disk: .*eval-b-t\.wav"):
        SpeakerData.from_files(**corpus)
    with corpus["trials"].open("a") as file:
        file.write("a-enroll c/t 0\n")
    with pytest.raises(UsageError, match=r"eval\.tsv: no line for ids of the trials: c/t"):
        SpeakerData.from_files(**corpus)
    with corpus["trials"].open("a") as file:
        file.write("d-enroll b/t 0\n")
    with pytest.raises(
        UsageError, match=r"enroll\.map: no line for enrol ids of the trials: d-enroll"
    ):
        SpeakerData.from_files(**corpus)


def test_checkpoints_say_that_voices_are_synthetic(corpus: dict[str, Any]) -> None:
    """The key is not part of the fingerprint: earlier runs of such voices resume."""
    plain = SpeakerData.from_files(**corpus)
    synthetic = SpeakerData.from_files(**corpus, synthetic=True)
    assert plain.state_keys() == {"sample_rate": 16000, "channel": 0}
    assert synthetic.state_keys() == {**plain.state_keys(), "synthetic_voices": True}
    assert synthetic.fingerprint() == plain.fingerprint()
