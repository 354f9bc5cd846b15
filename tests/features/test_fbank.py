"""Fbank against stored values of Kaldi, and dither that is the same after a resume."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import paddle
import pytest

from vprtrain.engine.seeding import key
from vprtrain.errors import UsageError
from vprtrain.features import Fbank

# kaldi-native-fbank 1.23.0 on `signal(rate)`, dither 0, stored rounded to 1e-4.
KALDI = np.load(Path(__file__).parent / "kaldi_fbank.npz")


def signal(rate: int) -> np.ndarray:
    """0.4 s in [-1, 1]: rising tones, a noise-like sequence, and digital silence at the end."""
    n = np.arange(int(0.4 * rate))
    t = n / rate
    tones = 0.3 * np.sin(2 * np.pi * (200 + 4000 * t) * t) + 0.2 * np.sin(
        2 * np.pi * 3 * (120 + 40 * t) * t
    )
    noise = ((n * n * 7919 + n * 104729) % 65537) / 65537 - 0.5
    return np.where(t < 0.34, tones * np.exp(-3 * t) + 0.05 * noise + 0.02, 0.0).astype("float32")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("povey_16k", {}),
        ("povey_int16_16k", {"int16_scale": True}),
        ("hamming_16k", {"window": "hamming"}),
        ("hamming_int16_16k", {"window": "hamming", "int16_scale": True}),
        ("povey_8k_40", {"sample_rate": 8000, "n_mels": 40, "f_min": 100.0, "f_max": 3800.0}),
    ],
)
@pytest.mark.parametrize("path", ["on_host", "on_device"])
def test_equals_kaldi(name: str, options: dict, path: str) -> None:
    fbank = Fbank(**options)
    waveforms = signal(fbank.sample_rate)[None]
    features = {
        "on_host": lambda: fbank.on_host(waveforms),
        "on_device": lambda: fbank.on_device(paddle.to_tensor(waveforms)).numpy(),
    }[path]()[0]
    assert features.dtype == np.float32 and features.shape == KALDI[name].shape
    np.testing.assert_allclose(features, KALDI[name], rtol=0, atol=1e-3)


@pytest.mark.parametrize("window", ["povey", "hamming"])
@pytest.mark.parametrize("int16_scale", [False, True])
def test_equals_kaldi_live_on_noise_of_every_level(window: str, int16_scale: bool) -> None:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = 80
    fbank = Fbank(window=window, int16_scale=int16_scale)
    for level in (1e-3, 0.03, 0.5):
        waveform = np.random.default_rng(1).uniform(-level, level, 48000).astype("float32")
        reference = knf.OnlineFbank(options)
        reference.accept_waveform(16000, waveform * (32768 if int16_scale else 1))
        reference.input_finished()
        expected = np.stack([reference.get_frame(i) for i in range(reference.num_frames_ready)])
        np.testing.assert_allclose(fbank.on_host(waveform[None])[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.25])
@pytest.mark.parametrize("int16_scale", [False, True])
def test_silence_and_a_constant_are_the_floor(level: float, int16_scale: bool) -> None:
    waveforms = np.full((2, 1600), level, "float32")
    fbank = Fbank(int16_scale=int16_scale)
    floor = math.log(np.finfo(np.float32).eps)
    for features in (
        fbank.on_host(waveforms),
        fbank.on_device(paddle.to_tensor(waveforms)).numpy(),
    ):
        np.testing.assert_allclose(features, floor, rtol=1e-6)


def test_mean_norm_removes_a_scale() -> None:
    waveforms = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8000)).astype("float32")
    features = Fbank(mean_norm=True)(waveforms).numpy()
    np.testing.assert_allclose(
        Fbank(mean_norm=True, int16_scale=True)(waveforms).numpy(), features, atol=1e-3
    )


def test_dither_is_a_function_of_the_steps_seed() -> None:
    fbank, silence = Fbank(dither=1e-3), np.zeros((2, 1600), "float32")

    def drawn(step: int) -> np.ndarray:
        paddle.seed(key(3, 0, step))
        return fbank(silence).numpy()

    straight = [drawn(step) for step in range(3)]
    assert np.abs(straight[0] - straight[1]).max() > 0.1
    assert np.abs(straight[0][0] - straight[0][1]).max() > 0.1
    np.testing.assert_array_equal(drawn(2), straight[2])  # like a run that resumes at step 2


@pytest.mark.parametrize("int16_scale", [False, True])
def test_dither_is_of_the_scaled_samples(int16_scale: bool) -> None:
    paddle.seed(0)
    level = 0.5
    features = Fbank(dither=level, int16_scale=int16_scale)(np.zeros((1, 16000), "float32")).numpy()
    noise = np.random.default_rng(0).normal(0, level, (1, 16000)).astype("float32")
    expected = Fbank().on_host(noise)
    assert np.exp(features).mean() == pytest.approx(np.exp(expected).mean(), rel=0.1)


def test_dither_is_for_training_only() -> None:
    fbank, waveforms = Fbank(dither=0.1), signal(16000)[None]
    fbank.eval()
    before = paddle.get_rng_state()[0].__getstate__()
    np.testing.assert_array_equal(fbank(waveforms).numpy(), Fbank()(waveforms).numpy())
    assert paddle.get_rng_state()[0].__getstate__() == before


@pytest.mark.parametrize("floor", [1e-7, 1e-3])
def test_silence_is_the_floors_logarithm(floor: float) -> None:
    fbank, silence = Fbank(floor=floor), np.zeros((1, 800), "float32")
    for features in (fbank.on_host(silence), fbank.on_device(paddle.to_tensor(silence)).numpy()):
        np.testing.assert_allclose(features, math.log(floor), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f_max": 9000.0}, "sample_rate / 2"),
        ({"f_min": 500.0, "f_max": 400.0}, "f_min < f_max"),
        ({"n_mels": 0}, "n_mels is 0; expected a whole number from 1"),
        ({"n_mels": 300}, "use fewer mels"),
        ({"window": "square"}, "'square' is not known: choose one of povey, hamming"),
        ({"frame_length_ms": 0.01}, "frames of 0 samples"),
        ({"floor": 0.0}, "floor is 0.0"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Fbank(**options)
