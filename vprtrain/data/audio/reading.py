"""Reading audio files of any format, sample rate and channel count as mono float32 at one rate.

The decoder is chosen by a file's content, never by its name: libsndfile first, then FFmpeg.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from math import ceil, floor, gcd
from typing import TypeVar

import numpy as np
import soxr

from vprtrain.data.audio.damage import say_once
from vprtrain.data.audio.decoders import DECODERS
from vprtrain.data.audio.files import AudioFile, ByteRange, InMemory
from vprtrain.data.audio.track import LAST_SECOND, Channel, ChannelError, DecodeError, Track
from vprtrain.errors import SAMPLE_RATES, RunError, require_sample_rate
from vprtrain.files import StrPath

_Result = TypeVar("_Result")

MAX_SECONDS = 2 * 3600.0
"""The longest recording that is read whole (460 MB of float32 at 16 kHz)"""

# Samples of the lower rate around a part that is resampled; beyond them the filter's response is
# below 1e-6.
_MARGIN = 256
_RESAMPLED_TOGETHER = 1 << 15


class AudioError(RunError):
    """A recording cannot be used; the message names the file and the reason."""

    kind = "audio"


def read_audio(
    audio: AudioFile | Track,
    *,
    sample_rate: int = 16000,
    start: float = 0.0,
    duration: float | None = None,
    channel: Channel = 0,
) -> np.ndarray:
    """One channel of a recording, or the mix: float32 ``[samples]`` in [-1, 1] at ``sample_rate``.

    Samples beyond 1 are scaled down by their peak. Resampling is soxr's HQ; a part is resampled
    with its surroundings, so it equals the same part of the whole recording.

    Args:
        audio: an audio file, or an opened recording.
        sample_rate: Hz.
        start: seconds from the beginning.
        duration: seconds, fewer at the end of the recording; ``None`` reads to the end. If the
            format can seek, only this part is decoded.
        channel: from 0, or ``"mix"`` for the mean of all channels. By default one channel is read,
            because channels in antiphase cancel in the mean.

    Raises:
        AudioError: the file is missing or cannot be decoded; it does not have the channel; the part
            has no samples, or some that are not finite; or the recording is longer than
            :data:`MAX_SECONDS` and ``duration`` is ``None``.
        UsageError: ``sample_rate`` is not one.
    """
    require_sample_rate("sample_rate", sample_rate)
    if start < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"expected start >= 0, duration > 0, not {start=}, {duration=}")
    if channel != "mix" and channel < 0:
        raise ValueError(f'expected channel >= 0 or "mix", not {channel=}')

    def attempt(track: Track) -> np.ndarray:
        require_believable(track, channel)
        cut = _cut if track.rate == sample_rate else _cut_and_resample
        samples = cut(track, sample_rate, start, duration, channel)
        if not len(samples):
            raise DecodeError("no samples")
        if track.damage and not isinstance(audio, Track):
            say_once(audio, track.damage)
        return samples

    samples = first_decoded(audio, attempt)
    if duration is None and len(samples) > MAX_SECONDS * sample_rate:
        raise AudioError(
            f"{audio}: longer than {MAX_SECONDS:.0f} s; "
            "read a part of it (duration; --max_seconds of validate)"
        )
    peak = max(samples.max(), -samples.min())
    require_finite(audio, peak)  # max and min also find NaN
    return samples / peak if peak > 1 else samples


def require_finite(audio: object, samples: np.ndarray | float) -> None:
    """Refuse samples, or the peak of samples, that are not finite.

    Args:
        audio: the recording, for the message.

    Raises:
        AudioError: one of them is NaN or infinity.
    """
    if not np.isfinite(samples).all():
        raise AudioError(
            f"{audio}: some samples are not finite (NaN or infinity); convert the file again"
        )


def audio_duration(audio: AudioFile) -> float:
    """The duration of a recording in seconds.

    It comes from the header if the format counts the samples there (WAV, FLAC, MP4 and the like).
    Otherwise the recording's frames are counted, or it is decoded: a header of MP3, AAC or AMR
    only guesses. A damaged file may be shorter; :func:`examine_audio` decodes it to find out.

    Raises:
        AudioError: the file is missing or cannot be decoded.
    """

    def attempt(track: Track) -> float:
        require_believable(track, 0)
        samples = track.length()
        if samples > LAST_SECOND * track.rate:
            samples = track.count()
        if samples <= 0:
            raise DecodeError("no samples")
        return samples / track.rate

    return first_decoded(audio, attempt)


def fill(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The waveform, repeated from its beginning to ``samples`` if it is shorter."""
    return waveform if len(waveform) >= samples else np.resize(waveform, samples)


