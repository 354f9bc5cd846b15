"""The SQLite file of a database of voiceprints: made, recognised or refused, and its errors in
words."""

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
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, voiceprint BLOB NOT NULL)",
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES users (id), "
    "embedding BLOB NOT NULL, enrolled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))",
    "CREATE INDEX recordings_of_user ON recordings (user)",
    # Whose voiceprint was changed or removed, in order: what a process reads to keep up with the
    # others.
    "CREATE TABLE changes (change INTEGER PRIMARY KEY, user INTEGER NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_SETTINGS = (
    "secure_delete = ON",  # what is deleted is overwritten
    "temp_store = MEMORY",  # nor is it written to a temporary file
    "synchronous = FULL",  # what was committed outlives a power cut
    "foreign_keys = ON",
    "trusted_schema = OFF",  # the file may come from a stranger
)


def open_database(path: Path, *, model: str | None, timeout: float) -> sqlite3.Connection:
    """A connection for any thread, without implicit transactions; arguments and errors as of
    ``Voiceprints``."""
    if model is None and not path.exists():
        raise UsageError(
            f"{path} is not there: enrol somebody first, or name the file that has the users"
        )
    try:
        os.close(os.open(path, os.O_RDWR | (0 if model is None else os.O_CREAT), 0o600))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
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
    """SQLite's errors, and what rows that are no voiceprints lead to, as a :class:`RunError` with
    the path."""
    try:
        yield
    except VprTrainError:
        raise
    except sqlite3.OperationalError as error:
        raise RunError(
            f"{path}: {error}; look at the disk, the permissions, and who else uses the file"
        ) from error
    except sqlite3.ProgrammingError as error:
        raise RunError(f"{path}: {str(error).rstrip('.')}; open it anew") from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise RunError(
            f"{path} is damaged, or no database of voiceprints ({error}): restore a copy"
        ) from error


def _make_or_recognise(db: sqlite3.Connection, path: Path, model: str | None) -> None:
    if model is not None and _is_blank(db):
        db.execute("BEGIN EXCLUSIVE")
        if _is_blank(db):  # still: another process may have been first
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES ('model', ?)", (model,))
        db.execute("COMMIT")
    (application,), (version,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application != _APPLICATION_ID:
        raise UsageError(f"{path} is no database of voiceprints: name another file")
    if version != _VERSION:
        raise UsageError(
            f"{path} is of version {version}, expected {_VERSION}: use the vprtrain that wrote it"
        )
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() or ("",)
    if model is not None and found != model:
        raise UsageError(
            f"{path} has the voiceprints of another model ({found:.12}, this is {model:.12}): use the checkpoint that "
            "they were enrolled with, or enrol anew into another file"
        )


def _is_blank(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _use_write_ahead_log(db: sqlite3.Connection, path: Path, deadline: float) -> None:
    while True:
        # two that switch a new file over at once: here SQLite does not wait
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise UsageError(
            f"{path}: no write-ahead log is possible there ({mode}): put it on a local disk"
        )
