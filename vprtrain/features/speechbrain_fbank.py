"""Log mel filter banks as SpeechBrain computes them."""

from __future__ import annotations

import numpy as np
import paddle

from vprtrain.errors import UsageError
from vprtrain.features.extractor import Count, FeatureExtractor, PowerOnDevice, power_on_host
from vprtrain.layers.precision import full_precision

_AMIN = 1e-10


class SpeechBrainFbank(FeatureExtractor):
    """Mel filter-bank energies in decibels, equal to ``speechbrain.lobes.features.Fbank``; for its
    weights.

    Frames of 25 ms every 10 ms, the first and the last half beyond the utterance, where there is
    silence; periodic hamming window, power spectrum; triangles of height 1, as wide to the right as
    to the left, around centres equally spaced on ``2595 log10(1 + f / 700)`` from 0 Hz to half the
    sample rate; ``10 log10`` of 1e-10 or more. What lies more than ``top_db`` below the utterance's
    largest value is raised to there.

    Args:
        n_mels: filters, the values of a frame.
        sample_rate: in Hz.
        top_db: the range that is kept, in dB.
        mean_norm: subtract every feature's mean over the utterance's frames.

    Raises :class:`UsageError` for options that make no filter bank.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        sample_rate: int = 16000,
        top_db: float = 80.0,
        mean_norm: bool = False,
    ) -> None:
        frame_length = round(sample_rate * 0.025)
        super().__init__(
            output_size=n_mels,
            frame_length=frame_length,
            frame_shift=round(sample_rate * 0.01),
            centred=False,
            mean_norm=False,  # done here, after the range was limited
            variance_norm=False,
        )
        if n_mels < 1 or not top_db > 0:
            raise UsageError(
                f"{n_mels} mels and top_db {top_db} make no filter bank: both must be above 0"
            )
        self.min_samples = 1
        self.top_db = top_db
        self.subtracts_mean = mean_norm
        phase = 2 * np.pi * np.arange(frame_length) / frame_length
        self._window = (0.54 - 0.46 * np.cos(phase)).astype("float32")
        self._filters = _filters(n_mels, frame_length, sample_rate)
        self._power_on_device = PowerOnDevice(frame_length=frame_length, fft_size=frame_length)
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)
        self.register_buffer("filters", paddle.to_tensor(self._filters), persistable=False)

    def frames(self, samples: Count) -> Count:
        """How many frames that many samples give."""
        return (samples + 2 * (self.frame_length // 2) - self.frame_length) // self.frame_shift + 1

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        energies = power_on_host(windows * self._window, self.frame_length) @ self._filters
        return 10 * np.log10(np.maximum(energies, np.float32(_AMIN)))

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        energies = paddle.matmul(self._power_on_device(windows * self.window), self.filters)
        return 10 * paddle.log10(energies.clip(min=_AMIN))

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
        real = (paddle.arange(samples) < lengths.unsqueeze(1)).astype("float32")
        silence = paddle.zeros([waveforms.shape[0], half])
        padded = paddle.concat([silence, waveforms.astype("float32") * real, silence], axis=1)
        features = super().on_device(padded)
        with full_precision():
            count = self.frames(lengths).reshape([-1, 1, 1])
            real = (paddle.arange(features.shape[1]).reshape([1, -1, 1]) < count).astype("float32")
            # Every value is above -100 dB, that of _AMIN.
            largest = (features * real - 100.0 * (1 - real)).max(axis=[1, 2], keepdim=True)
            features = paddle.maximum(features, largest - self.top_db) * real
            if self.subtracts_mean:
                features = features - features.sum(axis=1, keepdim=True) / count.astype("float32")
            return features * real


def _filters(n_mels: int, fft_size: int, sample_rate: int) -> np.ndarray:
    """``[fft_size // 2 + 1, n_mels]`` float32."""
    mels = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), n_mels + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    width = np.diff(corners)[:-1]
    distance = np.abs(np.fft.rfftfreq(fft_size, 1 / sample_rate)[:, np.newaxis] - corners[1:-1])
    return np.maximum(0, 1 - distance / width).astype("float32")
