"""Speakers kept away from the training, to validate on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vprtrain.data.preparation.measuring import MeasuredUtterance
from vprtrain.data.preparation.preparation import EVAL_MANIFEST, Preparation
from vprtrain.data.sampler import Purpose, keyed_rng
from vprtrain.errors import UsageError
from vprtrain.files import replacing

TRIALS = "trials.txt"

_UTTERANCES = 20  # at most of each speaker: 50 speakers make half a million trials
_NONTARGETS = 1_000_000  # about so many are drawn where there are more, from 72 speakers on


def hold_out(
    preparation: Preparation, rows: Sequence[MeasuredUtterance], count: int
) -> list[MeasuredUtterance]:
    """Write ``eval.tsv`` and ``trials.txt`` of ``count`` speakers, and give the utterances of the
    others.

    The speakers, and of each at most 20 utterances, are drawn at random, but always the same. The
    trials are all their pairs; of those of two speakers about a million, drawn likewise, where
    there are more. Raises :class:`UsageError` where two speakers would not remain on either side.
    """
    by_speaker: dict[str, list[MeasuredUtterance]] = {}
    for row in rows:
        by_speaker.setdefault(row.speaker, []).append(row)
    if not 2 <= count <= len(by_speaker) - 2:
        raise UsageError(
            f"held_out is {count}; expected 2 or more, and 2 less than the {len(by_speaker)} speakers"
        )
    held = sorted(keyed_rng(0, Purpose.ORDER).permutation(sorted(by_speaker))[:count])
    chosen: list[tuple[str, MeasuredUtterance]] = []
    for number, speaker in enumerate(held):
        own = by_speaker.pop(speaker)
        drawn = sorted(keyed_rng(0, Purpose.ORDER, number).permutation(len(own))[:_UTTERANCES])
        chosen += [(f"{number:05d}-{place:05d}", own[place]) for place in drawn]
    preparation.write_evaluation([(key, row.path) for key, row in chosen])
    counts = Counter(row.speaker for _, row in chosen)
    trials = _write_trials(
        preparation.out / TRIALS, [key for key, _ in chosen], list(counts.values())
    )
    preparation.summary.count(f"speakers in {TRIALS}", count)
    preparation.summary.count("trials", trials)
    return [row for row in rows if row.speaker in by_speaker]


def refuse_former_trials(out: Path) -> None:
    """Raise :class:`UsageError` where a former run held speakers out: trained on now, their trials
    would flatter."""
    if found := [name for name in (EVAL_MANIFEST, TRIALS) if (out / name).exists()]:
        raise UsageError(
            f"{out}: holds {' and '.join(found)} of speakers who would now be trained on; expected --held_out as "
            "before, another --out_dir, or that you delete what was found"
        )


def _write_trials(path: Path, keys: Sequence[str], counts: Sequence[int]) -> int:
    """Write the trials of utterances that lie speaker by speaker, so many of each, and give their
    number."""
    pairs = (len(keys) ** 2 - sum(count**2 for count in counts)) // 2
    share = _NONTARGETS / max(pairs, _NONTARGETS)
    rng = keyed_rng(0, Purpose.ORDER, len(counts))
    ends = np.repeat(np.cumsum(counts), counts)
    trials = 0
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for place, (key, end) in enumerate(zip(keys, ends, strict=True)):
            others = end + np.flatnonzero(rng.random(len(keys) - end) < share)
            file.writelines(f"{key} {other} 1\n" for other in keys[place + 1 : end])
            file.writelines(f"{key} {keys[other]} 0\n" for other in others)
            trials += end - place - 1 + len(others)
    return int(trials)
