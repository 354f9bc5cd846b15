"""The SQLite file of a database of voiceprints: making, recognising and refusing it, and SQLite's
errors with the path."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes

from vprtrain.errors import RunError, UsageError, VprTrainError

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
)


def open_database(path: Path, *, model: str | None, timeout: float) -> sqlite3.Connection:
    """A connection that any thread may use, without implicit transactions. The arguments and errors
    are those of ``Voiceprints``."""
    if model is None and not path.exists():
        raise UsageError(
            f"{path} does not exist: enrol a user first, or give the file that has the users"
        )
    try:
        os.close(os.open(path, os.O_RDWR | (0 if model is None else os.O_CREAT), 0o600))
    except (OSError, ValueError) as error:  # ValueError: the name has a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be opened ({reason}): expected a file to read and write"
        ) from error
    uri = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?mode=rw"
    with errors_named(path):
        db = sqlite3.connect(
            uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        try:
            for setting in _SETTINGS:
                db.execute(f"PRAGMA {setting}")
            _make_or_recognise(db, path, model)
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
        raise RunError(
            f"{path}: {error}; check the disk, the permissions, and who else uses the file"
        ) from error
    except sqlite3.ProgrammingError as error:
        raise RunError(f"{path}: {str(error).rstrip('.')}; open it again") from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise RunError(
            f"{path} is damaged, or is not a database of voiceprints ({error}): restore a copy"
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
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() or ("",)
    if model is not None and found != model:
        raise UsageError(
            f"{path} has the voiceprints of another model ({found:.12}, expected {model:.12}): use "
            "the checkpoint that they were enrolled with, or enrol the users again in another file"
        )


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
