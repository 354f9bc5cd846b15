"""The tables of a database file, of this version and of the one before.

A removal overwrites rows in place and never deletes one. SQLite then moves no row to another page,
where a copy of it would stay behind: rows are added at the end of a table, which moves none, and
every new value of a row has the length of the old one. For this there is no index of the names,
whose entries would move. :class:`vprtrain.voiceprints.gallery.Gallery` finds names, or a scan of
``users``, whose rows are small.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache

import numpy as np

from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.rows import voiceprints_of

APPLICATION_ID = 0x56505256
VERSION = 2
LIVE = "(name < x'' OR name <> zeroblob(length(name)))"
"""The condition for a user who is not erased: the name of one who is, is a blob of zeros. Every
text is less than every blob, so that the first half is enough for the others."""
REWRITE = "rewrite"
"""The key in ``meta`` of a file in which rows were deleted. Until it is rewritten, copies of rows
may be anywhere in it."""

_USERS = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
    "code BLOB NOT NULL)",
    "CREATE TABLE voiceprints (user INTEGER PRIMARY KEY REFERENCES users (id), "
    "voiceprint BLOB NOT NULL)",
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES users (id), "
    "embedding BLOB NOT NULL, enrolled_at TEXT NOT NULL, purpose TEXT NOT NULL)",
    "CREATE INDEX recordings_of_user ON recordings (user)",
)
_COMMON = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # The users whose voiceprint was changed or removed, in order. A process reads this table to see
    # the changes of other processes.
    "CREATE TABLE changes (change INTEGER PRIMARY KEY, user INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_VERSION_1 = (
    *_COMMON,
    "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
    "voiceprint BLOB NOT NULL)",
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES users (id), "
    "embedding BLOB NOT NULL, "
    "enrolled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))",
    "CREATE INDEX recordings_of_user ON recordings (user)",
    "PRAGMA user_version = 1",
)
_VERSION_2 = (*_COMMON, *_USERS, f"PRAGMA user_version = {VERSION}")
_SCHEMAS = {1: _VERSION_1, VERSION: _VERSION_2}
VERSIONS = tuple(_SCHEMAS)

_FROM_VERSION_1 = (
    "DROP INDEX recordings_of_user",
    "ALTER TABLE recordings RENAME TO old_recordings",
    "ALTER TABLE users RENAME TO old_users",
    *_USERS,
    "INSERT INTO users SELECT id, name, code_of(voiceprint) FROM old_users ORDER BY id",
    "INSERT INTO voiceprints SELECT id, voiceprint FROM old_users ORDER BY id",
    "INSERT INTO recordings SELECT id, user, embedding, enrolled_at, '' FROM old_recordings "
    "ORDER BY id",
    "DROP TABLE old_recordings",
    "DROP TABLE old_users",
    f"INSERT OR REPLACE INTO meta VALUES ('{REWRITE}', '')",
    f"PRAGMA user_version = {VERSION}",
)
_VIEWS_OF_VERSION_1 = (
    "CREATE TEMP VIEW users AS SELECT id, name, code_of(voiceprint) AS code FROM main.users",
    "CREATE TEMP VIEW voiceprints AS SELECT id AS user, voiceprint FROM main.users",
    "CREATE TEMP VIEW recordings AS SELECT id, user, embedding, enrolled_at, '' AS purpose "
    "FROM main.recordings",
)


def make_tables(db: sqlite3.Connection) -> None:
    """Make the tables of a new file, in a transaction."""
    for statement in _VERSION_2:
        db.execute(statement)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables of version 1 to this version, in a transaction. The file must then be
    rewritten, because rows are moved."""
    db.create_function("code_of", 1, _code_of, deterministic=True)
    for statement in _FROM_VERSION_1:
        db.execute(statement)


def read_as_version_2(db: sqlite3.Connection) -> None:
    """Let the queries of this version read a file of version 1 that cannot be written."""
    db.create_function("code_of", 1, _code_of, deterministic=True)
    for statement in _VIEWS_OF_VERSION_1:
        db.execute(statement)


@cache
def expected_tables(version: int) -> frozenset[tuple[object, ...]]:
    """The rows of :func:`tables` in a new file of a version, as this SQLite describes them."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in _SCHEMAS[version]:
            fresh.execute(statement)
        return frozenset(tables(fresh, limit=100))


def tables(db: sqlite3.Connection, limit: int) -> list[tuple[object, ...]]:
    """The tables, indexes, views and triggers of a file."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?"
    return db.execute(query, (limit,)).fetchall()


def _code_of(voiceprint: object) -> bytes:
    """The code of a voiceprint in a row; an empty one, which is refused where it is read, if the
    row does not hold a voiceprint."""
    try:
        dimension = len(voiceprint) // 4 if isinstance(voiceprint, bytes) else 0
        vectors = voiceprints_of([("", voiceprint)], dimension)
    except ValueError:
        return b""
    return encode(vectors.astype(np.float32)).tobytes()
