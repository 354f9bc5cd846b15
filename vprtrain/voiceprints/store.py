"""What a database of voiceprints stores, whichever database system holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np

CodeRow = tuple[int, object, object]
"""Id, name and code of a user, as the search in memory needs them. Name and code are unchecked: a
stranger may have written them. The name of a removed user is ``None``."""


class CodeBlock(NamedTuple):
    """Many users, as the search in memory needs them; names and codes are unchecked."""

    ids: Sequence[int] | np.ndarray
    names: Sequence[object]
    codes: bytes | Sequence[object]
    """The code of each user; or bytes, all of them in a row, of one length."""


class RecordingRow(NamedTuple):
    """A recording of a user, unchecked."""

    embedding: object
    enrolled_at: object
    """Text, UTC: ``2026-11-27T20:15:00Z``."""
    purpose: object
    """Text; empty when none was given."""


class Store(Protocol):
    """The rows of one database. :class:`vprtrain.voiceprints.Voiceprints` gives them their meaning.

    All methods but :meth:`transaction`, :meth:`scrub`, :meth:`compact` and :meth:`close` are called
    inside a transaction, by one thread at a time. Writing transactions of all processes run one
    after the other, so that changes are numbered in the order of their commits.
    """

    place: str
    """The file or URL for messages, without a password."""
    times_opened: int
    """After it grew, what was read before may be of another file or server."""

    def transaction(self, *, write: bool = False) -> AbstractContextManager[None]:
        """A transaction: of one state of the database, and all or nothing. At its end the change
        is on the disk. Errors of the database are raised as ``RunError``."""

    def model(self) -> object:
        """The digest of the model that the embeddings are from."""

    def newest_change(self) -> int:
        """The number of the newest change; 0 before the first."""

    def count(self) -> int:
        """The number of users, about."""

    def codes(self) -> Iterator[Sequence[CodeRow]]:
        """All users, in the order of their ids, in several sequences."""

    def code_blocks(self) -> Iterator[CodeBlock]:
        """What :meth:`codes` gives, in the form that the database system reads fastest."""

    def changed_codes(self, since: int) -> Iterator[Sequence[CodeRow]]:
        """The users who were changed or removed after a change, in several sequences."""

    def some_code(self) -> object:
        """The code of any user; ``None`` if there is none."""

    def find(self, name: str) -> int | None:
        """The id of a user, found by the database system."""

    def voiceprints(self, users: Sequence[int]) -> list[tuple[int, object, object]]:
        """Id, name and voiceprint of some users."""

    def recordings(self, user: int) -> list[RecordingRow]:
        """The recordings of a user, in the order of enrolment."""

    def counts(self) -> Iterator[tuple[object, object, object]]:
        """Name, number of recordings and time of the newest one of each user, sorted by name."""

    def insert(self, name: str, code: bytes, voiceprint: bytes) -> int:
        """Add a user without recordings, and give the id, which is higher than all before."""

    def replace(self, user: int, code: bytes, voiceprint: bytes) -> None:
        """Replace the voiceprint of a user."""

    def record(self, user: int, recordings: Sequence[RecordingRow]) -> None:
        """Add recordings of a user."""

    def erase(self, user: int) -> None:
        """Remove all that is stored of a user."""

    def note_change(self, user: int) -> None:
        """Number a change of a user."""

    def problems(self) -> list[str]:
        """What the database system itself finds to be damaged."""

    def scrub(self, name: str) -> None:
        """Finish a removal: nothing of an erased user remains where the system keeps its log."""

    def compact(self) -> None:
        """Give the space of erased users back."""

    def nearby(self, vector: np.ndarray, count: int) -> list[int] | None:
        """The ids that an approximate index finds nearest to a vector of length 1, or ``None`` if
        the codes of all users fit in memory, for an exact search."""

    def close(self) -> None:
        """Close the database."""
