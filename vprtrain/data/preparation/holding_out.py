"""Speakers kept away from the training, to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from vprtrain.checkpoint.files import write_atomic
from vprtrain.data.preparation.measuring import MeasuredUtterance
from vprtrain.data.preparation.preparation import Preparation
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.errors import UsageError

TRIALS = "trials.txt"

_UTTERANCES = 20  # at most of each speaker: 50 speakers make half a million trials


def hold_out(preparation: Preparation, rows: Sequence[MeasuredUtterance], count: int) -> list[MeasuredUtterance]:
    """Write ``eval.tsv`` and ``trials.txt`` of ``count`` speakers, and give the utterances of the others.

    The speakers, and of each at most 20 utterances, are drawn at random, but always the same; the trials are all their
    pairs. Raises :class:`UsageError` where two speakers would not remain on either side.
    """
    by_speaker: dict[str, list[MeasuredUtterance]] = {}
    for row in rows:
        by_speaker.setdefault(row.speaker, []).append(row)
    if not 2 <= count <= len(by_speaker) - 2:
        raise UsageError(f"held_out is {count}; expected 2 or more, and 2 less than the {len(by_speaker)} speakers")
    held = sorted(keyed_rng(0, Purpose.ORDER).permutation(sorted(by_speaker))[:count])
    chosen = []
    for number, speaker in enumerate(held):
        own = by_speaker.pop(speaker)
        drawn = sorted(keyed_rng(0, Purpose.ORDER, number).permutation(len(own))[:_UTTERANCES])
        chosen += [(f"{number:05d}-{place:05d}", own[place]) for place in drawn]
    preparation.write_evaluation([(key, row.path) for key, row in chosen])
    lines = [
        f"{first} {second} {int(one.speaker == other.speaker)}\n"
        for (first, one), (second, other) in combinations(chosen, 2)
    ]
    write_atomic(preparation.out / TRIALS, "".join(lines).encode())
    preparation.summary.count(f"speakers in {TRIALS}", count)
    preparation.summary.count("trials", len(lines))
    return [row for row in rows if row.speaker in by_speaker]
