"""Spectrograms on the linear and the mel scale and cepstra, as librosa and ``paddle.audio`` define
them."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import paddle
import scipy.fft

from vprtrain.errors import UsageError
from vprtrain.features.extractor import FeatureExtractor, PowerOnDevice, power_on_host
from vprtrain.features.mel import slaney_filters

WindowName: TypeAlias = Literal[
    "hann", "hamming", "blackman", "bohman", "cosine", "nuttall", "triang"
]

_DECIBEL = 10 / math.log(10)


class Spectrogram(FeatureExtractor):
    """Magnitudes of the short-time Fourier transform, to a power; ``n_fft // 2 + 1`` values a
    frame.

    Args:
        n_fft: samples of a frame, at least 2.
        hop_length: samples from a frame to the next.
        win_length: samples of the periodic window, which stands in the middle of a frame; ``n_fft``
            if not given.
        window: its shape, by SciPy's name.
        power: 2 for powers, 1 for magnitudes.
        center: whether frame ``t`` is centred on sample ``t * hop_length``, the utterance being
            reflected at its ends (so it needs more than ``n_fft // 2`` samples).
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over them.

    Raises :class:`UsageError` for options that make no spectrogram.
    """

    def __init__(
        self,
        *,
        n_fft: int = 512,
        hop_length: int = 160,
        win_length: int | None = None,
        window: WindowName = "hann",
        power: float = 2.0,
        center: bool = True,
        mean_norm: bool = False,
        variance_norm: bool = False,
    ) -> None:
        super().__init__(
            output_size=n_fft // 2 + 1,
            frame_length=n_fft,
            frame_shift=hop_length,
            centred=center,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
        )
        if window not in get_args(WindowName):
            raise UsageError(
                f"window {window!r} is not known: choose one of {', '.join(get_args(WindowName))}"
            )
        win_length = n_fft if win_length is None else win_length
        if not 1 <= win_length <= n_fft or not power > 0:
            raise UsageError(
                f"win_length {win_length}, n_fft {n_fft} and power {power} make no spectrogram: "
                "1 <= win_length <= n_fft and power > 0 are needed"
            )
        self.power = power
        before = (n_fft - win_length) // 2
        from scipy.signal import (
            get_window,  # takes a second, most of it scipy.stats; not every run needs it
        )

        shape = get_window(window, win_length, fftbins=True)
        self._window = np.pad(shape, (before, n_fft - win_length - before)).astype("float32")
        self._power_on_device = PowerOnDevice(frame_length=n_fft, fft_size=n_fft)
        self.register_buffer("window", paddle.to_tensor(self._window), persistable=False)

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        spectrum = power_on_host(windows * self._window, self.frame_length)
        return spectrum if self.power == 2 else spectrum ** np.float32(self.power / 2)

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        spectrum = self._power_on_device(windows * self.window)
        return spectrum if self.power == 2 else spectrum ** (self.power / 2)


class MelSpectrogram(Spectrogram):
    """A :class:`Spectrogram` summed up by triangular filters; ``n_mels`` values a frame.

    Args:
        n_mels: filters, equally spaced in mel.
        sample_rate: of the waveforms, in Hz.
        n_fft: :class:`Spectrogram`'s, as are the next five.
        f_min: where the first filter begins, in Hz.
        f_max: where the last one ends; half the sample rate if not given.
        htk: ``2595 log10(1 + f / 700)`` for the mel scale, instead of Slaney's (linear up to 1
            kHz).
        norm: "slaney" for filters of equal area, none for filters of equal height.
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over them.

    Raises :class:`UsageError` for options that make no filter bank.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        win_length: int | None = None,
        window: WindowName = "hann",
        power: float = 2.0,
        center: bool = True,
        f_min: float = 50.0,
        f_max: float | None = None,
        htk: bool = False,
        norm: Literal["slaney"] | None = "slaney",
        mean_norm: bool = False,
        variance_norm: bool = False,
    ) -> None:
        super().__init__(
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            power=power,
            center=center,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
        )
        self.output_size = n_mels
        self.sample_rate = sample_rate
        self._filters = slaney_filters(
            n_mels=n_mels,
            fft_size=n_fft,
            sample_rate=sample_rate,
            f_min=f_min,
            f_max=f_max,
            htk=htk,
            equal_area=norm == "slaney",
        )
        self.register_buffer("filters", paddle.to_tensor(self._filters), persistable=False)

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        return super().frames_on_host(windows) @ self._filters

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        # The classes above are named in this method, as the tracing of an export does not see
        # through super().
        return paddle.matmul(Spectrogram.frames_on_device(self, windows), self.filters)


