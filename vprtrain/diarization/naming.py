"""Names for the speakers of a recording: those of users, or numbers."""

from __future__ import annotations

from itertools import count

import numpy as np

from vprtrain.voiceprints.database import Voiceprints


def speaker_names(
    voices: np.ndarray, voiceprints: Voiceprints | None, threshold: float
) -> list[str]:
    """The name of each speaker: the user whose voiceprint is the nearest, or a number.

    A user is one speaker at most, the one with the highest score. The others are ``speaker_1``,
    ``speaker_2`` and so on, without the names of users who were found.

    Args:
        voices: the mean embedding of each speaker ``[speakers, dimension]``.
        voiceprints: the users; with ``None`` every speaker gets a number.
        threshold: a user is recognised at this cosine or above.
    """
    found: dict[str, tuple[float, int]] = {}
    for speaker, voice in enumerate(voices):
        if voiceprints is None:
            break
        user, score = voiceprints.nearest(voice, threshold=threshold)
        if user is not None and score > found.get(user, (-1.0, 0))[0]:
            found[user] = score, speaker
    users = {speaker: user for user, (_, speaker) in found.items()}
    numbered = (name for number in count(1) if (name := f"speaker_{number}") not in found)
    return [
        users[speaker] if speaker in users else next(numbered) for speaker in range(len(voices))
    ]
