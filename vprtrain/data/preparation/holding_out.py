"""Holding speakers out of the training data, to validate on them."""

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

_UTTERANCES = 20  # of each speaker, at most: 50 speakers make half a million trials
_NONTARGETS = 1_000_000  # about this many are drawn if there are more, from 72 speakers on


def hold_out(
    preparation: Preparation, rows: Sequence[MeasuredUtterance], count: int
) -> list[MeasuredUtterance]:
    """Write ``eval.tsv`` and ``trials.txt`` for ``count`` speakers.

    An id is ``speaker/recording``, with ``_`` for blanks, which separate the columns of a trial
    list. The speakers, and at most 20 utterances of each, are drawn with a fixed seed. The trials
    are all pairs of their utterances; if there are more than a million non-target trials, about a
    million of them are drawn.

    Returns:
        The utterances of the other speakers.

    Raises:
        UsageError: fewer than two speakers would be held out, or would remain.
    """
    by_speaker: dict[str, list[MeasuredUtterance]] = {}
    for row in rows:
        by_speaker.setdefault(row.speaker, []).append(row)
    if not 2 <= count <= len(by_speaker) - 2:
        raise UsageError(
            f"held_out is {count}; expected 2 or more, and at least 2 less than the "
            f"{len(by_speaker)} speakers"
        )
    held = sorted(keyed_rng(0, Purpose.ORDER).permutation(sorted(by_speaker))[:count])
    chosen: list[MeasuredUtterance] = []
    for number, speaker in enumerate(held):
        own = by_speaker.pop(speaker)
        drawn = sorted(keyed_rng(0, Purpose.ORDER, number).permutation(len(own))[:_UTTERANCES])
        chosen += [own[place] for place in drawn]
    keys = _ids(chosen)
    preparation.write_evaluation([(key, row.path) for key, row in zip(keys, chosen, strict=True)])
    counts = Counter(row.speaker for row in chosen)
    trials = _write_trials(preparation.out / TRIALS, keys, list(counts.values()))
    preparation.summary.count(f"speakers in {TRIALS}", count)
    preparation.summary.count("trials", trials)
    return [row for row in rows if row.speaker in by_speaker]


def _ids(rows: Sequence[MeasuredUtterance]) -> list[str]:
    """A name of its own for every utterance, without blanks."""
    names: dict[str, None] = {}
    for row in rows:
        *folders, file = Path(row.path).parts
        below = folders[::-1].index(row.speaker) if row.speaker in folders else 0
        inside = folders[len(folders) - below :]
        name = alone = "_".join("/".join([row.speaker, *inside, file]).split())
        number = 1
        while name in names:
            number += 1
            name = f"{alone}~{number}"
        names[name] = None
    return list(names)


def refuse_former_trials(out: Path) -> None:
    """Raise :class:`UsageError` if an earlier run held speakers out: trials of speakers who are
    now in the training data would give too good results."""
    if found := [name for name in (EVAL_MANIFEST, TRIALS) if (out / name).exists()]:
        raise UsageError(
            f"{out}: has {' and '.join(found)} of speakers who would now be in the training data; "
            "give --held_out as before, give another --out_dir, or delete these files"
        )


def _write_trials(path: Path, keys: Sequence[str], counts: Sequence[int]) -> int:
    """Write the trials, and return their number.

    Args:
        path: the new file.
        keys: the ids of the utterances, speaker by speaker.
        counts: the number of utterances of each speaker.
    """
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
