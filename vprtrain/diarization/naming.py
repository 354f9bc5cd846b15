"""Names for the speakers of a recording: those of users, or numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count


def numbered_name(number: int) -> str:
    """What an unknown speaker is called: ``speaker_1``, ``speaker_2`` and so on."""
    return f"speaker_{number}"


def speaker_names(matches: Sequence[tuple[str | None, float]]) -> list[str]:
    """The name of each speaker: the user who was recognised, or a number.

    A user is one speaker at most, the one with the highest score. The others are ``speaker_1``,
    ``speaker_2`` and so on, without the names of users who were found.

    Args:
        matches: for each speaker the user, ``None`` if nobody was recognised, and the score.
    """
    found: dict[str, tuple[float, int]] = {}
    for speaker, (user, score) in enumerate(matches):
        if user is not None and score > found.get(user, (-math.inf, 0))[0]:
            found[user] = score, speaker
    users = {speaker: user for user, (_, speaker) in found.items()}
    numbered = (name for number in count(1) if (name := numbered_name(number)) not in found)
    return [
        users[speaker] if speaker in users else next(numbered) for speaker in range(len(matches))
    ]
