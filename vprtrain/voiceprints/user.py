"""A user of the database: the form of the name, and the voiceprint of the recordings."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.scoring.cosine import unit_vectors

MAX_NAME = 256
"""The most characters of a user's name."""

MAX_PURPOSE = 1000
"""The most characters of the purpose of a recording."""

# Control characters, surrogates, line separators, paragraph separators.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


def mean_voiceprint(embeddings: Sequence[np.ndarray], user: str) -> np.ndarray:
    """The mean of embeddings ``[dimension]``, each scaled to length 1, itself scaled to length 1:
    float32 ``[dimension]``.

    Args:
        user: the user's name, for error messages.

    Raises:
        ScoringError: an embedding or the mean is zero or not finite.
    """
    units = unit_vectors(
        np.stack(embeddings),
        [f"{user}, recording {number + 1}" for number in range(len(embeddings))],
    )
    (mean,) = unit_vectors(units.mean(axis=0, keepdims=True), [user])
    return mean.astype(np.float32)


def checked_name(name: str) -> str:
    """A user's name as it is stored: one line of text, in Unicode's composed form (NFC), without
    surrounding white space.

    Raises:
        UsageError: the name is empty, longer than :data:`MAX_NAME`, or has control
            characters, line separators or surrogates.
    """
    return _line("a user's name", name, 1, MAX_NAME)


def checked_purpose(purpose: str) -> str:
    """The purpose of a recording as it is stored: one line of text like a name, or none.

    Raises:
        UsageError: the purpose is longer than :data:`MAX_PURPOSE`, or has control characters, line
            separators or surrogates.
    """
    return _line("a purpose", purpose, 0, MAX_PURPOSE)


def _line(what: str, text: str, least: int, most: int) -> str:
    if not isinstance(text, str):
        raise UsageError(f"{what} is a {type(text).__name__}, expected a text")
    composed = unicodedata.normalize("NFC", text).strip()
    if not least <= len(composed) <= most:
        raise UsageError(f"{what} has {len(composed)} characters, expected {least} to {most}")
    if any(unicodedata.category(character) in _REFUSED for character in composed):
        raise UsageError(
            f"{what}, {shown(text)}, has control characters or invalid Unicode: use another"
        )
    return composed