def first_decoded(audio: AudioFile | Track, attempt: Callable[[Track], _Result]) -> _Result:
    """What ``attempt`` returns with the first decoder that can read the file.

    Raises:
        AudioError: the file is missing, or no decoder can read it.
    """
    if isinstance(audio, Track):
        try:
            return attempt(audio)
        except DecodeError as error:
            raise AudioError(f"{audio}: {error}") from error
    require_content(audio)
    reasons = []
    for decoder in DECODERS:
        try:
            with decoder.open(audio) as track:
                return attempt(track)
        except ChannelError as error:
            raise AudioError(f"{audio}: {error}") from error
        except DecodeError as error:
            reasons.append(f"{decoder.name}: {error}")
    raise AudioError(f"{audio}: cannot be decoded as audio ({'; '.join(reasons)})")


def require_content(audio: AudioFile) -> None:
    """Refuse a file that is missing, is no regular file, or is empty.

    Raises:
        AudioError: it is refused.
    """
    size = len(audio.content) if isinstance(audio, InMemory) else _size_on_disk(audio)
    if size == 0:
        raise AudioError(f"{audio}: empty (0 bytes); expected an audio file")


def _size_on_disk(audio: StrPath | ByteRange) -> int:
    path = audio.path if isinstance(audio, ByteRange) else audio
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AudioError(f"{path}: {reason}; expected an audio file") from error
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would block
        raise AudioError(f"{path}: not a regular file; expected an audio file")
    return audio.size if isinstance(audio, ByteRange) else status.st_size


def require_believable(track: Track, channel: Channel) -> None:
    """Refuse absurd sample rates and a channel that the recording does not have.

    Raises:
        DecodeError: the track is refused.
    """
    if track.rate not in SAMPLE_RATES:
        raise DecodeError(f"a sample rate of {track.rate} Hz")
    if channel != "mix" and channel >= track.channels:
        has = "only channel 0" if track.channels == 1 else f"channels 0 to {track.channels - 1}"
        raise ChannelError(f"there is no channel {channel}; it has {has}")


def _cut(
    track: Track, sample_rate: int, start: float, duration: float | None, channel: Channel
) -> np.ndarray:
    count = None if duration is None else round(duration * sample_rate)
    return _joined(_limited(track, round(start * sample_rate), count, channel))


def _cut_and_resample(
    track: Track, sample_rate: int, start: float, duration: float | None, channel: Channel
) -> np.ndarray:
    """Resample block by block, so that memory depends on the result, not on the file's rate."""
    # Per second: the points in time where both rates have a sample.
    ticks = gcd(track.rate, sample_rate)
    margin = _MARGIN / min(track.rate, sample_rate)
    tick = floor(max(0.0, start - margin) * ticks)
    first = tick * (track.rate // ticks)
    count = None if duration is None else ceil((start + duration + margin) * track.rate) - first
    resampler = soxr.ResampleStream(track.rate, sample_rate, 1, dtype="float32", quality="HQ")
    blocks = _larger(_limited(track, first, count, channel))
    parts = [resampler.resample_chunk(samples) for samples in blocks]
    samples = _joined([*parts, resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)])
    skipped = round(start * sample_rate) - tick * (sample_rate // ticks)
    return (
        samples[skipped:]
        if duration is None
        else samples[skipped : skipped + round(duration * sample_rate)]
    )


def _limited(track: Track, first: int, count: int | None, channel: Channel) -> Iterator[np.ndarray]:
    """A track's blocks; a whole recording stops soon after :data:`MAX_SECONDS`."""
    missing = (MAX_SECONDS + 1) * track.rate
    for samples in track.blocks(first, count, channel):
        yield np.ascontiguousarray(samples)
        missing -= len(samples)
        if count is None and missing <= 0:
            return


def _larger(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same samples in fewer blocks: resampling many small ones takes twice the time."""
    collected: list[np.ndarray] = []
    size = 0
    for block in blocks:
        collected.append(block)
        size += len(block)
        if size >= _RESAMPLED_TOGETHER:
            yield _joined(collected)
            collected, size = [], 0
    yield _joined(collected)


def _joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    parts = list(blocks)
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.float32), *parts])
