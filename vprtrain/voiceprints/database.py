"""The database of voiceprints: one SQLite file that several processes may use at once."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.errors import RunError, UsageError
from vprtrain.scoring.cosine import unit_vectors
from vprtrain.voiceprints.gallery import Gallery
from vprtrain.voiceprints.sqlite_file import errors_named, open_database

NO_SCORE = -1.0
"""What the nearest of nobody scores: the least that a cosine can be"""

MAX_NAME = 256
"""Characters of a user's name"""

# controls, halves of characters, separators of lines and paragraphs
_UNPRINTABLE = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)
_CHANGED = """
    SELECT changed.user, users.name, users.voiceprint
    FROM (SELECT DISTINCT user FROM changes WHERE change > ?) AS changed LEFT JOIN users ON users.id = changed.user
"""


class Voiceprints:
    """Users and the embeddings of their recordings; a user's voiceprint is the mean of these, each
    at length 1.

    Threads may share an object; processes share the file, and each opens it itself, also after a
    fork. What a method returned from is on the disk; a process that is killed leaves all of an
    enrolment or nothing. The file is for its owner's eyes only.

    Args:
        path: the file; on a local disk, as SQLite's write-ahead log asks for.
        model: the digest of the extractor whose embeddings these are; with it, a missing file is
            made. ``None`` is for looking after the users of a file that is there.
        timeout: how many seconds to wait for other processes.

    Raises:
        UsageError: the file is missing, no database of voiceprints, or one of another model.
        RunError: it cannot be read or written, is damaged, or others hold it for longer than
            ``timeout``.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, model: str | None, timeout: float = 30.0
    ) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._gallery = Gallery()
        self._read_until = 0
        self._seen: int | None = None
        self._timeout = timeout
        self._db = open_database(self.path, model=model, timeout=timeout)

    def close(self) -> None:
        """Close the file; the object cannot be used any more."""
        with self._lock:
            self._db.close()

    def add(self, user: str, embeddings: np.ndarray) -> int:
        """Add recordings of a user, new or known: all of them or, after an error, none.

        Args:
            embeddings: float32 ``[dimension]`` of one recording, or ``[recordings, dimension]``.

        Returns:
            How many recordings the user has now.

        Raises:
            UsageError: the name cannot be one, or the embeddings are of another dimension than
                those of the database.
            ScoringError: an embedding is zero or not finite, or the mean of them has no direction.
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
        """The user whose voiceprint has the highest cosine to an embedding ``[dimension]``, and
        that cosine.

        ``(None, NO_SCORE)`` where nobody is enrolled. What any process had enrolled or removed
        before the call is taken into account.
        """
        (unit,) = unit_vectors(np.atleast_2d(embedding), ["the recording"])
        with self._lock, errors_named(self.path):
            self._catch_up()
            return self._gallery.nearest(unit) if len(self._gallery) else (None, NO_SCORE)

    def users(self) -> dict[str, int]:
        """How many recordings each user has, by name, sorted."""
        count = "SELECT name, count(*) FROM users JOIN recordings ON user = users.id GROUP BY users.id ORDER BY name"
        with self._transaction():
            return dict(self._db.execute(count).fetchall())

    def export(self, user: str) -> dict[str, Any]:
        """All that is stored of a user, as JSON values.

        Raises:
            UsageError: nobody is enrolled by that name.
        """
        name = checked_name(user)
        with self._transaction():
            found = self._db.execute(
                "SELECT id, voiceprint FROM users WHERE name = ?", (name,)
            ).fetchone()
            if found is None:
                raise UsageError(
                    f"{self.path}: nobody is enrolled as {name!r} (vprtrain users lists all)"
                )
            query = "SELECT enrolled_at, embedding FROM recordings WHERE user = ? ORDER BY id"
            recordings = self._db.execute(query, (found[0],)).fetchall()
            (model,) = self._db.execute(
                "SELECT value FROM meta WHERE key = 'model'"
            ).fetchone() or (None,)
        return {
            "user": name,
            "model": model,
            "voiceprint": _vector(found[1]).tolist(),
            "recordings": [
                {"enrolled_at": at, "embedding": _vector(blob).tolist()} for at, blob in recordings
            ],
        }

    def remove(self, user: str) -> bool:
        """Remove a user and all that is stored of them, whether there was one.

        No byte of it is left in the file or in those that SQLite keeps beside it: the file is
        written anew, which takes a time in proportion to its size (about 2 s for 100,000 users).
        """
        name = checked_name(user)
        with self._writing():
            found = self._db.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
            if found is not None:
                self._db.execute("DELETE FROM recordings WHERE user = ?", found)
                self._db.execute("DELETE FROM users WHERE id = ?", found)
                self._db.execute("INSERT INTO changes (user) VALUES (?)", found)
        with self._lock, errors_named(self.path):
            # Deleted rows are overwritten, but now and then a copy is left where SQLite had moved
            # rows between pages. Also where there was no such user: the process that removed them
            # may have been killed before this.
            self._db.execute("VACUUM")
            deadline = time.monotonic() + self._timeout
            # SQLite does not wait where another connection is just copying the log: it says busy at
            # once.
            while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self.path}: {name!r} is removed, but others are reading: remove again for the log"
                    )
                time.sleep(0.01)
            self._catch_up()
        return found is not None

    def check(self) -> list[str]:
        """What is wrong with the file, in words; nothing, if all is well.

        SQLite's own integrity check, and every voiceprint against the recordings it is the mean of.
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
                if not rows or not np.array_equal(mean_voiceprint(rows, name), _vector(blob)):
                    problems.append(
                        f"the voiceprint of {name!r} is not the mean of {len(rows)} recordings"
                    )
        return problems

    def _embeddings(self, key: int) -> list[np.ndarray]:
        query = "SELECT embedding FROM recordings WHERE user = ? ORDER BY id"
        return [_vector(blob) for (blob,) in self._db.execute(query, (key,))]

    def _require_dimension(self, dimension: int) -> None:
        some = self._db.execute("SELECT voiceprint FROM users LIMIT 1").fetchone()
        if some is not None and len(some[0]) != 4 * dimension:
            raise UsageError(
                f"{self.path} holds embeddings of {len(some[0]) // 4} values, these have {dimension}: "
                "enrol them into another file"
            )

    def _catch_up(self) -> None:
        """Read into the gallery what was changed since the last time, here or by another
        process."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return
        with self._transaction():
            (newest,) = self._db.execute("SELECT ifnull(max(change), 0) FROM changes").fetchone()
            for key, name, blob in self._db.execute(_CHANGED, (self._read_until,)):
                if name is None:
                    self._gallery.drop(key)
                else:
                    self._gallery.put(key, name, _vector(blob))
        self._read_until, self._seen = newest, version

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[None]:
        with self._lock, errors_named(self.path):
            self._db.execute(f"BEGIN {kind}")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._transaction("IMMEDIATE"):
            self._seen = None  # SQLite tells a connection of others' changes only
            yield


