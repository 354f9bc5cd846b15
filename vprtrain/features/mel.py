"""Triangular filters on the mel scale, by Kaldi's and by librosa's definition."""

from __future__ import annotations

import math

import numpy as np

from vprtrain.errors import UsageError, require_number, require_sample_rate, require_whole

MOST_MELS = 2048


def kaldi_filters(
    *, n_mels: int, fft_size: int, sample_rate: int, f_min: float, f_max: float | None
) -> np.ndarray:
    """Triangles in mel, ``1127 ln(1 + f / 700)``: float32 ``[fft_size // 2 + 1, n_mels]``; the last
    bin is unused.

    ``f_max=None`` is half the sample rate.

    Raises:
        UsageError: the options do not make a filter bank.
    """
    f_max = require_mels(n_mels, sample_rate, f_min, f_max)
    corners = np.linspace(_kaldi_mel(f_min), _kaldi_mel(f_max), n_mels + 2)
    bins = _kaldi_mel(np.arange(fft_size // 2) * sample_rate / fft_size)
    return np.pad(_triangles(bins, corners), ((0, 1), (0, 0))).astype("float32")


def slaney_filters(
    *,
    n_mels: int,
    fft_size: int,
    sample_rate: int,
    f_min: float,
    f_max: float | None,
    htk: bool,
    equal_area: bool,
) -> np.ndarray:
    """Triangles in Hz between corners equally spaced in mel: float32 ``[fft_size // 2 + 1,
    n_mels]``.

    The scale is Slaney's (linear to 1 kHz, logarithmic above), or with ``htk`` ``2595 log10(1 + f /
    700)``; the triangles are of height 1, or with ``equal_area`` of area 1. ``f_max=None`` is half
    the sample rate.

    Raises:
        UsageError: the options do not make a filter bank.
    """
    f_max = require_mels(n_mels, sample_rate, f_min, f_max)
    to_mel, to_hz = (_htk_mel, _htk_hz) if htk else (_slaney_mel, _slaney_hz)
    corners = to_hz(np.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2))
    weights = _triangles(np.fft.rfftfreq(fft_size, 1 / sample_rate), corners)
    if equal_area:
        weights *= 2 / (corners[2:] - corners[:-2])
    return weights.astype("float32")


def require_mels(n_mels: int, sample_rate: int, f_min: float, f_max: float | None) -> float:
    """Check the options of a filter bank.

    Returns:
        The upper end of the last filter, which is half the sample rate by default.

    Raises:
        UsageError: the options do not make a filter bank.
    """
    require_sample_rate("sample_rate", sample_rate)
    f_max = sample_rate / 2 if f_max is None else f_max
    require_number("f_min", f_min)
    require_number("f_max", f_max)
    require_whole("n_mels", n_mels, 1, MOST_MELS)
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise UsageError(
            f"{n_mels} mels from {f_min} to {f_max} Hz at {sample_rate} Hz make no filter bank: "
            "0 <= f_min < f_max <= sample_rate / 2 are needed"
        )
    return f_max


def _triangles(bins: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The height at each bin of the triangles from one corner over the next to the next but one:
    ``[bins, n]``."""
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = bins[:, np.newaxis]
    weights = np.maximum(
        0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    )
    empty = np.flatnonzero(weights.sum(axis=0) == 0)
    if len(empty):
        raise UsageError(
            f"{len(empty)} of {len(left)} mel filters fall between two frequency bins (the first "
            "is number "
            ""
            f"{empty[0]}): use fewer mels or longer frames"
        )
    return weights


def _kaldi_mel(hz: float | np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def _htk_mel(hz: float | np.ndarray) -> np.ndarray:
    return 2595.0 * np.log10(1 + np.asarray(hz) / 700.0)


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10 ** (mel / 2595.0) - 1)


# Slaney's Auditory Toolbox: 15 mels to 1 kHz, from there on 27 for each factor of 6.4.
_LINEAR_HZ, _LINEAR_MELS, _LOG_STEP = 1000.0, 15.0, math.log(6.4) / 27


def _slaney_mel(hz: float | np.ndarray) -> np.ndarray:
    ratio = np.asarray(hz) / _LINEAR_HZ
    return np.where(
        ratio < 1, _LINEAR_MELS * ratio, _LINEAR_MELS + np.log(np.maximum(ratio, 1)) / _LOG_STEP
    )


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    above = np.maximum(mel - _LINEAR_MELS, 0)
    return _LINEAR_HZ * np.where(above > 0, np.exp(_LOG_STEP * above), mel / _LINEAR_MELS)
