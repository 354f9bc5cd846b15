"""The tokens that clients prove themselves with."""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
from pathlib import Path

from vprtrain.errors import UsageError

LEAST_CHARACTERS = 16
"""Of a token"""

log = logging.getLogger(__name__)


class Tokens:
    """Tokens and their labels. Only digests of the tokens are kept.

    Args:
        labels: the label of each token.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = {_digest(token): label for token, label in labels.items()}

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """The tokens of a file with a line for each: ``TOKEN``, or ``LABEL TOKEN``.

        Empty lines and lines that begin with ``#`` are ignored. A token without a label is called
        by the number of its line.

        Raises:
            UsageError: the file cannot be read, has no token, or one that is too short.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                log.warning("%s can be read by other users of this machine: chmod 600", path)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: the tokens cannot be read ({error})") from error
        labels = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) > 2 or len(words[-1]) < LEAST_CHARACTERS:
                raise UsageError(
                    f"{path}, line {number}: expected TOKEN or LABEL TOKEN, and at least "
                    f"{LEAST_CHARACTERS} characters of a token (openssl rand -hex 16)"
                )
            labels[words[-1]] = words[0] if len(words) == 2 else f"line {number}"
        if not labels:
            raise UsageError(f"{path} holds no token: put one on a line (openssl rand -hex 16)")
        return cls(labels)

    def label(self, token: str) -> str | None:
        """The label of a token, or ``None`` if it is not one.

        The time does not depend on how much of a token is right: digests are compared, each with
        every token's, in constant time.
        """
        given, found = _digest(token), None
        for digest, label in self._labels.items():
            if hmac.compare_digest(digest, given):
                found = label
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