def mean_voiceprint(embeddings: Sequence[np.ndarray], user: str) -> np.ndarray:
    """The mean of embeddings ``[dimension]``, each scaled to length 1; float32 ``[dimension]`` of
    length 1.

    Raises:
        ScoringError: one of them, or the mean, has no direction.
    """
    units = unit_vectors(
        np.stack(embeddings),
        [f"{user}, recording {number + 1}" for number in range(len(embeddings))],
    )
    (mean,) = unit_vectors(units.mean(axis=0, keepdims=True), [user])
    return mean.astype(np.float32)


def checked_name(name: str) -> str:
    """A user's name as it is stored: any text of a line, in Unicode's composed form (NFC), without
    blanks around it.

    Raises:
        UsageError: it is empty, longer than :data:`MAX_NAME`, or has characters that do not print.
    """
    if not isinstance(name, str):
        raise UsageError(f"a user's name is a {type(name).__name__}, expected a text")
    composed = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(composed) <= MAX_NAME:
        raise UsageError(f"a user's name has {len(composed)} characters, expected 1 to {MAX_NAME}")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in composed):
        raise UsageError(
            f"the user's name {name!a:.80} has control characters, or is not Unicode: use another"
        )
    return composed


def _vector(blob: bytes) -> np.ndarray:
    return np.frombuffer(blob, dtype="<f4")
