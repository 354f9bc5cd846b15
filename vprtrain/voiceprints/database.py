"""The database of voiceprints: an SQLite file that several processes may use at once, or a
PostgreSQL database that several servers share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.errors import UsageError, shown
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.voiceprints.codes import dimension_of, encode
from vprtrain.voiceprints.copying import copy_users
from vprtrain.voiceprints.postgres_url import is_postgres_url, shown_url
from vprtrain.voiceprints.rows import name_of, vector_of
from vprtrain.voiceprints.search import Neighbour, Search
from vprtrain.voiceprints.sqlite_store import SqliteStore
from vprtrain.voiceprints.store import RecordingRow, Store
from vprtrain.voiceprints.user import checked_name, checked_purpose, mean_voiceprint


class Voiceprints:
    """Users and the embeddings of their recordings. A user's voiceprint is the mean of the
    embeddings, each scaled to length 1.

    Threads may share an object. Processes share the database, and each process opens it itself,
    also after a fork. When a method returns, its change is on the disk. If a process is killed, an
    enrolment is stored completely or not at all. Only the file's owner can read a new file. A file
    that may come from a stranger is checked: its tables when it is opened, a row when it is read.
    A file that cannot be written, or whose folder cannot, is read only. Changes by others are seen
    at the next call; a call during which such a file changes ends with an error.

    A search is exact: a first pass over codes of one byte a value, which are in memory, bounds
    every cosine, and all voiceprints that can be the nearest are compared. Only a PostgreSQL
    database whose codes do not fit in memory is searched with an HNSW index, which is approximate.

    Args:
        location: an SQLite file, or the URL of a PostgreSQL database (``postgresql://...``; this
            needs the extra ``vprtrain[postgres]``). The file must be on a local disk, because
            SQLite's write-ahead log needs one.
        model: the digest of the extractor of these embeddings. With a digest a missing file, or
            the missing tables of a PostgreSQL database, are made. With ``None`` existing ones are
            opened, to manage their users.
        timeout: the longest wait for other processes, in seconds.
        search_memory: the most bytes that the codes may take. A PostgreSQL database with more users
            is searched with an index. ``None`` for a quarter of the machine's memory.

    Raises:
        UsageError: the database is missing, is not one that vprtrain made, or belongs to another
            model.
        RunError: it cannot be read or written, is damaged, or is locked by another process for
            longer than ``timeout``.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        model: str | None,
        timeout: float = 30.0,
        search_memory: int | None = None,
    ) -> None:
        self._lock = threading.RLock()
        memory = _quarter_of_memory() if search_memory is None else search_memory
        self._store = _open_store(os.fspath(location), model, timeout, memory)
        self._search = Search(self._store)

    @property
    def place(self) -> str:
        """The file, or the URL without its password."""
        return self._store.place

    def close(self) -> None:
        """Close the database. The object cannot be used afterwards."""
        with self._lock:
            self._store.close()

    def ping(self) -> None:
        """Ask the database for its newest change, in a time that does not depend on the number of
        users: a check that it answers. No voiceprint is read or compared.

        Raises:
            RunError: it does not answer, is damaged, or was closed.
        """
        with self._transaction():
            self._store.newest_change()

    def add(self, user: str, embeddings: np.ndarray, *, purpose: str = "") -> int:
        """Add recordings of a new or known user. After an error none of them is stored.

        Args:
            embeddings: float32 ``[dimension]`` of one recording, or ``[recordings, dimension]``.
            purpose: what the recordings may be used for, stored with each of them.

        Returns:
            The number of the user's recordings now.

        Raises:
            UsageError: the name or purpose is not valid, or the embeddings have another dimension
                than those of the database.
            ScoringError: an embedding is zero or not finite, or the mean is zero.
        """
        name, purpose = checked_name(user), checked_purpose(purpose)
        rows = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
        now = _text_of(datetime.now(timezone.utc))
        with self._transaction(write=True):
            key = self._search.find(name)
            before = [] if key is None else self._embeddings(key)
            self._require_dimension(rows.shape[1])
            mean = mean_voiceprint([*before, *rows], name)
            code, voiceprint = encode(mean[None]).tobytes(), mean.tobytes()
            if key is None:
                key = self._store.insert(name, code, voiceprint)
            else:
                self._store.replace(key, code, voiceprint)
            self._store.record(key, [RecordingRow(row.tobytes(), now, purpose) for row in rows])
            self._store.note_change(key)
        return len(before) + len(rows)

    def nearest(
        self, embedding: np.ndarray, *, threshold: float = -1.0
    ) -> tuple[str | None, float]:
        """The user whose voiceprint has the highest cosine with an embedding ``[dimension]``, and
        that cosine; ``(None, -1.0)`` with no enrolled user. Of equal ones it is the user who
        was enrolled first.

        The search includes all changes that any process made before the call.

        Args:
            threshold: below it the user is ``None``.
        """
        (unit,) = unit_vectors(np.atleast_2d(embedding), ["the recording"])
        with self._transaction():
            user, score = self._search.nearest(unit)
        return (user if score >= threshold else None), score

    def nearby(self, embedding: np.ndarray, count: int) -> list[Neighbour]:
        """The users with the highest cosines, at most ``count``, the nearest first; as
        :meth:`nearest`."""
        (unit,) = unit_vectors(np.atleast_2d(embedding), ["the recording"])
        with self._transaction():
            return self._search.nearby(unit, count)

    def voiceprint(self, user: str) -> np.ndarray:
        """The voiceprint of a user, float32 ``[dimension]``, of length 1.

        Raises:
            UsageError: there is no such user.
        """
        with self._transaction():
            return self._voiceprint(self._key_of(checked_name(user)))

    def users(self, *, older_than: float | None = None) -> dict[str, int]:
        """The number of each user's recordings, by name, sorted.

        Args:
            older_than: only users whose newest recording was enrolled more than this many days ago.

        Raises:
            UsageError: the days lead to no date.
        """
        end = None if older_than is None else _text_of(_days_ago(older_than))
        with self._transaction():
            rows = list(self._store.counts())
        if end is not None:
            rows = [row for row in rows if isinstance(row[2], str) and row[2] < end]
        return {name_of(name): int(str(count)) for name, count, _ in rows}

    def export(self, user: str) -> dict[str, Any]:
        """All stored data of a user, as JSON values.

        Raises:
            UsageError: there is no such user.
        """
        name = checked_name(user)
        with self._transaction():
            key = self._key_of(name)
            model = self._store.model()
            return {
                "user": name,
                "model": model if isinstance(model, str) else None,
                "voiceprint": self._voiceprint(key).tolist(),
                "recordings": [
                    {
                        "enrolled_at": str(row.enrolled_at),
                        "purpose": str(row.purpose),
                        "embedding": vector_of(row.embedding).tolist(),
                    }
                    for row in self._store.recordings(key)
                ],
            }

    def remove(self, user: str) -> bool:
        """Remove a user with all stored data.

        Nothing of it remains in an SQLite file or in the files that SQLite keeps beside it, except
        that there was a user with so many recordings; the time does not depend on the size of the
        file. PostgreSQL returns nothing of it, but its disk may hold the bytes for some time.

        Returns:
            Whether the user was enrolled.

        Raises:
            RunError: another process reads the file for longer than the timeout. The user is
                removed, but SQLite's log may still hold the data: call this again.
        """
        name = checked_name(user)
        with self._transaction(write=True):
            key = self._search.find(name)
            if key is not None:
                self._store.erase(key)
                self._store.note_change(key)
        # This runs for an unknown user too: the process that removed the user may have been killed
        # before this line.
        with self._lock:
            self._store.scrub(name)
            with self._transaction():
                self._search.follow()  # no copy remains in memory
        return key is not None

    @property
    def model(self) -> str | None:
        """The digest of the model that the embeddings are from."""
        with self._transaction():
            found = self._store.model()
        return found if isinstance(found, str) else None

    def copy_to(self, target: Voiceprints) -> int:
        """Copy all users into another database, the same to the bit: all of them or, after an
        error, none.

        Returns:
            The number of users.

        Raises:
            UsageError: the other database belongs to another model, or has users already.
        """
        if target.model != self.model:
            raise UsageError(f"{target.place} belongs to another model than {self.place}")
        with self._transaction():
            return target.receive(self._store)

    def receive(self, source: Store) -> int:
        """Copy all users of a store, which is in a transaction, into this database; as
        :meth:`copy_to`."""
        with self._transaction(write=True):
            return copy_users(source, self._store)

    def compact(self) -> None:
        """Give the space of removed users back to the disk. An SQLite file is written anew, in a
        time proportional to its size (about 11 s for 1,000,000 users)."""
        with self._lock:
            self._store.compact()

    def check(self) -> list[str]:
        """Check the database: the database system's own check, and each voiceprint against the mean
        of the user's recordings.

        Returns:
            A description of each problem.
        """
        with self._transaction():
            problems = self._store.problems()
            names = set[object]()
            for rows in self._store.codes():
                for key, name, code in rows:
                    if name in names:
                        problems.append(f"there are several users named {shown(name)}")
                    names.add(name)
                    problems += self._problems_of(key, name_of(name), code)
        return problems

    def _problems_of(self, key: int, name: str, code: object) -> list[str]:
        rows, stored = self._embeddings(key), self._store.voiceprints([key])
        mean = mean_voiceprint(rows, name) if rows else None
        if mean is None or not stored or not np.array_equal(mean, vector_of(stored[0][2])):
            return [f"the voiceprint of {shown(name)} is not the mean of {len(rows)} recordings"]
        if code != encode(mean[None]).tobytes():
            return [f"the code of {shown(name)} is not that of the voiceprint"]
        return []

    def _key_of(self, name: str) -> int:
        key = self._search.find(name)
        if key is None:
            raise UsageError(
                f"{self.place}: there is no user {name!r}: vprtrain users lists all users"
            )
        return key

    def _voiceprint(self, key: int) -> np.ndarray:
        ((_, _, stored),) = self._store.voiceprints([key])
        return vector_of(stored)

    def _embeddings(self, key: int) -> list[np.ndarray]:
        return [vector_of(row.embedding) for row in self._store.recordings(key)]

    def _require_dimension(self, dimension: int) -> None:
        some = self._store.some_code()
        if some is not None and (found := dimension_of(some)) != dimension:
            raise UsageError(
                f"{self.place} holds embeddings of {found} values, these have {dimension}: use "
                "another database"
            )

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[None]:
        with self._lock, self._store.transaction(write=write):
            yield


def _open_store(location: str, model: str | None, timeout: float, search_memory: int) -> Store:
    if not is_postgres_url(location):
        return SqliteStore(Path(location), model=model, timeout=timeout)
    if find_spec("psycopg") is None:
        raise UsageError(f"{shown_url(location)} needs psycopg: pip install 'vprtrain[postgres]'")
    from vprtrain.voiceprints.postgres_store import PostgresStore

    return PostgresStore(location, model=model, timeout=timeout, search_memory=search_memory)


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _days_ago(days: float) -> datetime:
    try:
        return datetime.now(timezone.utc) - timedelta(days=days)
    except (OverflowError, ValueError) as error:  # ValueError: NaN
        raise UsageError(f"older than {days} days: expected a number of days, as 365") from error


def _text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
