from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.data.audio.reading import AudioError, fill
from vprtrain.data.augmentation import Augmentation, SpeedPerturbation, Volume
from vprtrain.data.bad_audio import BadRecording, BadUtterancesError
from vprtrain.data.dataset import Draw, TrainingCrops
from vprtrain.data.manifest import read_manifest, write_manifest
from vprtrain.data.source import Source
from vprtrain.errors import RunError


@pytest.fixture
def manifest_path(tmp_path: Path) -> Path:
    """Two speakers; the value of every sample is its position, so a crop shows its place."""
    rows = []
    for index, seconds in enumerate((4.0, 2.5, 0.7, 4.0)):
        ramp = np.arange(round(16000 * seconds)) / 2**17
        soundfile.write(tmp_path / f"{index}.wav", ramp, 16000, subtype="FLOAT")
        rows.append((f"{index}.wav", f"speaker{index % 2}", seconds if index < 3 else None))
    write_manifest(tmp_path / "m.tsv", rows)
    return tmp_path / "m.tsv"


SAMPLES = 32000


def crops(path: Path, *, seed: int = 0, **options: Any) -> TrainingCrops:
    source = Source(manifest=read_manifest(path))
    return TrainingCrops(source=source, seed=seed, **{"crop_seconds": (2.0, 2.0), **options})


def test_a_crop_is_a_part_of_the_utterance(manifest_path: Path) -> None:
    dataset = crops(manifest_path)
    starts = set()
    for epoch in range(30):
        waveform, label, bad = dataset.sample(epoch, 0, SAMPLES)
        assert (
            label == 0 and bad == () and waveform.shape == (32000,) and waveform.dtype == np.float32
        )
        start = round(float(waveform[0]) * 2**17)
        np.testing.assert_array_equal(
            waveform, (np.arange(start, start + 32000) / 2**17).astype(np.float32)
        )
        starts.add(start)
    assert len(starts) == 30
    assert min(starts) < 8000 and max(starts) > 24000


def test_a_sample_is_a_function_of_seed_epoch_and_index(manifest_path: Path) -> None:
    first, second = crops(manifest_path), crops(manifest_path)
    second.sample(5, 1, SAMPLES)
    np.testing.assert_array_equal(
        first.sample(1, 0, SAMPLES).waveform, second.sample(1, 0, SAMPLES).waveform
    )
    others = [first.sample(2, 0, SAMPLES), first.sample(1, 3, SAMPLES), first.sample(1, 4, SAMPLES)]
    others.append(crops(manifest_path, seed=1).sample(1, 0, SAMPLES))
    assert not any(
        np.array_equal(first.sample(1, 0, SAMPLES).waveform, other.waveform) for other in others
    )


def test_an_utterance_without_a_duration_is_cropped_as_one_with(manifest_path: Path) -> None:
    starts = [
        float(crops(manifest_path).sample(epoch, 3, SAMPLES).waveform[0]) for epoch in range(20)
    ]
    assert max(starts) * 2**17 > 20000


def test_a_short_utterance_is_repeated(manifest_path: Path) -> None:
    waveform = crops(manifest_path).sample(0, 2, SAMPLES).waveform
    assert len(waveform) == 32000
    np.testing.assert_array_equal(waveform, np.resize(waveform[:11200], 32000))
    assert waveform[11199] > 0 and waveform[11200] == 0


def test_a_broken_file_is_named(manifest_path: Path) -> None:
    (manifest_path.parent / "1.wav").write_text("not audio")
    with pytest.raises(AudioError, match=r"1\.wav: cannot be decoded"):
        crops(manifest_path).sample(0, 1, SAMPLES)


def test_the_next_utterance_takes_the_place_of_a_bad_one(manifest_path: Path) -> None:
    folder = manifest_path.parent
    for name in ("1.wav", "3.wav"):
        (folder / name).write_text("not audio")
    dataset = crops(manifest_path, max_bad=1)
    # The last utterance is followed by the first, drawn once more.
    for draw, replacement in (
        (1, 2),
        (3, 4),
        (7, 8),
    ):
        sample, expected = (
            dataset.usable_sample(Draw(2, draw, SAMPLES)),
            dataset.sample(2, replacement, SAMPLES),
        )
        np.testing.assert_array_equal(sample.waveform, expected.waveform)
        assert sample.label == expected.label
        (bad,) = sample.bad
        assert bad.path == str(folder / f"{draw % 4}.wav") and bad.is_utterance
        assert bad.reason.startswith("cannot be decoded")
    assert dataset.usable_sample(Draw(2, 0, SAMPLES)).bad == ()


