"""SpeechBrainFbank against stored values of SpeechBrain itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from vprtrain.errors import UsageError
from vprtrain.features import SpeechBrainFbank

# speechbrain.lobes.features.Fbank(n_mels=80) of SpeechBrain 1.1.2 for the waveforms below, every
# 15th (10th) frame; "normalised" is followed by its InputNormalization(norm_type="sentence",
# std_norm=False).
FIGURES = np.load(Path(__file__).parent / "speechbrain_fbank.npz")


def waveform() -> np.ndarray:
    time = np.arange(24000) / 16000
    tones = 0.1 * np.sin(2 * np.pi * 220 * time) + 0.05 * np.sin(
        2 * np.pi * 1234 * time * (1 + 0.1 * time)
    )
    return (tones + 0.01 * np.random.default_rng(7).standard_normal(24000)).astype("float32")


def quiet_at_the_end() -> np.ndarray:
    """A waveform whose end lies below the range of 80 dB."""
    samples = waveform()
    samples[8000:] *= 1e-5
    return samples


CASES = {
    "plain": (waveform(), False, 15),
    "normalised": (waveform(), True, 15),
    "quiet": (quiet_at_the_end(), False, 15),
    "odd": (waveform()[:16037], False, 10),
}


def on_host(
    feature: SpeechBrainFbank, waveforms: np.ndarray, lengths: np.ndarray | None = None
) -> np.ndarray:
    return feature.on_host(waveforms, lengths)


def on_device(
    feature: SpeechBrainFbank, waveforms: np.ndarray, lengths: np.ndarray | None = None
) -> np.ndarray:
    return feature.on_device(
        paddle.to_tensor(waveforms), None if lengths is None else paddle.to_tensor(lengths)
    ).numpy()


both_paths = pytest.mark.parametrize("path", [on_host, on_device])


@both_paths
@pytest.mark.parametrize("name", CASES)
def test_equal_to_speechbrain(path, name: str) -> None:
    samples, mean_norm, step = CASES[name]
    features = path(SpeechBrainFbank(mean_norm=mean_norm), samples[np.newaxis])
    np.testing.assert_allclose(features[0, ::step], FIGURES[name], rtol=0, atol=1e-3)


@both_paths
@pytest.mark.parametrize("mean_norm", [False, True])
def test_padding_has_no_influence(path, mean_norm: bool) -> None:
    feature = SpeechBrainFbank(mean_norm=mean_norm)
    lengths = np.array([24000, 16037, 160])
    batch = np.full((3, 24000), 9.0, "float32")
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = waveform()[:length]
    features = path(feature, batch, lengths)
    for padded, length in zip(features, lengths.tolist(), strict=True):
        alone = path(feature, waveform()[np.newaxis, :length])[0]
        assert len(alone) == feature.frames(length)
        np.testing.assert_allclose(padded[: len(alone)], alone, rtol=0, atol=1e-4)
        assert not padded[len(alone) :].any()


@pytest.mark.parametrize("options", [{"n_mels": 0}, {"top_db": 0}])
def test_options_that_make_no_filter_bank(options) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} is 0; expected"):
        SpeechBrainFbank(**options)
