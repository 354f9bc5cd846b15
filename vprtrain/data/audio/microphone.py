"""Recording speech from a microphone; needs the optional extra ``[mic]``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from vprtrain.errors import RunError, UsageError, require_number, require_sample_rate
from vprtrain.files import replacing

_MOST_SECONDS = 24 * 3600.0

log = logging.getLogger(__name__)


def record(
    path: Path, *, seconds: float, sample_rate: int, microphone: str | int | None = None
) -> np.ndarray:
    """Record one channel into a new 16-bit WAV file.

    Args:
        path: the new file.
        seconds: the length of the recording.
        sample_rate: Hz.
        microphone: the number of a device, or a part of its name; ``None`` is the system's default.

    Returns:
        The samples, int16 ``[samples]``.

    Raises:
        UsageError: a value is out of its range, the file exists, its folder does not, or
            ``[mic]`` is not installed.
        RunError: the recording fails, or the file cannot be written.
    """
    require_sample_rate("sample_rate", sample_rate)
    require_number("seconds", seconds, above=0, most=_MOST_SECONDS)
    if path.exists():
        raise UsageError(f"{path} exists already: name another file")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a folder: make it, or name a file elsewhere")
    with _sounddevice() as device:
        log.info("recording %g s", seconds)
        samples = device.rec(
            round(seconds * sample_rate),
            samplerate=sample_rate,
            channels=1,
            dtype="int16",
            device=microphone,
        )
        device.wait()
    mono: np.ndarray = samples[:, 0]
    try:
        with replacing(path) as temporary:
            soundfile.write(
                os.fsencode(temporary), mono, sample_rate, format="WAV", subtype="PCM_16"
            )
    except (OSError, soundfile.SoundFileError) as error:
        raise RunError(
            f"{path} cannot be written ({error}): free space, or name a file elsewhere"
        ) from error
    return mono


def listen(
    *, sample_rate: int, microphone: str | int | None = None, block: float = 0.1
) -> Iterator[np.ndarray]:
    """Chunks of one channel, int16 ``[samples]``, as they are spoken, without an end.

    Args:
        sample_rate: Hz.
        microphone: the number of a device, or a part of its name; ``None`` is the system's default.
        block: seconds of a chunk.

    Raises:
        UsageError: ``sample_rate`` is not one, or ``[mic]`` is not installed.
        RunError: the microphone cannot be used.
    """
    require_sample_rate("sample_rate", sample_rate)
    with (
        _sounddevice() as device,
        device.InputStream(
            samplerate=sample_rate, channels=1, dtype="int16", device=microphone
        ) as stream,
    ):
        while True:
            samples, overflowed = stream.read(round(block * sample_rate))
            if overflowed:
                log.warning("samples were lost: the computer is too busy to keep up")
            yield samples[:, 0]


@contextmanager
def _sounddevice() -> Iterator[Any]:
    """The package, whose errors become ours.

    Raises:
        UsageError: it, or PortAudio, is not installed.
        RunError: recording fails.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise UsageError("recording needs sounddevice: pip install 'vprtrain[mic]'") from error
    except OSError as error:
        raise UsageError(
            f"recording needs PortAudio ({error}): install it (apt install libportaudio2)"
        ) from error
    try:
        yield sounddevice
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such device
        raise RunError(
            f"recording failed ({error}): check the microphone, or name another one"
        ) from error
