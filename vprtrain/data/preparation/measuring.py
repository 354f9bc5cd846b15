"""How long recordings are and whether they can be used: measured by threads, and remembered for the
next run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio
from vprtrain.data.loader import load_in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

_LIE = 0.1  # seconds that a recording may be shorter or longer than its header says
_PART = 600  # seconds that are decoded at once
_OVERLAP = 1  # seconds: so much beyond it, so that a recording which goes on is told from one that ends there
# in a manifest; the last are bytes that are no UTF-8
_UNWRITABLE = re.compile("[\t\n\r\ud800-\udfff]")


class MeasuredUtterance(NamedTuple):
    """A line of a manifest."""

    path: str
    speaker: str
    seconds: float


class Measurement(NamedTuple):
    """What was found of a file in a certain state."""

    size: int
    modified: int
    """In nanoseconds, as the file system says"""
    decoded: bool
    """The whole file was decoded, not only its header read."""
    seconds: float


class Measurer:
    """Measures recordings; what it has measured stays in a file, also when it is killed.

    Args:
        memory: this file. A recording of the same path, size and time of change is not measured
            again.
        workers: threads.
    """

    def __init__(self, *, memory: Path, workers: int) -> None:
        self.workers = workers
        self._memory = memory
        self._known = dict(_remembered(memory))

    def measure(
        self, paths: Sequence[str], what: str, *, decode: bool = False
    ) -> Iterator[float | AudioError]:
        """Every recording's seconds by its header, or why it cannot be used. ``decode`` reads all
        of it, too."""

        def look(path: str) -> tuple[bool, Measurement | AudioError]:
            if _UNWRITABLE.search(path):
                return False, AudioError(
                    f"{path!a}: a tab, a line break or no UTF-8 in the name; rename the file"
                )
            try:
                status = os.stat(path)
            except OSError as error:
                return False, AudioError(f"{path}: {error.strerror}; expected an audio file")
            known = self._known.get(path)
            if (
                known is not None
                and known[:2] == (status.st_size, status.st_mtime_ns)
                and known.decoded >= decode
            ):
                return False, known
            try:
                seconds = decoded_duration(path) if decode else audio_duration(path)
            except AudioError as error:
                return False, error
            return True, Measurement(status.st_size, status.st_mtime_ns, decode, seconds)

        with open(self._memory, "a", encoding="utf-8") as file:
            measured = in_parallel(look, paths, workers=self.workers, what=what, unit="file")
            for path, (is_new, found) in zip(paths, measured, strict=True):
                if isinstance(found, AudioError):
                    yield found
                    continue
                if is_new:
                    self._known[path] = found
                    file.write(
                        f"{path}\t{found.size}\t{found.modified}\t{found.decoded:d}\t{found.seconds!r}\n"
                    )
                yield found.seconds


def decoded_duration(path: str) -> float:
    """A recording's seconds by its header, after decoding all of it, part by part.

    Raises :class:`AudioError` where that fails, what comes out is silent, or it is longer or
    shorter.
    """
    seconds = audio_duration(path)
    lowest, highest, decoded = math.inf, -math.inf, 0.0
    for start in range(0, math.ceil(seconds), _PART):
        waveform = read_audio(path, start=start, duration=_PART + _OVERLAP)
        lowest, highest = min(lowest, waveform.min()), max(highest, waveform.max())
        decoded = start + len(waveform) / 16000
        if decoded < start + _PART + _OVERLAP:
            break
    if lowest == highest:
        raise AudioError(f"{path}: silent")
    if abs(decoded - seconds) > _LIE:
        raise AudioError(f"{path}: {decoded:.2f} s can be decoded; the header says {seconds:.2f} s")
    return seconds


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, what: str, unit: str
) -> Iterator[Result]:
    """``function`` of every item, by threads, in order, with a progress bar."""
    results = load_in_order(function, items, workers=workers, prefetch=64 * workers)
    yield from tqdm(results, total=len(items), desc=what, unit=unit)


def _remembered(memory: Path) -> Iterator[tuple[str, Measurement]]:
    if not memory.exists():
        return
    with open(memory, encoding="utf-8", errors="replace") as file:
        for line in file:  # one torn when its writer was killed is measured again
            try:
                path, size, modified, decoded, seconds = line.split("\t")
                known = Measurement(int(size), int(modified), decoded == "1", float(seconds))
            except ValueError:
                continue
            if line.endswith("\n"):  # else the number may lack digits
                yield path, known
