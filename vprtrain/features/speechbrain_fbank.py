"""Log mel filter banks as SpeechBrain computes them."""

from __future__ import annotations

import numpy as np
import paddle

from vprtrain.errors import (
    require_flags,
    require_number,
    require_sample_rate,
    require_whole,
)
from vprtrain.features.extractor import Count, FeatureExtractor
from vprtrain.features.mel import MOST_MELS
from vprtrain.features.steps import MOST_FLOAT32, FrameStep, Projection, Spectrum, Window
from vprtrain.layers.precision import full_precision

_AMIN = 1e-10


class SpeechBrainFbank(FeatureExtractor):
    """Mel filter-bank energies in decibels, equal to ``speechbrain.lobes.features.Fbank``; for its
    weights.

    Frames of 25 ms every 10 ms; half of the first frame lies before the utterance and half of the
    last after it, where there is silence. Periodic hamming window, power spectrum. Triangular
    filters of height 1, equally wide on both sides, with centres equally spaced on
    ``2595 log10(1 + f / 700)`` from 0 Hz to half the sample rate. ``10 log10`` of at least 1e-10.
    Values more than ``top_db`` below the utterance's largest value are raised to that limit.

    Args:
        n_mels: the number of filters, and of values of a feature frame.
        sample_rate: of the waveforms, in Hz.
        top_db: the range below the largest value that is kept, in dB.
        mean_norm: subtract every feature's mean over the utterance's frames.

    Raises:
        UsageError: the options do not make a filter bank.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        sample_rate: int = 16000,
        top_db: float = 80.0,
        mean_norm: bool = False,
    ) -> None:
        require_sample_rate("sample_rate", sample_rate)
        require_whole("n_mels", n_mels, 1, MOST_MELS)
        require_number("top_db", top_db, above=0, most=MOST_FLOAT32)
        require_flags(mean_norm=mean_norm)
        frame_length = round(sample_rate * 0.025)
        super().__init__(
            output_size=n_mels,
            frame_length=frame_length,
            frame_shift=round(sample_rate * 0.01),
            centred=False,
            mean_norm=False,  # done in this class, after the range is limited
            variance_norm=False,
        )
        self.min_samples = 1
        self.top_db = top_db
        self.subtracts_mean = mean_norm
        phase = 2 * np.pi * np.arange(frame_length) / frame_length
        self.steps.extend(
            [
                Window(0.54 - 0.46 * np.cos(phase)),
                Spectrum(frame_length=frame_length, fft_size=frame_length),
                Projection(_filters(n_mels, frame_length, sample_rate)),
                Decibels(),
            ]
        )

    def frames(self, samples: Count) -> Count:
        """The number of frames that this number of samples gives."""
        return (samples + 2 * (self.frame_length // 2) - self.frame_length) // self.frame_shift + 1

    def _fill(self, features: np.ndarray, waveform: np.ndarray) -> None:
        super()._fill(features, np.pad(waveform, self.frame_length // 2))
        np.maximum(features, features.max() - np.float32(self.top_db), out=features)
        if self.subtracts_mean:
            features -= features.mean(axis=0, dtype="float64").astype("float32")

    @paddle.no_grad()
    def on_device(
        self, waveforms: paddle.Tensor, lengths: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        half = self.frame_length // 2
        samples = waveforms.shape[1]
        if lengths is None:
            lengths = paddle.full([1], samples, "int64")
        mask = (paddle.arange(samples) < lengths.unsqueeze(1)).astype("float32")
        silence = paddle.zeros([waveforms.shape[0], half])
        padded = paddle.concat([silence, waveforms.astype("float32") * mask, silence], axis=1)
        features = super().on_device(padded)
        with full_precision():
            count = self.frames(lengths).reshape([-1, 1, 1])
            mask = (paddle.arange(features.shape[1]).reshape([1, -1, 1]) < count).astype("float32")
            # Every value is at least -100 dB, which is that of _AMIN.
            largest = (features * mask - 100.0 * (1 - mask)).max(axis=[1, 2], keepdim=True)
            features = paddle.maximum(features, largest - self.top_db) * mask
            if self.subtracts_mean:
                features = features - features.sum(axis=1, keepdim=True) / count.astype("float32")
            return features * mask


class Decibels(FrameStep):
    """``10 log10(max(x, 1e-10))``, with the decimal logarithm itself, as SpeechBrain has it."""

    def on_host(self, frames: np.ndarray) -> np.ndarray:
        decibels: np.ndarray = 10 * np.log10(np.maximum(frames, np.float32(_AMIN)))
        return decibels

    def forward(self, frames: paddle.Tensor) -> paddle.Tensor:
        return 10 * paddle.log10(frames.clip(min=_AMIN))


def _filters(n_mels: int, fft_size: int, sample_rate: int) -> np.ndarray:
    """``[fft_size // 2 + 1, n_mels]`` float32."""
    mels = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), n_mels + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    width = np.diff(corners)[:-1]
    distance = np.abs(np.fft.rfftfreq(fft_size, 1 / sample_rate)[:, np.newaxis] - corners[1:-1])
    return np.maximum(0, 1 - distance / width).astype("float32")
