"""A connection to PostgreSQL: opened, with vectors as bytes, and with errors that name no
password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format
from psycopg.types import TypeInfo

from vprtrain.errors import RunError, UsageError, VprTrainError, cause
from vprtrain.voiceprints.postgres_url import shown_url

_HEAD = np.dtype([("dimension", ">i2"), ("unused", ">i2")])
_LOCK = 0x56505256
_MISSING_EXTENSION = (
    "the extension pgvector is missing: install it on the server, and let its administrator run "
    "CREATE EXTENSION vector in this database"
)


class Vector(bytes):
    """The float32 values, little-endian, of a value of pgvector's type."""


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Vector) -> Buffer:
        values = np.frombuffer(obj, "<f4")
        return np.array((len(values), 0), _HEAD).tobytes() + values.astype(">f4").tobytes()


class _VectorLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return np.frombuffer(bytes(data)[_HEAD.itemsize :], ">f4").astype("<f4").tobytes()


def connect(url: str, *, timeout: float) -> psycopg.Connection[Any]:
    """An open connection without implicit transactions, which finds vprtrain's tables first.

    Raises:
        UsageError: the URL is not valid, or the database has no pgvector.
        psycopg.Error: the server refuses.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without the cause: libpq quotes the part that is wrong, which may be the password.
        raise UsageError(
            f"{shown_url(url)} is not a valid URL: expected postgresql://USER@HOST/DATABASE, with "
            "special characters as %XX"
        ) from None
    db = psycopg.connect(url, autocommit=True, connect_timeout=max(2, round(timeout)))
    try:
        _prepare(db, shown_url(url), timeout)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: psycopg.Connection[Any], place: str, timeout: float) -> None:
    schema = _schema_of_extension(db)
    if schema is None:
        try:
            with making(db):
                db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise UsageError(f"{place}: {_MISSING_EXTENSION} ({cause(error)})") from error
        schema = _schema_of_extension(db)
    assert schema is not None
    path = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, ("vprtrain", schema)))
    db.execute(psycopg.sql.SQL("SET search_path = {}").format(path))
    db.execute(f"SET lock_timeout = {max(1, round(1000 * timeout))}")
    db.execute("SET synchronous_commit = on")  # a committed change survives a crash
    vector = TypeInfo.fetch(db, "vector")
    assert vector is not None
    vector.register(db)
    dumper = type("_VectorDumper", (_VectorDumper,), {"oid": vector.oid})
    db.adapters.register_dumper(Vector, dumper)
    db.adapters.register_loader(vector.oid, _VectorLoader)


def _schema_of_extension(db: psycopg.Connection[Any]) -> str | None:
    found = db.execute(
        "SELECT nspname FROM pg_extension JOIN pg_namespace ON extnamespace = pg_namespace.oid "
        "WHERE extname = 'vector'"
    ).fetchone()
    return found and str(found[0])


@contextmanager
def making(db: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction that makes parts of the database, of one process at a time."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        yield


@contextmanager
def errors_named(url: str) -> Iterator[None]:
    """A context that turns PostgreSQL's errors, and those of rows that are not voiceprints, into a
    :class:`RunError` with the URL, both without the password."""
    place = shown_url(url)
    try:
        yield
    except VprTrainError:
        raise
    except psycopg.errors.LockNotAvailable as error:
        raise RunError(f"{place} is locked by another process: try again") from error
    except psycopg.Error as error:
        raise RunError(f"{place}: {cause(error)}; check the server and the permissions") from error
    except ValueError as error:
        raise RunError(
            f"{place} is damaged, or its rows are not voiceprints ({cause(error)}): restore a copy"
        ) from error
