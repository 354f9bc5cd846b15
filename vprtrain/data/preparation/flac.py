"""Converting recordings to FLAC: 16 kHz, one channel, 16 bits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.preparation.decoding import decoding
from vprtrain.data.preparation.measuring import in_parallel
from vprtrain.files import replacing

SAMPLE_RATE = 16000


def write_flac(path: Path, waveform: np.ndarray) -> None:
    """Write float samples in [-1, 1] at 16 kHz. Samples of a 16-bit file are written unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    with replacing(path) as temporary:
        name = os.fsencode(temporary)  # soundfile refuses a str that is not UTF-8
        soundfile.write(name, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def converted_to_flac(
    jobs: Sequence[tuple[str, Path]], *, workers: int
) -> Iterator[Path | AudioError]:
    """Convert each ``(recording, FLAC file)``, and yield the file, or why it cannot be converted.

    A FLAC file that is no older than its recording is kept.
    """

    def convert(job: tuple[str, Path]) -> Path | AudioError:
        recording, target = job
        try:
            if not is_newer(target, recording):
                with decoding(recording):
                    waveform = read_audio(recording, sample_rate=SAMPLE_RATE)
                write_flac(target, waveform)
        except AudioError as error:
            return error
        return target

    return in_parallel(convert, jobs, workers=workers, what="converting", unit="file")


def is_newer(made: Path, *sources: str) -> bool:
    """Whether a file exists and is no older than its sources, which must all exist."""
    try:
        modified = made.stat().st_mtime_ns
        return all(os.stat(source).st_mtime_ns <= modified for source in sources)
    except FileNotFoundError:
        return False