def test_more_bad_utterances_in_a_row_than_allowed(manifest_path: Path) -> None:
    for name in ("1.wav", "2.wav"):
        (manifest_path.parent / name).unlink()
    assert len(crops(manifest_path, max_bad=2).usable_sample(Draw(0, 1, SAMPLES)).bad) == 2
    with pytest.raises(
        BadUtterancesError, match=r"2 utterances in a row are bad; the first is .*1\.wav: No such"
    ) as caught:
        crops(manifest_path, max_bad=1).usable_sample(Draw(0, 1, SAMPLES))
    assert [Path(bad.path).name for bad in caught.value.bad] == ["1.wav", "2.wav"]


def test_a_fault_of_the_code_is_no_bad_audio(manifest_path: Path) -> None:
    class Faulty(Augmentation):
        def apply(
            self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int
        ) -> np.ndarray:
            return waveform / [][0]

    dataset = crops(manifest_path, augmentations=[Faulty(probability=1)], max_bad=4)
    with pytest.raises(
        RunError, match=r"2\.wav: cannot be made a training sample: IndexError"
    ) as caught:
        dataset.usable_sample(Draw(0, 2, SAMPLES))
    assert "apply" in [
        frame.name for frame in traceback.extract_tb(caught.value.__cause__.__traceback__)
    ]


@given(length=st.integers(1, 50), samples=st.integers(1, 200))
def test_fill_repeats_and_never_cuts(length: int, samples: int) -> None:
    filled = fill(np.arange(length), samples)
    assert len(filled) == max(length, samples)
    np.testing.assert_array_equal(filled, np.arange(len(filled)) % length)


class Tagged(Augmentation):
    """Writes the number that it drew into a sample of its own."""

    def __init__(self, *, place: int, probability: float = 1.0) -> None:
        super().__init__(probability=probability)
        self.place = place

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        changed = waveform.copy()
        changed[self.place] = rng.random()
        return changed


class OtherTagged(Tagged):
    pass


class Unreadable(Augmentation):
    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        raise AudioError("noise.wav: torn")


def test_an_augmentation_does_not_shift_the_draws_of_another(manifest_path: Path) -> None:
    def drawn(*augmentations: Augmentation) -> np.ndarray:
        return crops(manifest_path, augmentations=augmentations).sample(1, 0, SAMPLES).waveform

    alone = drawn(Tagged(place=7))
    assert drawn(Tagged(place=7))[7] == alone[7] != drawn()[7]
    both = drawn(Volume(probability=0), OtherTagged(place=9), Tagged(place=7))
    assert both[7] == alone[7] != both[9]
    twice = drawn(Tagged(place=7), Tagged(place=8))
    assert twice[7] == alone[7] != twice[8]
    np.testing.assert_array_equal(np.delete(alone, 7), np.delete(drawn(), 7))


def test_a_bad_noise_file_is_reported_and_left_out(manifest_path: Path) -> None:
    dataset = crops(manifest_path, augmentations=[Unreadable(probability=1), Tagged(place=7)])
    waveform, _, bad = dataset.sample(0, 0, SAMPLES)
    assert bad == (BadRecording("noise.wav", "torn", is_utterance=False),)
    expected = crops(manifest_path, augmentations=[Tagged(place=7)]).sample(0, 0, SAMPLES).waveform
    np.testing.assert_array_equal(waveform, expected)


