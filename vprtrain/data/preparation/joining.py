"""Joining short utterances, as WeSpeaker does for CN-Celeb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError, audio_duration, read_audio
from vprtrain.data.preparation.decoding import decoding
from vprtrain.data.preparation.flac import SAMPLE_RATE, is_newer, write_flac
from vprtrain.data.preparation.measuring import MeasuredUtterance, in_parallel

_CLOSE = 1e-5  # seconds: durations that differ by less are equal
_SAME = 0.01  # seconds by which a joined file may differ from the sum of its parts


class Joined(NamedTuple):
    """The result of joining some utterances."""

    utterance: MeasuredUtterance | None
    """``None`` if none of them could be read"""
    bad: list[tuple[str, AudioError]]
    """The (path, reason) of each that could not be read; the others were joined without it"""


def join_short(
    rows: Sequence[MeasuredUtterance],
    seconds: float,
    group: Callable[[str], str],
    folder: Path,
    workers: int,
) -> Iterator[Joined]:
    """The utterances; those shorter than ``seconds`` are joined with neighbours of the same speaker
    and the same ``group(path)``.

    Joined utterances follow each other without gaps in
    ``folder/<speaker>/<first name>-comb<number of parts>.flac``. A file that is no older than its
    parts is kept.
    """
    chosen: list[list[MeasuredUtterance]] = []
    for _, neighbours in groupby(rows, key=lambda row: (row.speaker, group(row.path))):
        parts = list(neighbours)
        chosen += [
            parts[place.start : place.stop]
            for place in choose([part.seconds for part in parts], seconds)
        ]

    def join(parts: list[MeasuredUtterance]) -> Joined:
        return Joined(parts[0], []) if len(parts) == 1 else _joined(parts, folder)

    return in_parallel(join, chosen, workers=workers, what="joining", unit="utt")


def choose(seconds: Sequence[float], least: float) -> list[range]:
    """Which neighbours to join, so that each group lasts at least ``least`` seconds.

    The rule is that of Kaldi's ``choose_utts_to_combine.py``: from the last group to the first, one
    that is too short is joined with the neighbour that makes it long enough; with the shorter one
    if both do, and with the right one if neither does. A single group may remain too short.

    Args:
        seconds: the durations of consecutive utterances.
        least: the shortest duration of a group.

    Returns:
        The groups in order, as ranges of indices.
    """
    groups = [range(place, place + 1) for place in range(len(seconds))]
    lengths = list(seconds)
    place = len(groups) - 1
    while place >= 0 and len(groups) > 1:
        if lengths[place] >= least - _CLOSE:
            place -= 1
            continue
        is_last = place + 1 == len(groups)
        if place > 0 and (
            is_last
            or _left_is_better(lengths[place - 1], lengths[place], lengths[place + 1], least)
        ):
            place -= 1
        groups[place : place + 2] = [range(groups[place].start, groups[place + 1].stop)]
        lengths[place : place + 2] = [lengths[place] + lengths[place + 1]]
    return groups


def _left_is_better(left: float, this: float, right: float, least: float) -> bool:
    if left + this < least - _CLOSE:
        return False
    return right + this < least - _CLOSE or left < right - _CLOSE


def _duration(target: Path) -> float:
    """The duration of a joined file of an earlier run; 0 if it is damaged, so that it is made
    again."""
    try:
        return audio_duration(target)
    except AudioError:
        return 0.0


def _joined(parts: list[MeasuredUtterance], folder: Path) -> Joined:
    first = parts[0]
    target = folder / first.speaker / f"{Path(first.path).stem}-comb{len(parts)}.flac"
    if is_newer(target, *(part.path for part in parts)):
        seconds = _duration(target)
        if abs(seconds - sum(part.seconds for part in parts)) < _SAME:
            return Joined(MeasuredUtterance(str(target), first.speaker, seconds), [])
    waveforms, bad = [], []
    for part in parts:
        try:
            with decoding(part.path):
                waveforms.append(read_audio(part.path, sample_rate=SAMPLE_RATE))
        except AudioError as error:
            bad.append((part.path, error))
    if not waveforms:
        return Joined(None, bad)
    waveform = np.concatenate(waveforms)
    write_flac(target, waveform)
    return Joined(MeasuredUtterance(str(target), first.speaker, len(waveform) / SAMPLE_RATE), bad)
