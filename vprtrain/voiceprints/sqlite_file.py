"""The SQLite file of a database of voiceprints: making, recognising and refusing it, and SQLite's
errors with the path."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from vprtrain.voiceprints.sqlite_schema import (
    APPLICATION_ID,
    REWRITE,
    VERSION,
    VERSIONS,
    expected_tables,
    make_tables,
    migrate,
    read_as_version_2,
    tables,
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

log = logging.getLogger(__name__)


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
            version = _make_or_recognise(db, path, model)
            if can_write:
                _use_write_ahead_log(db, path, time.monotonic() + timeout)
                _bring_up_to_date(db, path)
            elif version != VERSION:
                read_as_version_2(db)
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


def finish_rewrite(db: sqlite3.Connection) -> None:
    """Write the whole file anew, without what was deleted, if rows were deleted since it was
    written: by this process, or by one that has not done it yet or was killed."""
    if db.execute("SELECT 1 FROM meta WHERE key = ?", (REWRITE,)).fetchone():
        db.execute("VACUUM")
        db.execute("DELETE FROM meta WHERE key = ?", (REWRITE,))


def _bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    """Migrate a file of an older version, and finish a rewrite that was interrupted."""
    if _version(db) != VERSION:
        log.info("%s: its tables are brought from version 1 to %d", path, VERSION)
        db.execute("BEGIN IMMEDIATE")
        if _version(db) != VERSION:  # checked again: another process may have been first
            migrate(db)
        db.execute("COMMIT")
    finish_rewrite(db)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _make_or_recognise(db: sqlite3.Connection, path: Path, model: str | None) -> int:
    """The version of the file."""
    if model is not None and _is_blank(db):
        db.execute("BEGIN EXCLUSIVE")
        if _is_blank(db):  # checked again: another process may have been first
            make_tables(db)
            db.execute("INSERT INTO meta VALUES ('model', ?)", (model,))
        db.execute("COMMIT")
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise UsageError(f"{path} is not a database of voiceprints: give another file")
    version = _version(db)
    if version not in VERSIONS:
        raise UsageError(
            f"{path} has version {version}, expected {VERSION}: use the vprtrain that wrote it"
        )
    _require_tables(db, path, version)
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone() or ("",)
    if model is not None and found != model:
        raise UsageError(
            f"{path} has the voiceprints of another model ({shown(found, 14)}, expected "
            f"{shown(model, 14)}): use the checkpoint that they were enrolled with, or enrol the "
            "users again in another file"
        )
    return version


def _require_tables(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Refuse a file with other tables, or with anything that SQLite would run: a view may take for
    ever, and a trigger may keep what is removed.

    Raises:
        UsageError: the schema is not exactly that of a new file.
    """
    expected = expected_tables(version)
    found = tables(db, limit=len(expected) + 1)
    if set(found) != expected or len(found) != len(expected):
        other = [f"{row[0]} {row[1]}" for row in found if row not in expected]
        raise UsageError(
            f"{path} is not a database that vprtrain made (it has other tables, views or triggers: "
            f"{shown(other)}): do not use it"
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
