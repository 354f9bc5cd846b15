"""Measuring recordings: their duration, and whether they can be used. The results are kept for the
next run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from vprtrain.data.audio.damage import say_once
from vprtrain.data.audio.examination import examine_audio
from vprtrain.data.audio.reading import AudioError, audio_duration
from vprtrain.data.loader import load_in_order
from vprtrain.data.preparation.decoding import decoding
from vprtrain.data.preparation.measurements import Measurement, read_measurements

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TOLERANCE = 0.1  # seconds by which a recording may be shorter than its header says
# Characters that a manifest cannot hold; surrogates stand for bytes that are not UTF-8.
_UNWRITABLE = re.compile("[\t\n\r\ud800-\udfff]")


class MeasuredUtterance(NamedTuple):
    """A line of a training manifest, with its duration."""

    path: str
    speaker: str
    seconds: float


class Measurer:
    """Measures recordings, and keeps the measurements in a file, even if it is killed.

    Args:
        memory: this file. A recording with the same path, size and time of modification is not
            measured again.
        workers: threads.

    Raises:
        UsageError: ``memory`` is not a regular file, is too large or cannot be read.
    """

    def __init__(self, *, memory: Path, workers: int) -> None:
        self.workers = workers
        self._memory = memory
        self._known = dict(read_measurements(memory))

    def measure(
        self, paths: Sequence[str], what: str, *, decode: bool = False
    ) -> Iterator[float | AudioError]:
        """The duration of every recording in seconds, or why it cannot be used.

        Args:
            paths: the recordings.
            what: the title of the progress bar.
            decode: decode the whole recording, not only its header.
        """

        def look(path: str) -> tuple[bool, Measurement | AudioError]:
            if _UNWRITABLE.search(path):
                return False, AudioError(
                    f"{path!a}: the name has a tab, a line break or bytes that are not UTF-8; "
                    "rename the file"
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
                with decoding(path):
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
                    file.write(found.line(path))
                yield found.seconds


def decoded_duration(path: str) -> float:
    """The duration of a recording in seconds, by decoding all of it.

    Single packets that cannot be decoded are logged; the duration is that of the rest.

    Raises:
        AudioError: the recording cannot be decoded, is silent, or is shorter than its header says.
    """
    found = examine_audio(path)
    if found.lowest == found.highest:
        raise AudioError(f"{path}: silent")
    if found.damage.missing > _TOLERANCE:
        announced = found.seconds + found.damage.missing
        raise AudioError(
            f"{path}: {found.seconds:.2f} s can be decoded; the header says {announced:.2f} s"
        )
    if found.damage:
        say_once(path, found.damage)
    return found.seconds


def in_parallel(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    workers: int,
    what: str,
    unit: str,
) -> Iterator[_Result]:
    """``function(item)`` for every item, computed by threads, in order, with a progress bar on
    a terminal."""
    results = load_in_order(function, items, workers=workers, prefetch=64 * workers)
    yield from tqdm(results, total=len(items), desc=what, unit=unit, disable=None)
