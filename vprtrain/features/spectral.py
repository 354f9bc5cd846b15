"""Spectrograms on the linear and the mel scale and cepstra, as librosa and ``paddle.audio`` define
them.

These classes are dataclasses: their fields are the constructor's options. Each class adds its own
options and its own step to those of the class before.
"""

# No postponed annotations here: jsonargparse needs the types of a dataclass's fields themselves.
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import scipy.fft

from vprtrain.errors import (
    require_choice,
    require_flags,
    require_number,
    require_whole,
)
from vprtrain.features.extractor import MOST_FRAME_LENGTH, MOST_FRAME_SHIFT, FeatureExtractor
from vprtrain.features.mel import require_mels, slaney_filters
from vprtrain.features.steps import (
    LEAST_FLOAT32,
    MOST_FLOAT32,
    Log,
    Projection,
    Spectrum,
    Window,
)

WindowName: TypeAlias = Literal[
    "hann", "hamming", "blackman", "bohman", "cosine", "nuttall", "triang"
]

_DECIBEL = 10 / math.log(10)
_MOST_POWER = 100.0


@dataclass(kw_only=True, eq=False, repr=False)
class Spectrogram(FeatureExtractor):
    """Magnitudes of the short-time Fourier transform, to a power; ``n_fft // 2 + 1`` values a
    frame.

    Args:
        n_fft: samples of a frame, at least 2.
        hop_length: samples from the start of a frame to the start of the next.
        win_length: samples of the periodic window, which is centred in the frame; ``n_fft`` by
            default.
        window: the window's shape, by SciPy's name.
        power: the exponent of the magnitudes, 2 for powers.
        center: whether frame ``t`` is centred on sample ``t * hop_length``, with the utterance
            reflected at its ends (so it needs more than ``n_fft // 2`` samples).
        mean_norm: subtract every feature's mean over the utterance's frames.
        variance_norm: then divide by its standard deviation over these frames.
        level: the root mean square that every waveform is brought to first, in dB of full scale;
            by default none.

    Raises:
        UsageError: the options do not make a spectrogram.
    """

    n_fft: int = 512
    hop_length: int = 160
    win_length: int | None = None
    window: WindowName = "hann"
    power: float = 2.0
    center: bool = True
    mean_norm: bool = False
    variance_norm: bool = False
    level: float | None = None

    def __post_init__(self) -> None:
        require_whole("n_fft", self.n_fft, 2, MOST_FRAME_LENGTH)
        require_whole("hop_length", self.hop_length, 1, MOST_FRAME_SHIFT)
        length = self.n_fft if self.win_length is None else self.win_length
        require_whole("win_length", length, 1, self.n_fft)
        require_choice("window", self.window, get_args(WindowName))
        require_number("power", self.power, above=0, most=_MOST_POWER)
        require_flags(center=self.center)
        super().__init__(
            output_size=self.n_fft // 2 + 1,
            frame_length=self.n_fft,
            frame_shift=self.hop_length,
            centred=self.center,
            mean_norm=self.mean_norm,
            variance_norm=self.variance_norm,
            level=self.level,
        )
        # This import takes a second, most of it for scipy.stats, and not every run needs it.
        from scipy.signal import get_window

        before = (self.n_fft - length) // 2
        shape = get_window(self.window, length, fftbins=True)
        self.steps.append(Window(np.pad(shape, (before, self.n_fft - length - before))))
        self.steps.append(Spectrum(frame_length=self.n_fft, fft_size=self.n_fft, power=self.power))


@dataclass(kw_only=True, eq=False, repr=False)
class MelSpectrogram(Spectrogram):
    """A :class:`Spectrogram` summed by triangular filters; ``n_mels`` values a frame.

    Its options are those of :class:`Spectrogram`, and:

    Args:
        n_mels: the number of filters, equally spaced in mel.
        sample_rate: of the waveforms, in Hz.
        f_min: the lower end of the first filter, in Hz.
        f_max: the upper end of the last filter, in Hz; half the sample rate by default.
        htk: use ``2595 log10(1 + f / 700)`` as mel scale instead of Slaney's (linear up to 1 kHz).
        norm: "slaney" for filters of equal area, null for filters of equal height.

    Raises:
        UsageError: the options do not make a filter bank.
    """

    n_mels: int = 80
    sample_rate: int = 16000
    f_min: float = 50.0
    f_max: float | None = None
    htk: bool = False
    norm: Literal["slaney"] | None = "slaney"

    def __post_init__(self) -> None:
        require_mels(self.n_mels, self.sample_rate, self.f_min, self.f_max)
        require_flags(htk=self.htk)
        if self.norm is not None:
            require_choice("norm", self.norm, ("slaney",))
        super().__post_init__()
        self.output_size = self.n_mels
        filters = slaney_filters(
            n_mels=self.n_mels,
            fft_size=self.n_fft,
            sample_rate=self.sample_rate,
            f_min=self.f_min,
            f_max=self.f_max,
            htk=self.htk,
            equal_area=self.norm == "slaney",
        )
        self.steps.append(Projection(filters))


@dataclass(kw_only=True, eq=False, repr=False)
class LogMelSpectrogram(MelSpectrogram):
    """A :class:`MelSpectrogram` in decibels, ``10 log10(max(x, amin))``; ``n_mels`` values a frame.

    The range below the loudest value is not limited (``top_db=None`` of librosa and
    ``paddle.audio``). Its options are those of :class:`MelSpectrogram`, and:

    Args:
        amin: smaller energies are raised to it.

    Raises:
        UsageError: the options do not make a filter bank.
    """

    amin: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("amin", self.amin, least=LEAST_FLOAT32, most=MOST_FLOAT32)
        self.steps.append(Log(floor=self.amin, factor=_DECIBEL))


@dataclass(kw_only=True, eq=False, repr=False)
class MFCC(LogMelSpectrogram):
    """The first ``n_mfcc`` values of the orthonormal DCT-II of a :class:`LogMelSpectrogram`'s
    frame.

    Its options are those of :class:`LogMelSpectrogram`, and:

    Args:
        n_mfcc: the number of values of a frame, at most ``n_mels``.

    Raises:
        UsageError: the options do not make cepstra.
    """

    n_mfcc: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("n_mfcc", self.n_mfcc, 1, self.n_mels)
        self.output_size = self.n_mfcc
        cosines = scipy.fft.dct(np.eye(self.n_mels), norm="ortho")[:, : self.n_mfcc]
        self.steps.append(Projection(cosines))
