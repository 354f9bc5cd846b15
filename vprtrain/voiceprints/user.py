"""A user of the database: the form of the name, and the voiceprint of the recordings."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.scoring.cosine import unit_vectors

MAX_NAME = 256
"""The most characters of a user's name."""

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
    if not isinstance(name, str):
        raise UsageError(f"a user's name is a {type(name).__name__}, expected a text")
    composed = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(composed) <= MAX_NAME:
        raise UsageError(f"a user's name has {len(composed)} characters, expected 1 to {MAX_NAME}")
    if any(unicodedata.category(character) in _REFUSED for character in composed):
        raise UsageError(
            f"the user's name {shown(name)} has control characters or invalid Unicode: use another"
        )
    return composed