class LogMelSpectrogram(MelSpectrogram):
    """A :class:`MelSpectrogram` in decibels, ``10 log10(max(x, amin))``; ``n_mels`` values a frame.

    Nothing is cut off below the loudest value (librosa's and ``paddle.audio``'s ``top_db=None``).

    Args:
        n_mels: :class:`MelSpectrogram`'s, as are all but amin.
        amin: the least energy that is told from silence.

    Raises :class:`UsageError` for options that make no filter bank.
    """

    def __init__(
        self,
        *,
        n_mels: int = 80,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        win_length: int | None = None,
        window: WindowName = "hann",
        power: float = 2.0,
        center: bool = True,
        f_min: float = 50.0,
        f_max: float | None = None,
        htk: bool = False,
        norm: Literal["slaney"] | None = "slaney",
        amin: float = 1e-10,
        mean_norm: bool = False,
        variance_norm: bool = False,
    ) -> None:
        super().__init__(
            n_mels=n_mels,
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            power=power,
            center=center,
            f_min=f_min,
            f_max=f_max,
            htk=htk,
            norm=norm,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
        )
        if not amin > 0:
            raise UsageError(
                f"amin is {amin}; expected an energy above 0, the least that is told from silence"
            )
        self.amin = amin

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        energies = super().frames_on_host(windows)
        np.maximum(energies, np.float32(self.amin), out=energies)
        np.log(energies, out=energies)
        energies *= np.float32(_DECIBEL)
        return energies

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        energies = MelSpectrogram.frames_on_device(self, windows).clip(min=self.amin)
        return _DECIBEL * paddle.log(energies)


class MFCC(LogMelSpectrogram):
    """The first ``n_mfcc`` values of the orthonormal DCT-II of a :class:`LogMelSpectrogram`'s
    frame.

    Args:
        n_mfcc: at most ``n_mels``; the other arguments are :class:`LogMelSpectrogram`'s.

    Raises :class:`UsageError` for options that make no cepstra.
    """

    def __init__(
        self,
        *,
        n_mfcc: int = 40,
        n_mels: int = 80,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop_length: int = 160,
        win_length: int | None = None,
        window: WindowName = "hann",
        power: float = 2.0,
        center: bool = True,
        f_min: float = 50.0,
        f_max: float | None = None,
        htk: bool = False,
        norm: Literal["slaney"] | None = "slaney",
        amin: float = 1e-10,
        mean_norm: bool = False,
        variance_norm: bool = False,
    ) -> None:
        super().__init__(
            n_mels=n_mels,
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            power=power,
            center=center,
            f_min=f_min,
            f_max=f_max,
            htk=htk,
            norm=norm,
            amin=amin,
            mean_norm=mean_norm,
            variance_norm=variance_norm,
        )
        if not 1 <= n_mfcc <= n_mels:
            raise UsageError(f"{n_mfcc} cepstra of {n_mels} mels: 1 <= n_mfcc <= n_mels is needed")
        self.output_size = n_mfcc
        self._cosines = scipy.fft.dct(np.eye(n_mels), norm="ortho")[:, :n_mfcc].astype("float32")
        self.register_buffer("cosines", paddle.to_tensor(self._cosines), persistable=False)

    def frames_on_host(self, windows: np.ndarray) -> np.ndarray:
        return super().frames_on_host(windows) @ self._cosines

    def frames_on_device(self, windows: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(LogMelSpectrogram.frames_on_device(self, windows), self.cosines)
