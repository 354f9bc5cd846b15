"""The SQLite file of a database of voiceprints: making, recognising and refusing it, and SQLite's
errors with the path."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote_from_bytes

from vprtrain.errors import RunError, UsageError, VprTrainError, cause, shown
from vprtrain.voiceprints.file_access import (
    is_writable,
    log_of,
    look_at_file,
    protect,
    size_of,
    status_of,
)

_APPLICATION_ID = 0x56505256
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
    "voiceprint BLOB NOT NULL)",
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES users (id), "
    "embedding BLOB NOT NULL, "
    "enrolled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))",
    "CREATE INDEX recordings_of_user ON recordings (user)",
    # The users whose voiceprint was changed or removed, in order. A process reads this table to see
    # the changes of other processes.
    "CREATE TABLE changes (change INTEGER PRIMARY KEY, user INTEGER NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_SETTINGS = (
    "secure_delete = ON",  # deleted data is overwritten
    "temp_store = MEMORY",  # and is never in a temporary file
    "synchronous = FULL",  # a committed change survives a power cut
    "foreign_keys = ON",
    "trusted_schema = OFF",  # the file may come from a stranger
    "cell_size_check = ON",
)
_MOST_VALUE_BYTES = 2**20
_STEPS_BETWEEN_CHECKS = 100_000
_LEAST_STEPS, _STEPS_PER_BYTE = 200_000, 2  # the most that was measured is 0.4 per byte


class Database(sqlite3.Connection):
    """A connection that any thread may use, without implicit transactions.

    Its queries end: pages of a damaged file may refer to each other in a circle, so that a table
    has no last row.
    """

    def __init__(self, path: Path, *, can_write: bool, timeout: float) -> None:
        self._path = path
        self._steps = 0
        # Without a log beside it, a file that cannot be written is opened as one that never
        # changes, because SQLite would make a log otherwise. It is opened again when it changed.
        self._opened = None if can_write or log_of(path).exists() else status_of(path)
        mode = "mode=rw" if can_write else "mode=ro"
        uri = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?{mode}"
        super().__init__(
            uri if self._opened is None else f"{uri}&immutable=1",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        if sys.version_info >= (3, 11):
            self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
        self.set_progress_handler(self._is_spent, _STEPS_BETWEEN_CHECKS)

    def renew_steps(self) -> None:
        """Allow the next queries as many steps of SQLite's machine as this file can need."""
        self._steps = 0

    def is_outdated(self) -> bool:
        """Whether another process changed a file that this one cannot write, without a log that
        SQLite could see it by."""
        return self._opened is not None and self._opened != status_of(self._path)

    def _is_spent(self) -> bool:
        self._steps += _STEPS_BETWEEN_CHECKS
        return self._steps > _LEAST_STEPS + _STEPS_PER_BYTE * size_of(self._path)


def open_database(path: Path, *, model: str | None, timeout: float) -> Database:
    """An open database. The arguments and errors are those of ``Voiceprints``."""
    if model is None and not path.exists():
        raise UsageError(
            f"{path} does not exist: enrol a user first, or give the file that has the users"
        )
    can_write = is_writable(path)
    look_at_file(path, make=model is not None and can_write)
    if can_write:
        protect(path)
    with errors_named(path):
        db = Database(path, can_write=can_write, timeout=timeout)
        try:
            for setting in _SETTINGS:
                db.execute(f"PRAGMA {setting}")
            _make_or_recognise(db, path, model)
            if can_write:
                _use_write_ahead_log(db, path, time.monotonic() + timeout)
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """A context that turns SQLite's errors, and those of rows that are not voiceprints, into a
    :class:`RunError` with the path."""
    try:
        yield
    except VprTrainError:
        raise
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            raise RunError(
                f"{path} is damaged: a query takes more steps than the file has rows: restore a "
                "copy"
            ) from error
        raise RunError(
            f"{path}: {error}; check the disk, the permissions, and who else uses the file"
        ) from error
    except sqlite3.ProgrammingError as error:
        raise RunError(f"{path}: {str(error).rstrip('.')}; open it again") from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise RunError(
            f"{path} is damaged, or is not a database of voiceprints ({cause(error)}): restore a "
            "copy"
        ) from error


def _make_or_recognise(db: sqlite3.Connection, path: Path, model: str | None) -> None:
    if model is not None and _is_blank(db):
        db.execute("BEGIN EXCLUSIVE")
        if _is_blank(db):  # checked again: another process may have been first
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES ('model', ?)", (model,))
        db.execute("COMMIT")
    (application,), (version,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application != _APPLICATION_ID:
        raise UsageError(f"{path} is not a database of voiceprints: give another file")
    if version != _VERSION:
        raise UsageError(
            f"{path} has version {version}, expected {_VERSION}: use the vprtrain that wrote it"
        )
    _require_schema(db, path)
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() or ("",)
    if model is not None and found != model:
        raise UsageError(
            f"{path} has the voiceprints of another model ({shown(found, 14)}, expected "
            f"{shown(model, 14)}): use the checkpoint that they were enrolled with, or enrol the "
            "users again in another file"
        )


def _require_schema(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file with other tables, or with anything that SQLite would run: a view may take for
    ever, and a trigger may keep what is removed.

    Raises:
        UsageError: the schema is not exactly that of a new file.
    """
    expected = _expected_schema()
    found = _schema(db, limit=len(expected) + 1)
    if set(found) != expected or len(found) != len(expected):
        other = [f"{row[0]} {row[1]}" for row in found if row not in expected]
        raise UsageError(
            f"{path} is not a database that vprtrain made (it has other tables, views or triggers: "
            f"{shown(other)}): do not use it"
        )


@cache
def _expected_schema() -> frozenset[tuple[object, ...]]:
    """The schema of a new file, as this SQLite describes it."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in _SCHEMA:
            fresh.execute(statement)
        return frozenset(_schema(fresh, limit=100))


def _schema(db: sqlite3.Connection, limit: int) -> list[tuple[object, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?"
    return db.execute(query, (limit,)).fetchall()


def _is_blank(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _use_write_ahead_log(db: sqlite3.Connection, path: Path, deadline: float) -> None:
    while True:
        # SQLite does not wait if two processes switch a new file at the same time.
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise UsageError(
            f"{path}: its disk does not allow a write-ahead log ({mode}): use a local disk"
        )
