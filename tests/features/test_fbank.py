"""Fbank against Kaldi's figures, its two paths against each other, and what it promises of padding."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.features import Fbank

# kaldi-native-fbank 1.23.0 on `signal(rate)`, dither 0, stored rounded to 1e-4.
KALDI = np.load(Path(__file__).parent / "kaldi_fbank.npz")


def signal(rate: int) -> np.ndarray:
    """0.4 s in [-1, 1]: rising tones, a sequence that sounds like noise, and digital silence at the end."""
    n = np.arange(int(0.4 * rate))
    t = n / rate
    tones = 0.3 * np.sin(2 * np.pi * (200 + 4000 * t) * t) + 0.2 * np.sin(2 * np.pi * 3 * (120 + 40 * t) * t)
    noise = ((n * n * 7919 + n * 104729) % 65537) / 65537 - 0.5
    return np.where(t < 0.34, tones * np.exp(-3 * t) + 0.05 * noise + 0.02, 0.0).astype("float32")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("povey_16k", {}),
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


def test_an_array_and_a_tensor_give_the_same() -> None:
    fbank, waveforms = Fbank(n_mels=40), signal(16000)[None]
    from_array, from_tensor = fbank(waveforms), fbank(paddle.to_tensor(waveforms))
    assert isinstance(from_array, paddle.Tensor) and from_array.dtype == paddle.float32
    np.testing.assert_array_equal(from_array.numpy(), from_tensor.numpy())


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 9000), min_size=1, max_size=4),
    padding=st.sampled_from([0.0, 0.7]),
    mean_norm=st.booleans(),
)
def test_padding_has_no_influence(lengths: list[int], padding: float, mean_norm: bool) -> None:
    fbank = Fbank(n_mels=20, mean_norm=mean_norm)
    rng = np.random.default_rng(len(lengths))
    batch = np.full((len(lengths), max(*lengths, 400)), padding, "float32")
    for row, length in enumerate(lengths):
        batch[row, :length] = rng.uniform(-0.5, 0.5, length)
    host = fbank.on_host(batch, np.array(lengths))
    device = fbank.on_device(paddle.to_tensor(batch), paddle.to_tensor(lengths, dtype="int64")).numpy()
    np.testing.assert_allclose(device, host, rtol=0, atol=1e-3)
    for row, length in enumerate(lengths):
        count = fbank.frames(length)
        assert not host[row, count:].any()
        if count:
            alone = fbank.on_host(batch[row : row + 1, :length])[0]
            np.testing.assert_allclose(host[row, :count], alone, rtol=0, atol=1e-5)


@given(samples=st.integers(0, 100_000), rate=st.sampled_from([8000, 16000, 44100]))
@settings(deadline=None)
def test_frames_counts_the_windows_that_fit(samples: int, rate: int) -> None:
    fbank = Fbank(sample_rate=rate, n_mels=20)
    fitting = len(range(0, samples - fbank.frame_length + 1, fbank.frame_shift))
    assert fbank.frames(samples) == fitting
    assert fbank.frames(np.array([samples])).tolist() == [fitting]
    assert fbank.frames(paddle.to_tensor([samples], dtype="int64")).tolist() == [fitting]


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_and_a_constant_are_the_floor(level: float) -> None:
    waveforms = np.full((2, 1600), level, "float32")
    fbank = Fbank()
    floor = math.log(np.finfo(np.float32).eps)
    for features in (fbank.on_host(waveforms), fbank.on_device(paddle.to_tensor(waveforms)).numpy()):
        np.testing.assert_allclose(features, floor, rtol=1e-6)
    np.testing.assert_allclose(Fbank(mean_norm=True)(waveforms).numpy(), 0, atol=1e-5)


def test_mean_norm_removes_the_mean_and_with_it_a_scale() -> None:
    waveforms = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8000)).astype("float32")
    features = Fbank(mean_norm=True)(waveforms).numpy()
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(Fbank(mean_norm=True, int16_scale=True)(waveforms).numpy(), features, atol=1e-3)


def test_dither_follows_paddles_seed() -> None:
    fbank, silence = Fbank(dither=1e-3), np.zeros((1, 1600), "float32")
    drawn = []
    for seed in (1, 1, 2):
        paddle.seed(seed)
        drawn.append(fbank(silence).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 0.1
    assert np.isfinite(fbank.on_device(paddle.to_tensor(silence)).numpy()).all()


def test_a_long_waveform_equals_its_parts() -> None:
    fbank = Fbank(n_mels=20)
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 160 * 1200 + 240).astype("float32")
    whole = fbank(waveform[None]).numpy()[0]
    assert whole.shape == (1200, 20)
    tail = fbank(waveform[None, 160 * 900 :]).numpy()[0]
    np.testing.assert_allclose(whole[900:], tail, atol=1e-5)


def test_holds_no_state() -> None:
    fbank = Fbank()
    assert not fbank.state_dict() and not fbank.parameters()
    assert fbank.output_size == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f_max": 9000.0}, "sample_rate / 2"),
        ({"f_min": 500.0, "f_max": 400.0}, "f_min < f_max"),
        ({"n_mels": 0}, "n_mels >= 1"),
        ({"n_mels": 300}, "use fewer mels"),
        ({"window": "square"}, "'square' is not known: choose one of povey, hamming"),
        ({"frame_length_ms": 0.01}, "samples at 16000 Hz"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Fbank(**options)


@pytest.mark.parametrize("shape", [(1600,), (2, 399), (2, 1, 1600)])
def test_waveforms_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least 400 samples"):
        Fbank()(np.zeros(shape, "float32"))
