"""Reading recordings: any format, sample rate and number of channels becomes mono float32 at one rate.

The content decides how a file is decoded, never its name: libsndfile first, FFmpeg for what it cannot read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import soxr

from vprtrain.data.decoders import DECODERS, Block, DecodeError, Decoder
from vprtrain.errors import RunError

StrPath = str | os.PathLike[str]
_Result = TypeVar("_Result")

MAX_SECONDS = 2 * 3600.0
"""The longest recording that is read whole (460 MB of float32 at 16 kHz); longer ones are read in parts."""

_BELIEVABLE_SECONDS = 24 * 3600.0  # a header that promises more is not believed
_SAMPLE_RATES = range(1_000, 768_001)


class AudioError(RunError):
    """A recording cannot be used; the message names the file and the reason."""


def read_audio(
    path: StrPath, *, sample_rate: int = 16000, start: float = 0.0, duration: float | None = None
) -> np.ndarray:
    """The first channel of a recording, float32 ``[samples]`` in [-1, 1] at ``sample_rate``.

    ``start`` and ``duration`` (seconds) cut out a part, which is shorter where the recording ends; only that
    part is decoded where the format can seek. The first channel is taken and not the mean, in which channels
    in antiphase would cancel. A recording that goes beyond 1 is scaled down by its peak. Resampling is soxr's
    HQ.

    Raises :class:`AudioError` where the file is missing or cannot be decoded, has no samples (in that part)
    or some that are not finite, or lasts more than :data:`MAX_SECONDS` and no duration was asked for.
    """
    if start < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"expected start >= 0 and duration > 0, not {start=} and {duration=}")

    def attempt(decoder: Decoder) -> np.ndarray:
        blocks = decoder.blocks(os.fspath(path), start, duration)
        return _assemble(path, blocks, sample_rate, duration or MAX_SECONDS)

    samples = _first_decoded(path, attempt)
    if duration is not None:
        samples = samples[: round(duration * sample_rate)]
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: some samples are not finite numbers (NaN or infinity); convert the file anew")
    peak = max(samples.max(), -samples.min())
    return samples / peak if peak > 1 else samples


def audio_duration(path: StrPath) -> float:
    """Seconds of a recording as its header says; by decoding where it says nothing, zero, or more than a day.

    A torn file may hold less than that. Raises :class:`AudioError` where the file is missing or cannot be
    decoded.
    """

    def attempt(decoder: Decoder) -> float:
        seconds = decoder.header_seconds(os.fspath(path))
        if seconds is None or not 0 < seconds <= _BELIEVABLE_SECONDS:
            seconds = sum(len(block.samples) / block.rate for block in decoder.blocks(os.fspath(path)))
        if seconds == 0:
            raise DecodeError("no samples")
        return seconds

    return _first_decoded(path, attempt)


def _first_decoded(path: StrPath, attempt: Callable[[Decoder], _Result]) -> _Result:
    _require_content(path)
    reasons = []
    for decoder in DECODERS:
        try:
            return attempt(decoder)
        except DecodeError as error:
            reasons.append(f"{decoder.name}: {error}")
    raise AudioError(f"{path}: cannot be decoded as audio ({'; '.join(reasons)})")


def _require_content(path: StrPath) -> None:
    if not os.path.exists(path):
        raise AudioError(f"{path}: no such file (or a link to nothing); expected an audio file")
    if not os.path.isfile(path):  # opening a named pipe would wait for ever
        raise AudioError(f"{path}: not a regular file; expected an audio file")
    if os.path.getsize(path) == 0:
        raise AudioError(f"{path}: empty (0 bytes); expected an audio file")


def _assemble(path: StrPath, blocks: Iterable[Block], sample_rate: int, limit: float) -> np.ndarray:
    """Join blocks, resampled one by one: memory grows with the result, not with the source's rate."""
    parts: list[np.ndarray] = []
    resampler: soxr.ResampleStream | None = None
    seconds = 0.0
    for rate, samples in blocks:
        if rate not in _SAMPLE_RATES:
            raise DecodeError(f"a sample rate of {rate} Hz")
        if resampler is None and rate != sample_rate:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        seconds += len(samples) / rate
        if seconds > limit + 1:
            raise AudioError(f"{path}: longer than {limit:.0f} s; read it in parts (start, duration)")
        parts.append(samples if resampler is None else resampler.resample_chunk(samples))
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    if not sum(map(len, parts)):
        raise DecodeError("no samples")
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)
