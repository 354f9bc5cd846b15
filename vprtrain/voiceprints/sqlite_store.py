"""A database of voiceprints in an SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from vprtrain.errors import RunError
from vprtrain.voiceprints.sqlite_file import errors_named, finish_rewrite, open_database
from vprtrain.voiceprints.sqlite_schema import LIVE, REWRITE
from vprtrain.voiceprints.store import CodeBlock, CodeRow, RecordingRow

_ROWS_AT_ONCE = 1_000
_BLOCK_BYTES = 1 << 19  # of codes; sqlite_file allows no longer values than twice that
_BLOCK_END = "SELECT max(id) FROM (SELECT id FROM users WHERE id > ? ORDER BY id LIMIT ?)"
_BLOCK = f"FROM users WHERE {LIVE} AND id > ? AND id <= ?"
# One row for a block: a row of Python objects for each user would take twice as long.
_JOINED_BLOCK = f"""
    SELECT count(*), max(length(code)), group_concat(id),
        CAST(group_concat(name, char(10)) AS BLOB), CAST(group_concat(code, '') AS BLOB) {_BLOCK}
"""
_CHANGED = f"""
    SELECT changed.user, users.name, users.code
    FROM (SELECT DISTINCT user FROM changes WHERE change > ?) AS changed
    LEFT JOIN users ON users.id = changed.user AND {LIVE}
"""
_COUNTS = f"""
    SELECT name, count(*), max(enrolled_at) FROM users JOIN recordings ON user = users.id
    WHERE {LIVE} GROUP BY users.id ORDER BY name
