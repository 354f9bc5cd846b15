from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vprtrain.data.synthetic.voices import add_channel, draw_speaker, draw_utterance


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.01])
def test_an_utterance_has_the_length_and_level_asked_for(seconds: float) -> None:
    for number in range(10):
        rng = generator(number)
        clean = draw_utterance(draw_speaker(rng), rng, seconds=seconds)
        assert clean.shape == (int(seconds * 16000),) and clean.dtype == np.float32
        assert np.isfinite(clean).all() and np.abs(clean).max() == pytest.approx(0.7, rel=1e-5)
        noisy = add_channel(clean, rng)
        assert noisy.shape == clean.shape and noisy.dtype == np.float32
        assert 0.19 < np.abs(noisy).max() < 0.91


def test_an_utterance_is_a_function_of_its_generator() -> None:
    speaker = draw_speaker(generator(1))
    np.testing.assert_array_equal(
        draw_utterance(speaker, generator(2)), draw_utterance(speaker, generator(2))
    )
    assert not np.array_equal(
        draw_utterance(speaker, generator(2)), draw_utterance(speaker, generator(3))
    )


def test_the_channel_keeps_to_its_signal_to_noise_ratio() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000).astype(np.float32)
    for ratio in (0.0, 10.0, 20.0):
        noisy = add_channel(tone, generator(5), snr=(ratio, ratio))
        spectrum = np.abs(np.fft.rfft(noisy)) ** 2
        signal = spectrum[2000]
        assert 10 * np.log10(signal / (spectrum.sum() - signal)) == pytest.approx(ratio, abs=0.3)


def long_term_spectrum(waveform: np.ndarray) -> np.ndarray:
    """The level in dB of 32 bands up to 6 kHz, without the overall level."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 512)[::160] * np.hanning(512)
    power = (
        (np.abs(np.fft.rfft(frames, axis=1)) ** 2)
        .mean(axis=0)[: 32 * 6]
        .reshape(32, 6)
        .mean(axis=1)
    )
    level = 10 * np.log10(power + 1e-9)
    return level - level.mean()


def test_one_speaker_sounds_more_alike_than_two() -> None:
    spectra = []
    for number in range(12):
        speaker = draw_speaker(generator(number))
        spectra.append(
            [
                long_term_spectrum(draw_utterance(speaker, generator(number, take)))
                for take in range(4)
            ]
        )
    voices = np.array(spectra)
    within = np.linalg.norm(voices - voices.mean(axis=1, keepdims=True), axis=2).mean()
    between = np.linalg.norm(voices.mean(axis=1) - voices.mean(axis=(0, 1)), axis=1).mean()
    assert between > 1.3 * within


def test_the_pitch_is_the_speakers() -> None:
    for number in range(6):
        speaker = draw_speaker(generator(number))
        waveform = draw_utterance(speaker, generator(number, 1))
        envelope = np.fft.irfft(np.abs(np.fft.rfft(waveform[:32768], 65536)) ** 2)[: 16000 // 60]
        lag = 40 + int(np.argmax(envelope[40:]))
        octaves = np.log2(16000 / lag / speaker.pitch)
        assert min(abs(octaves - shift) for shift in (-1, 0, 1)) < 0.35


def test_synthesis_needs_neither_paddle_nor_scipy() -> None:
    unwanted = "{'paddle', 'scipy', 'soundfile'}"
    code = (
        f"import sys, vprtrain.data.synthetic.voices; sys.exit(bool({unwanted} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)
