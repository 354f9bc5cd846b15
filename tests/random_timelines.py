"""Random timelines for the scoring of diarization, from a seed, with the standard library only."""

from __future__ import annotations

import random
from typing import NamedTuple

TIMELINES = 200
Turn = tuple[float, float, str]
"""Start, end, speaker."""


class Case(NamedTuple):
    """One recording and how it is scored."""

    reference: list[Turn]
    hypothesis: list[Turn]
    scored: list[tuple[float, float]] | None
    collar: float
    """On each side of a boundary."""
    skip_overlap: bool


def random_case(seed: int) -> Case:
    """Up to seven speakers who overlap often; the hypothesis is a spoilt copy of the reference, or
    another timeline, or empty."""
    rng = random.Random(seed)
    reference = random_timeline(rng, "ABCDEFG"[: rng.randint(1, 7)])
    match rng.randrange(10):
        case 0:
            hypothesis: list[Turn] = []
        case 1 | 2 | 3:
            hypothesis = random_timeline(rng, "1234567"[: rng.randint(1, 7)])
        case _:
            hypothesis = _spoilt(rng, reference)
    scored = None
    if rng.random() < 0.4:
        times = sorted(rng.uniform(-5, 130) for _ in range(2 * rng.randint(1, 4)))
        scored = list(zip(times[::2], times[1::2], strict=True))
    collar = rng.choice((0, 0, 0.1, 0.25, 0.5))
    return Case(reference, hypothesis, scored, collar, rng.random() < 0.3)


def random_timeline(rng: random.Random, speakers: str) -> list[Turn]:
    """Turns of which those of the same speaker do not touch."""
    turns = []
    for speaker in speakers:
        now = rng.uniform(0, 20)
        for _ in range(rng.randint(1, 12)):
            end = now + rng.uniform(0.05, 8)
            turns.append((now, end, speaker))
            now = end + rng.uniform(0.01, 15)
    return turns


def _spoilt(rng: random.Random, turns: list[Turn]) -> list[Turn]:
    names = {name: rng.choice("1234567") for _, _, name in turns}
    moved: dict[str, list[Turn]] = {}
    for start, end, name in turns:
        if rng.random() < 0.1:
            continue
        start, end = start + rng.uniform(-0.3, 0.3), end + rng.uniform(-0.3, 0.3)
        name = rng.choice("1234567") if rng.random() < 0.15 else names[name]
        own = moved.setdefault(name, [])
        if end > start and all(end < other[0] or start > other[1] for other in own):
            own.append((start, end, name))
    return [turn for own in moved.values() for turn in own]