"""
# The new value of a column has the length of the old one, see sqlite_schema.
_ZEROS = "{0} = zeroblob(length(CAST({0} AS BLOB)))"
_ERASE = (
    f"UPDATE recordings SET {_ZEROS.format('embedding')}, {_ZEROS.format('enrolled_at')}, "
    f"{_ZEROS.format('purpose')} WHERE user = ?",
    f"UPDATE voiceprints SET {_ZEROS.format('voiceprint')} WHERE user = ?",
    f"UPDATE users SET {_ZEROS.format('name')}, {_ZEROS.format('code')} WHERE id = ?",
)
_ERASED = f"SELECT id FROM users WHERE NOT ({LIVE})"


class SqliteStore:
    """The rows of a database file. See :class:`vprtrain.voiceprints.store.Store`.

    Args:
        path: the file.
        model, timeout: those of :class:`vprtrain.voiceprints.Voiceprints`.
    """

    def __init__(self, path: Path, *, model: str | None, timeout: float) -> None:
        self.path = path
        self.place = str(path)
        self.times_opened = 0
        self._model, self._timeout = model, timeout
        self._open()

    def _open(self) -> None:
        self._db = open_database(self.path, model=self._model, timeout=self._timeout)
        self.times_opened += 1

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[None]:
        with self._using():
            self._db.execute(f"BEGIN {'IMMEDIATE' if write else 'DEFERRED'}")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def model(self) -> object:
        return (
            self._db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() or (None,)
        )[0]

    def newest_change(self) -> int:
        (newest,) = self._db.execute("SELECT ifnull(max(change), 0) FROM changes").fetchone()
        return int(newest)

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM users").fetchone()[0])

    def codes(self) -> Iterator[list[CodeRow]]:
        return self._code_rows(f"SELECT id, name, code FROM users WHERE {LIVE} ORDER BY id")

    def code_blocks(self) -> Iterator[CodeBlock]:
        some = self.some_code()
        rows = max(1, _BLOCK_BYTES // len(some)) if isinstance(some, bytes) and some else 1
        last = -1 << 63
        while (end := self._db.execute(_BLOCK_END, (last, rows)).fetchone()[0]) is not None:
            yield from self._block(last, end)
            last = end

    def _block(self, last: int, end: int) -> Iterator[CodeBlock]:
        """The users whose ids are above ``last`` and not above ``end``: joined by SQLite, or row by
        row if one of them is not right or a name is very long."""
        with suppress(sqlite3.DataError):  # a value of more bytes than are allowed
            found = self._db.execute(_JOINED_BLOCK, (last, end)).fetchone()
            count, length, ids, names, codes = found
            if not count:
                return
            if len(codes) == count * length and names.count(b"\n") == count - 1:
                keys = np.fromstring(ids, np.int64, sep=",")
                yield CodeBlock(keys, names.decode().split("\n"), codes)
                return
        rows = self._db.execute(f"SELECT id, name, code {_BLOCK}", (last, end))
        yield CodeBlock(*zip(*rows, strict=True))

    def changed_codes(self, since: int) -> Iterator[list[CodeRow]]:
        return self._code_rows(_CHANGED, since)

    def some_code(self) -> object:
        found = self._db.execute(f"SELECT code FROM users WHERE {LIVE} LIMIT 1").fetchone()
        return found and found[0]

    def find(self, name: str) -> int | None:
        found = self._db.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
        return found and found[0]

    def voiceprints(self, users: Sequence[int]) -> list[tuple[int, object, object]]:
        marks = ", ".join("?" * len(users))
        query = (
            "SELECT users.id, name, voiceprint FROM users JOIN voiceprints ON user = users.id "
            f"WHERE users.id IN ({marks})"
        )
        return self._db.execute(query, tuple(users)).fetchall()

    def recordings(self, user: int) -> list[RecordingRow]:
        query = "SELECT embedding, enrolled_at, purpose FROM recordings WHERE user = ? ORDER BY id"
        return [RecordingRow(*row) for row in self._db.execute(query, (user,))]

    def counts(self) -> Iterator[tuple[object, object, object]]:
        return self._db.execute(_COUNTS)

    def insert(self, name: str, code: bytes, voiceprint: bytes) -> int:
        user = self._db.execute(
            "INSERT INTO users (name, code) VALUES (?, ?)", (name, code)
        ).lastrowid
        assert user is not None
        self._db.execute("INSERT INTO voiceprints VALUES (?, ?)", (user, voiceprint))
        return user

    def replace(self, user: int, code: bytes, voiceprint: bytes) -> None:
        self._db.execute("UPDATE users SET code = ? WHERE id = ?", (code, user))
        self._db.execute("UPDATE voiceprints SET voiceprint = ? WHERE user = ?", (voiceprint, user))

    def record(self, user: int, recordings: Sequence[RecordingRow]) -> None:
        self._db.executemany(
            "INSERT INTO recordings (user, embedding, enrolled_at, purpose) VALUES (?, ?, ?, ?)",
            [(user, *row) for row in recordings],
        )

    def erase(self, user: int) -> None:
        for statement in _ERASE:
            self._db.execute(statement, (user,))

    def note_change(self, user: int) -> None:
        self._db.execute("INSERT INTO changes (user) VALUES (?)", (user,))

    def problems(self) -> list[str]:
        return [
            *(row[0] for row in self._db.execute("PRAGMA integrity_check") if row[0] != "ok"),
            *(
                f"table {row[0]}, row {row[1]}: no {row[2]}"
                for row in self._db.execute("PRAGMA foreign_key_check")
            ),
        ]

    def scrub(self, name: str) -> None:
        """Empty SQLite's write-ahead log, which may hold rows as they were before. If rows were
        moved and the file was not rewritten yet, do that first.

        Raises:
            RunError: another process reads the file for longer than the timeout.
        """
        deadline = time.monotonic() + self._timeout
        with self._using():
            finish_rewrite(self._db)
            # SQLite does not wait while another connection copies the log: it reports busy at once.
            while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self.place}: {name!r} is removed, but other processes are reading and "
                        "SQLite's log may still hold the data: remove the user again"
                    )
                time.sleep(0.01)

    def compact(self) -> None:
        with self.transaction(write=True):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, '')", (REWRITE,))
            for table, user in (("recordings", "user"), ("voiceprints", "user"), ("users", "id")):
                self._db.execute(f"DELETE FROM {table} WHERE {user} IN ({_ERASED})")
        with self._using():
            finish_rewrite(self._db)

    def nearby(self, vector: np.ndarray, count: int) -> None:
        """An SQLite file has no approximate index: all searches are exact."""

    def close(self) -> None:
        self._db.close()

    def _code_rows(self, query: str, *values: object) -> Iterator[list[CodeRow]]:
        found = self._db.execute(query, values)
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield rows

    @contextmanager
    def _using(self) -> Iterator[None]:
        """A use of the file, with a new budget of steps.

        Raises:
            RunError: SQLite refuses, a row is wrong, or a file that cannot be written changed.
        """
        with errors_named(self.path):
            if self._db.is_outdated():
                self._db.close()
                self._open()
            self._db.renew_steps()
            try:
                yield
            finally:
                if self._db.is_outdated():
                    raise RunError(f"{self.place} was changed while it was read: try again")
