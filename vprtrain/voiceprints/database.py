"""The database of voiceprints: an SQLite file that several processes may use at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.errors import RunError, UsageError, shown
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.voiceprints.gallery import Gallery
from vprtrain.voiceprints.rows import name_of, vector_of, voiceprints_of
from vprtrain.voiceprints.sqlite_file import errors_named, open_database
from vprtrain.voiceprints.user import checked_name, mean_voiceprint

NO_SCORE = -1.0
"""The score of :meth:`Voiceprints.nearest` with no enrolled user: the lowest cosine."""

_ROWS_AT_ONCE = 1000
_CHANGED = """
    SELECT changed.user, users.name, users.voiceprint
    FROM (SELECT DISTINCT user FROM changes WHERE change > ?) AS changed
    LEFT JOIN users ON users.id = changed.user
"""


class Voiceprints:
    """Users and the embeddings of their recordings. A user's voiceprint is the mean of the
    embeddings, each scaled to length 1.

    Threads may share an object. Processes share the file, and each process opens it itself, also
    after a fork. When a method returns, its change is on the disk. If a process is killed, an
    enrolment is stored completely or not at all. Only the file's owner can read a new file. A file
    that may come from a stranger is checked: its tables when it is opened, a row when it is read.
    A file that cannot be written, or whose folder cannot, is read only. Changes by others are seen
    at the next call; a call during which such a file changes ends with an error.

    Args:
        path: the file. It must be on a local disk, because SQLite's write-ahead log needs one.
        model: the digest of the extractor of these embeddings. With a digest a missing file is
            made. With ``None`` an existing file is opened, to manage its users.
        timeout: the longest wait for other processes, in seconds.

    Raises:
        UsageError: the file is missing, is not a database that vprtrain made, or belongs to another
            model.
        RunError: the file cannot be read or written, is damaged, or is locked by another process
            for longer than ``timeout``.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, model: str | None, timeout: float = 30.0
    ) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._model, self._timeout = model, timeout
        self._open()

    def _open(self) -> None:
        self._db = open_database(self.path, model=self._model, timeout=self._timeout)
        self._gallery = Gallery()
        self._read_until = 0
        self._seen: int | None = None

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards."""
        with self._lock:
            self._db.close()

    def add(self, user: str, embeddings: np.ndarray) -> int:
        """Add recordings of a new or known user. After an error none of them is stored.

        Args:
            embeddings: float32 ``[dimension]`` of one recording, or ``[recordings, dimension]``.

        Returns:
            The number of the user's recordings now.

        Raises:
            UsageError: the name is not valid, or the embeddings have another dimension than those
                of the database.
            ScoringError: an embedding is zero or not finite, or the mean is zero.
        """
        name = checked_name(user)
        rows = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
        with self._writing():
            known = self._db.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
            before = [] if known is None else self._embeddings(known[0])
            self._require_dimension(rows.shape[1])
            voiceprint = mean_voiceprint([*before, *rows], name).tobytes()
            if known is None:
                values = (name, voiceprint)
                key = self._db.execute(
                    "INSERT INTO users (name, voiceprint) VALUES (?, ?)", values
                ).lastrowid
            else:
                (key,) = known
                self._db.execute("UPDATE users SET voiceprint = ? WHERE id = ?", (voiceprint, key))
            self._db.executemany(
                "INSERT INTO recordings (user, embedding) VALUES (?, ?)",
                [(key, row.tobytes()) for row in rows],
            )
            self._db.execute("INSERT INTO changes (user) VALUES (?)", (key,))
        return len(before) + len(rows)

    def nearest(self, embedding: np.ndarray) -> tuple[str | None, float]:
        """The user whose voiceprint has the highest cosine with an embedding ``[dimension]``, and
        that cosine; ``(None, NO_SCORE)`` with no enrolled user.

        The search includes all changes that any process made before the call.
        """
        (unit,) = unit_vectors(np.atleast_2d(embedding), ["the recording"])
        with self._using():
            self._catch_up()
            return self._gallery.nearest(unit) if len(self._gallery) else (None, NO_SCORE)

    def users(self) -> dict[str, int]:
        """The number of each user's recordings, by name, sorted."""
        query = (
            "SELECT name, count(*) FROM users JOIN recordings ON user = users.id "
            "GROUP BY users.id ORDER BY name"
        )
        with self._transaction():
            return {name_of(name): count for name, count in self._db.execute(query)}

    def export(self, user: str) -> dict[str, Any]:
        """All stored data of a user, as JSON values.

        Raises:
            UsageError: there is no such user.
        """
        name = checked_name(user)
        with self._transaction():
            found = self._db.execute(
                "SELECT id, voiceprint FROM users WHERE name = ?", (name,)
            ).fetchone()
            if found is None:
                raise UsageError(
                    f"{self.path}: there is no user {name!r}: vprtrain users lists all users"
                )
            query = "SELECT enrolled_at, embedding FROM recordings WHERE user = ? ORDER BY id"
            recordings = self._db.execute(query, (found[0],)).fetchall()
            (model,) = self._db.execute(
                "SELECT value FROM meta WHERE key = 'model'"
            ).fetchone() or (None,)
            stored = {
                "voiceprint": vector_of(found[1]).tolist(),
                "recordings": [
                    {"enrolled_at": str(at), "embedding": vector_of(blob).tolist()}
                    for at, blob in recordings
                ],
            }
        return {"user": name, "model": model if isinstance(model, str) else None, **stored}

    def remove(self, user: str) -> bool:
        """Remove a user with all stored data.

        Nothing of it remains in the file or in the files that SQLite keeps beside it. For this the
        file is rewritten, in a time proportional to its size (about 2 s for 100,000 users).

        Returns:
            Whether the user was enrolled.

        Raises:
            RunError: another process reads the file for longer than the timeout. The user is
                removed, but SQLite's log may still hold the data: call this again.
        """
        name = checked_name(user)
        with self._writing():
            found = self._db.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
            if found is not None:
                self._db.execute("DELETE FROM recordings WHERE user = ?", found)
                self._db.execute("DELETE FROM users WHERE id = ?", found)
                self._db.execute("INSERT INTO changes (user) VALUES (?)", found)
        with self._using():
            # SQLite overwrites deleted rows, but may leave a copy where it had moved rows between
            # pages. This runs for an unknown user too: the process that removed the user may have
            # been killed before this line.
            self._db.execute("VACUUM")
            deadline = time.monotonic() + self._timeout
            # SQLite does not wait while another connection copies the log: it reports busy at once.
            while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self.path}: {name!r} is removed, but other processes are reading and "
                        "SQLite's log may still hold the data: remove the user again"
                    )
                time.sleep(0.01)
            self._catch_up()
        return found is not None

    def check(self) -> list[str]:
        """Check the file: SQLite's own integrity check, and each voiceprint against the mean of the
        user's recordings.

        Returns:
            A description of each problem.
        """
        with self._transaction():
            problems = [
                row[0] for row in self._db.execute("PRAGMA integrity_check") if row[0] != "ok"
            ]
            problems += [
                f"table {row[0]}, row {row[1]}: no {row[2]}"
                for row in self._db.execute("PRAGMA foreign_key_check")
            ]
            for key, name, blob in self._db.execute(
                "SELECT id, name, voiceprint FROM users ORDER BY id"
            ):
                rows = self._embeddings(key)
                if not rows or not np.array_equal(
                    mean_voiceprint(rows, name_of(name)), vector_of(blob)
                ):
                    problems.append(
                        f"the voiceprint of {shown(name)} is not the mean of {len(rows)} recordings"
                    )
        return problems

    def _embeddings(self, key: int) -> list[np.ndarray]:
        query = "SELECT embedding FROM recordings WHERE user = ? ORDER BY id"
        return [vector_of(blob) for (blob,) in self._db.execute(query, (key,))]

    def _require_dimension(self, dimension: int) -> None:
        some = self._db.execute("SELECT voiceprint FROM users LIMIT 1").fetchone()
        if some is not None and len(vector_of(some[0])) != dimension:
            raise UsageError(
                f"{self.path} holds embeddings of {len(some[0]) // 4} values, these have "
                f"{dimension}: use another file"
            )

    def _catch_up(self) -> None:
        """Read the changes since the last call, by this or another process, into the gallery."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return
        with self._begun():
            (newest,) = self._db.execute("SELECT ifnull(max(change), 0) FROM changes").fetchone()
            changes = self._db.execute(_CHANGED, (self._read_until,))
            while rows := changes.fetchmany(_ROWS_AT_ONCE):
                for key, name, _ in rows:
                    if name is None:
                        self._gallery.drop(key)
                self._put([row for row in rows if row[1] is not None])
        self._read_until, self._seen = newest, version

    def _put(self, users: list[tuple[int, object, object]]) -> None:
        if not users:
            return
        dimension = self._gallery.dimension if len(self._gallery) else None
        vectors = voiceprints_of([(name, blob) for _, name, blob in users], dimension)
        for (key, name, _), vector in zip(users, vectors, strict=True):
            self._gallery.put(key, name_of(name), vector)

    @contextmanager
    def _using(self) -> Iterator[None]:
        """A use of the file by one thread, with a new budget of steps.

        Raises:
            RunError: SQLite refuses, a row is wrong, or a file that cannot be written changed.
        """
        with self._lock, errors_named(self.path):
            if self._db.is_outdated():
                self._db.close()
                self._open()
            self._db.renew_steps()
            try:
                yield
            finally:
                if self._db.is_outdated():
                    raise RunError(f"{self.path} was changed while it was read: try again")

    @contextmanager
    def _begun(self, kind: str = "DEFERRED") -> Iterator[None]:
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[None]:
        with self._using(), self._begun(kind):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._transaction("IMMEDIATE"):
            self._seen = None  # data_version shows other connections' changes only
            yield
