"""The tables of a PostgreSQL database of voiceprints, in the schema ``vprtrain``."""

from __future__ import annotations

from typing import Any

import psycopg

from vprtrain.errors import UsageError, shown
from vprtrain.voiceprints.codes import dimension_of
from vprtrain.voiceprints.postgres_connection import making

_VERSION = "1"
_TABLES = """
    CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        code bytea NOT NULL
    );
    CREATE TABLE voiceprints (
        user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
        voiceprint vector NOT NULL
    );
    CREATE TABLE recordings (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        embedding bytea NOT NULL,
        enrolled_at text COLLATE "C" NOT NULL,
        purpose text NOT NULL
    );
    CREATE INDEX recordings_of_user ON recordings (user_id);
    -- The users whose voiceprint was changed or removed, in the order of the commits. A process
    -- reads this table to see the changes of other processes.
    CREATE TABLE changes (
        change bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id bigint NOT NULL
    );
"""
_BYTES_BESIDE_CODE = 32


def make_or_recognise(db: psycopg.Connection[Any], place: str, model: str | None) -> None:
    """Make the tables, with a model and if there are none, and check whose they are.

    Raises:
        UsageError: there are none and ``model`` is ``None``, or they are of another version or
            model.
    """
    if model is not None and not _exist(db):
        with making(db):
            if not _exist(db):  # checked again: another process may have been first
                db.execute("CREATE SCHEMA IF NOT EXISTS vprtrain")
                db.execute(_TABLES)
                values = [("version", _VERSION), ("model", model)]
                db.cursor().executemany("INSERT INTO meta VALUES (%s, %s)", values)
    if not _exist(db):
        raise UsageError(
            f"{place} has no voiceprints: enrol a user first, or give the database that has the "
            "users"
        )
    found = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if found.get("version") != _VERSION:
        raise UsageError(
            f"{place} has version {shown(found.get('version'))}, expected {_VERSION}: use the "
            "vprtrain that wrote it"
        )
    if model is not None and found.get("model") != model:
        raise UsageError(
            f"{place} has the voiceprints of another model ({shown(found.get('model'), 14)}, "
            f"expected {shown(model, 14)}): use the checkpoint that they were enrolled with, or "
            "enrol the users again in another database"
        )


def memory_of_codes(db: psycopg.Connection[Any]) -> int:
    """The bytes of memory that an exact search of all voiceprints needs."""
    return _one(db, "SELECT count(*) FROM users") * (_dimension(db) + _BYTES_BESIDE_CODE)


def make_index(db: psycopg.Connection[Any]) -> None:
    """Make the HNSW index of the voiceprints, if there is none, which takes minutes for millions.
    Until then no process can enrol."""
    db.execute(
        "CREATE INDEX IF NOT EXISTS voiceprints_nearby ON voiceprints "
        f"USING hnsw ((voiceprint::vector({_dimension(db)})) vector_ip_ops)"
    )


def _exist(db: psycopg.Connection[Any]) -> bool:
    # Not to_regclass, whose cache may not have what another process has just made.
    query = (
        "SELECT 1 FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid "
        "WHERE nspname = 'vprtrain' AND relname = 'meta'"
    )
    return db.execute(query).fetchone() is not None


def _dimension(db: psycopg.Connection[Any]) -> int:
    found = db.execute("SELECT code FROM users LIMIT 1").fetchone()
    return max(1, dimension_of(found[0])) if found else 1


def _one(db: psycopg.Connection[Any], query: str) -> int:
    found = db.execute(query).fetchone()
    assert found is not None
    return int(found[0])
