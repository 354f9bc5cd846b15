"""The detectors of voice activity, on real speech and on what is not speech."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr
from sounds import NOT_SPEECH, hiss

from vprtrain.data.audio import read_audio
from vprtrain.data.vad import (
    EnergyDetector,
    SileroDetector,
    keep_speech,
    open_detector,
    speech_seconds,
)
from vprtrain.data.vad.detector import find_segments
from vprtrain.data.vad.level import frame_levels, level_percentile, level_variation
from vprtrain.data.vad.silero import is_installed
from vprtrain.data.vad.speech_reader import STEADY
from vprtrain.errors import UsageError

RATE = 16000
needs_silero = pytest.mark.skipif(
    not is_installed(), reason="Silero VAD is not installed: pip install 'vprtrain[vad]'"
)


def recordings(test_data: Path, every: int) -> list[Path]:
    with open(test_data / "dev_pack" / "metadata.csv", encoding="utf-8", newline="") as file:
        return [test_data / "dev_pack" / row["path"] for row in csv.DictReader(file)][::every]


@pytest.fixture(scope="module")
def sentences(test_data: Path) -> list[np.ndarray]:
    paths = [path for path in recordings(test_data, 1) if "librispeech" in path.parts]
    return [read_audio(path) for path in paths[:180:30]]


@pytest.fixture(scope="module")
def speech(sentences: list[np.ndarray]) -> np.ndarray:
    """The sentences, and 1 s of silence after each."""
    pause = hiss(1.0, -70)
    return np.concatenate([np.concatenate([sentence, pause]) for sentence in sentences])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 301])
@pytest.mark.parametrize("percent", [0, 10, 25, 90, 100])
def test_percentiles_are_those_of_numpy(count: int, percent: float) -> None:
    levels = 30 * np.random.default_rng(count).standard_normal(count) - 50
    assert level_percentile(levels, percent) == pytest.approx(
        np.percentile(levels, percent), rel=1e-12
    )


def test_segments_of_steps() -> None:
    active = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1], bool)
    found = find_segments(active, step=0.1, duration=1.45, min_run=0.2, padding=0.1)
    np.testing.assert_allclose(found, [(0, 0.3), (0.8, 1.45)])
    assert find_segments(~active[:0], step=0.1, duration=0, min_run=0.2, padding=0.1) == []
    assert find_segments(~active, step=1, duration=15, min_run=9, padding=0) == []
    assert speech_seconds([(0.0, 0.5), (1.0, 1.25)]) == 0.75


def test_kept_speech_is_the_samples_of_the_segments() -> None:
    waveform = np.arange(100, dtype=np.float32)
    kept = keep_speech(waveform, 10, [(0.0, 0.5), (9.0, 12.0)])
    np.testing.assert_array_equal(kept, [*range(5), *range(90, 100)])
    assert keep_speech(waveform, 10, []).shape == (0,)


@pytest.mark.parametrize("gain", [1.0, 0.01])
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("name", ["energy", pytest.param("silero", marks=needs_silero)])
def test_speech_is_found_and_silence_is_not(
    sentences: list[np.ndarray], speech: np.ndarray, name: str, rate: int, gain: float
) -> None:
    waveform = soxr.resample(speech, RATE, rate) * np.float32(gain)
    segments = open_detector(name)(waveform, rate)
    durations = np.array([len(sentence) / RATE for sentence in sentences])
    assert 0.6 * durations.sum() < speech_seconds(segments) < durations.sum() + 0.2 * 6
    times = np.array(segments)
    assert (times[:, 0] < times[:, 1]).all() and (times[1:, 0] > times[:-1, 1]).all()
    assert times[0, 0] >= 0 and times[-1, 1] <= len(waveform) / rate
    for middle in np.cumsum(durations + 1) - 0.5:  # of every pause
        assert not any(start < middle < end for start, end in segments)


@needs_silero
@pytest.mark.parametrize("name", NOT_SPEECH)
def test_silero_finds_no_speech_in_what_is_not(name: str) -> None:
    assert speech_seconds(SileroDetector()(NOT_SPEECH[name], RATE)) == 0


@pytest.mark.parametrize("name", ["clicks", "a step", "a step with dither"])
def test_energy_does_not_count_clicks_and_steps(name: str) -> None:
    assert speech_seconds(EnergyDetector()(NOT_SPEECH[name], RATE)) < 0.5


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 513])
@pytest.mark.parametrize("name", ["energy", pytest.param("silero", marks=needs_silero)])
def test_short_waveforms_have_segments_too(name: str, samples: int) -> None:
    segments = open_detector(name)(hiss(1.0, -20)[:samples], RATE)
    assert speech_seconds(segments) <= samples / RATE


@needs_silero
def test_silero_does_not_depend_on_the_level(speech: np.ndarray) -> None:
    detector = SileroDetector()
    assert detector(speech * np.float32(2**-8), RATE) == detector(speech, RATE)


def test_no_real_speech_is_too_short_or_steady_by_energy(test_data: Path) -> None:
    _energy_accepts(recordings(test_data, 20))


@pytest.mark.slow
def test_no_real_speech_at_all_is_too_short_or_steady_by_energy(test_data: Path) -> None:
    _energy_accepts(recordings(test_data, 1))


def _energy_accepts(paths: list[Path]) -> None:
    detector, refused = EnergyDetector(), []
    for path in paths:
        waveform = read_audio(path)
        found = keep_speech(waveform, RATE, detector(waveform, RATE))
        steady = level_variation(frame_levels(found, RATE)) < 2 * STEADY
        if len(found) < RATE / 2 or steady:
            refused.append(path.name)
    assert len(paths) > 100 and not refused


@needs_silero
@pytest.mark.slow
def test_silero_refuses_hardly_any_real_speech_and_hardly_passes_noise(test_data: Path) -> None:
    """Of all 2298 recordings six have less than 0.5 s: screams, and two that are 1 s long."""
    detector = SileroDetector()

    def short(paths: list[Path]) -> int:
        waveforms = (read_audio(path, duration=30.0) for path in paths)
        return sum(speech_seconds(detector(waveform, RATE)) < 0.5 for waveform in waveforms)

    real = recordings(test_data, 4)
    assert short(real) <= 0.01 * len(real)
    noise = sorted((test_data / "noise_pack" / "musan" / "noise").rglob("*.wav"))
    assert len(noise) > 30 and short(noise) >= 0.9 * len(noise)


def test_detectors_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(open_detector("energy"), EnergyDetector)
    with pytest.raises(UsageError, match="vad is 'loud': expected auto, silero, energy"):
        open_detector("loud")
    with pytest.raises(UsageError, match=r"^vad is 'loud\\nloud.{1,80}: expected auto"):
        open_detector("loud\n" * 1000)
    monkeypatch.setattr("vprtrain.data.vad.silero._WHEELS", ("no-such-wheel",))
    with pytest.raises(UsageError, match=r"pip install 'vprtrain\[vad\]', or use .* energy"):
        open_detector("silero")
    assert isinstance(open_detector("auto"), EnergyDetector)
    assert "speech is found by its energy" in caplog.text


@needs_silero
def test_silero_needs_no_pytorch_and_a_threshold_between_its_bounds() -> None:
    assert isinstance(open_detector("auto"), SileroDetector)
    assert "torch" not in sys.modules
    with pytest.raises(UsageError, match="threshold is 1"):
        SileroDetector(threshold=1)
