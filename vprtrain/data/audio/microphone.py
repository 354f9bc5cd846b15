"""Recording speech from a microphone, through the optional extra ``[mic]``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import soundfile

from vprtrain.errors import RunError, UsageError
from vprtrain.files import replacing

log = logging.getLogger(__name__)


def record(
    path: Path, *, seconds: float, sample_rate: int, microphone: str | int | None = None
) -> np.ndarray:
    """Record one channel into a new WAV file of 16 bits, and return the samples, int16
    ``[samples]``.

    Args:
        microphone: the number of a device, or a part of its name; ``None`` is the system's default.

    Raises:
        UsageError: the file is there already, its folder is not, or ``[mic]`` is not installed.
        RunError: nothing can be recorded, or the file not be written.
    """
    if path.exists():
        raise UsageError(f"{path} is there already: name another file")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder: make it, or name a file elsewhere")
    try:
        import sounddevice
    except ImportError as error:
        raise UsageError("recording needs sounddevice: pip install 'vprtrain[mic]'") from error
    except OSError as error:
        raise UsageError(
            f"recording needs PortAudio ({error}): install it, as apt install libportaudio2 does"
        ) from error
    log.info("recording %g s", seconds)
    try:
        samples = sounddevice.rec(
            round(seconds * sample_rate),
            samplerate=sample_rate,
            channels=1,
            dtype="int16",
            device=microphone,
        )
        sounddevice.wait()
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such device
        raise RunError(
            f"nothing could be recorded ({error}): look at the microphone, or name another"
        ) from error
    mono: np.ndarray = samples[:, 0]
    try:
        with replacing(path) as temporary:
            soundfile.write(temporary, mono, sample_rate, format="WAV", subtype="PCM_16")
    except (OSError, soundfile.SoundFileError) as error:
        raise RunError(
            f"{path} could not be written ({error}): make room, or name a file elsewhere"
        ) from error
    return mono