def test_what_an_augmentation_makes_too_loud_is_scaled_down(manifest_path: Path) -> None:
    plain = crops(manifest_path).sample(0, 0, SAMPLES).waveform
    louder = (
        crops(manifest_path, augmentations=[Volume(gain_db=(60, 60), probability=1)])
        .sample(0, 0, SAMPLES)
        .waveform
    )
    np.testing.assert_allclose(louder, plain / plain.max(), rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    factors=st.lists(st.floats(0.8, 1.2), min_size=1, max_size=4),
    new_speakers=st.booleans(),
    epoch=st.integers(0, 9),
    draw=st.integers(0, 11),
    samples=st.integers(8000, 20000),
)
def test_labels_and_lengths_under_speed_perturbation(
    speech_path: Path, factors: list[float], new_speakers: bool, epoch: int, draw: int, samples: int
) -> None:
    speed = SpeedPerturbation(factors=tuple(factors), new_speakers=new_speakers)
    dataset = crops(speech_path, speed_perturbation=speed)
    waveform, label, _ = dataset.sample(epoch, draw, samples)
    assert waveform.shape == (samples,) and waveform.dtype == np.float32
    assert dataset.num_classes == (2 * len(factors) if new_speakers else 2)
    assert 0 <= label < dataset.num_classes and label % 2 == draw % 4 % 2
    # A tone of 400 Hz is shifted by the factor that belongs to the label.
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(samples), 2**18))
    hertz = np.argmax(spectrum) * 16000 / 2**18
    played = [factors[label // 2]] if new_speakers else factors
    assert min(abs(hertz - 400 * factor) for factor in played) < 3


@pytest.fixture(scope="module")
def speech_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of 400 Hz of two speakers."""
    folder = tmp_path_factory.mktemp("tones")
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(64000) / 16000)
    for index in range(4):
        soundfile.write(folder / f"{index}.wav", tone, 16000)
    write_manifest(
        folder / "m.tsv", [(f"{index}.wav", f"speaker{index % 2}", 4.0) for index in range(4)]
    )
    return folder / "m.tsv"


def test_every_speed_is_drawn(speech_path: Path) -> None:
    dataset = crops(speech_path, speed_perturbation=SpeedPerturbation())
    labels = [dataset.sample(epoch, draw, 8000).label for epoch in range(10) for draw in range(4)]
    assert set(labels) == set(range(6)) and min(np.bincount(labels)) > 1


@pytest.mark.parametrize(("probability", "as_they_are"), [(0.0, 1.0), (0.5, 2 / 3), (1.0, 1 / 3)])
def test_some_speeds_may_stay_while_the_classes_are_kept(
    speech_path: Path, probability: float, as_they_are: float
) -> None:
    dataset = crops(speech_path, speed_perturbation=SpeedPerturbation(probability=probability))
    labels = [dataset.sample(epoch, draw, 4000).label for epoch in range(50) for draw in range(4)]
    assert dataset.num_classes == 6
    assert np.mean(np.less(labels, 2)) == pytest.approx(
        as_they_are, abs=0.0 if probability == 0 else 0.12
    )


def test_a_second_draw_of_an_utterance_is_another_sample(manifest_path: Path) -> None:
    once, again = (crops(manifest_path).sample(0, draw, SAMPLES) for draw in (0, 4))
    assert once.label == again.label and not np.array_equal(once.waveform, again.waveform)


@pytest.mark.parametrize(
    "content", [np.full(16000, 0.25), np.zeros(16000), np.linspace(0, 1, 4000)]
)
def test_a_silent_or_too_short_utterance_is_refused(
    manifest_path: Path, content: np.ndarray
) -> None:
    soundfile.write(manifest_path.parent / "1.wav", content, 16000)
    write_manifest(manifest_path, [("0.wav", "a", None), ("1.wav", "b", None)])
    with pytest.raises(
        AudioError, match=r"1\.wav: (silent|0.25 s from 0.00 s on; expected at least min_seconds)"
    ):
        crops(manifest_path).sample(0, 1, SAMPLES)
    if len(content) == 4000:
        assert crops(manifest_path, min_seconds=0.2).sample(0, 1, SAMPLES).label == 1


def test_a_silent_pause_does_not_make_an_utterance_bad(manifest_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * 16000)
    sound[5 * 16000 : 10 * 16000] = 0
    soundfile.write(manifest_path.parent / "1.wav", sound, 16000)
    write_manifest(manifest_path, [("0.wav", "a", 4.0), ("1.wav", "b", 20.0)])
    dataset = crops(manifest_path)
    assert all(np.any(dataset.sample(epoch, 1, SAMPLES).waveform) for epoch in range(60))


def test_batches_have_lengths_of_the_whole_range(manifest_path: Path) -> None:
    dataset = crops(manifest_path, crop_seconds=(2.0, 3.0))
    lengths = [dataset.samples(epoch, batch) for epoch in range(10) for batch in range(30)]
    assert set(lengths) == {16000 * tenths // 10 for tenths in range(20, 31)}
    assert [dataset.samples(3, batch) for batch in range(30)] == lengths[90:120]
    assert {
        crops(manifest_path, crop_seconds=(2.015, 2.015)).samples(0, batch) for batch in range(9)
    } == {32240}
