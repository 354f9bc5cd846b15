"""A database of voiceprints in PostgreSQL, with the extension pgvector."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import psycopg

from vprtrain.errors import RunError
from vprtrain.voiceprints.postgres_connection import Vector, connect, errors_named
from vprtrain.voiceprints.postgres_schema import make_index, make_or_recognise, memory_of_codes
from vprtrain.voiceprints.postgres_url import shown_url
from vprtrain.voiceprints.store import CodeBlock, CodeRow, RecordingRow

_ROWS_AT_ONCE = 2000
_LIST_LENGTH = 4000
"""How many voiceprints a search with the index finds. Half of them take half the time, and miss
more users (docs/benchmarks). Before pgvector 0.8 an index finds ef_search at most."""
_INDEX_SETTINGS = """
    SET LOCAL enable_seqscan = off;
    SET LOCAL hnsw.ef_search = 1000;  -- the most that pgvector takes
"""
_ITERATIVE_SETTINGS = """
    SET LOCAL hnsw.iterative_scan = relaxed_order;  -- beyond ef_search
    SET LOCAL hnsw.max_scan_tuples = 1000000;  -- the length of the list ends a scan, not these
    SET LOCAL hnsw.scan_mem_multiplier = 8
"""
_NEARBY = """
    WITH near AS MATERIALIZED (
        SELECT user_id, ({column}) <#> %s AS distance
        FROM voiceprints ORDER BY distance LIMIT {length}
    )
    SELECT user_id FROM near ORDER BY distance LIMIT {count}
"""
_HAS_ITERATIVE_SCANS = """
    SELECT string_to_array(extversion, '.')::int[] >= '{0,8}' FROM pg_extension
    WHERE extname = 'vector'
"""
_CHANGED = """
    SELECT changed.user_id, users.name, users.code
    FROM (SELECT DISTINCT user_id FROM changes WHERE change > %s) AS changed
    LEFT JOIN users ON users.id = changed.user_id
"""
_COUNTS = """
    SELECT name, count(*), max(enrolled_at) FROM users JOIN recordings ON user_id = users.id
    GROUP BY users.id ORDER BY name
"""

log = logging.getLogger(__name__)


class PostgresStore:
    """The rows of a PostgreSQL database. See :class:`vprtrain.voiceprints.store.Store`.

    After a lost connection the next transaction opens a new one.

    Args:
        url: ``postgresql://USER@HOST/DATABASE``, as libpq reads it.
        model, timeout, search_memory: those of :class:`vprtrain.voiceprints.Voiceprints`.
    """

    def __init__(self, url: str, *, model: str | None, timeout: float, search_memory: int) -> None:
        self._url, self._model, self._timeout = url, model, timeout
        self._search_memory = search_memory
        self.place = shown_url(url)
        self.times_opened = 0
        self._closed = False
        self._open()

    def _open(self) -> None:
        with errors_named(self._url):
            self._db = connect(self._url, timeout=self._timeout)
            try:
                make_or_recognise(self._db, self.place, self._model)
                self._index_settings = _INDEX_SETTINGS
                self._is_indexed = memory_of_codes(self._db) > self._search_memory
                if self._is_indexed:
                    log.info(
                        "%s: the codes do not fit in memory: searches are approximate", self.place
                    )
                    make_index(self._db)
                    if self._number(_HAS_ITERATIVE_SCANS):
                        self._index_settings += _ITERATIVE_SETTINGS
            except BaseException:
                self._db.close()
                raise
        self.times_opened += 1

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[None]:
        with errors_named(self._url):
            self._begin(write)
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if not self._db.closed:
                    self._db.execute("ROLLBACK")
                raise

    def _begin(self, write: bool) -> None:
        if self._closed:
            raise RunError(f"{self.place} is closed; open it again")
        # The lock lets other transactions read, but puts those that write one after the other.
        statement = (
            "BEGIN READ WRITE; LOCK TABLE changes IN EXCLUSIVE MODE"
            if write
            else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        try:
            self._db.execute(statement)
        except psycopg.Error:
            if not self._db.closed:
                self._db.execute("ROLLBACK")
                raise
            self._open()  # the server was restarted, or ended the connection
            self._db.execute(statement)

    def model(self) -> object:
        found = self._db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone()
        return found and found[0]

    def newest_change(self) -> int:
        return self._number("SELECT coalesce(max(change), 0) FROM changes")

    def count(self) -> int:
        return self._number("SELECT count(*) FROM users")

    def codes(self) -> Iterator[list[CodeRow]]:
        return self._code_rows("SELECT id, name, code FROM users ORDER BY id")

    def code_blocks(self) -> Iterator[CodeBlock]:
        return (CodeBlock(*zip(*rows, strict=True)) for rows in self.codes())

    def changed_codes(self, since: int) -> Iterator[list[CodeRow]]:
        return self._code_rows(_CHANGED, since)

    def some_code(self) -> object:
        found = self._db.execute("SELECT code FROM users LIMIT 1").fetchone()
        return found and found[0]

    def find(self, name: str) -> int | None:
        found = self._db.execute("SELECT id FROM users WHERE name = %s", (name,)).fetchone()
        return found and found[0]

    def voiceprints(self, users: Sequence[int]) -> list[tuple[int, object, object]]:
        query = (
            "SELECT users.id, name, voiceprint FROM users JOIN voiceprints ON user_id = users.id "
            "WHERE users.id = ANY(%s)"
        )
        return self._db.execute(query, (list(users),), binary=True).fetchall()

    def recordings(self, user: int) -> list[RecordingRow]:
        query = (
            "SELECT embedding, enrolled_at, purpose FROM recordings WHERE user_id = %s ORDER BY id"
        )
        return [RecordingRow(*row) for row in self._db.execute(query, (user,), binary=True)]

    def counts(self) -> Iterator[tuple[object, object, object]]:
        return iter(self._db.execute(_COUNTS))

    def insert(self, name: str, code: bytes, voiceprint: bytes) -> int:
        user = self._number(
            "INSERT INTO users (name, code) VALUES (%s, %s) RETURNING id", name, code
        )
        self._db.execute("INSERT INTO voiceprints VALUES (%s, %s)", (user, Vector(voiceprint)))
        return user

    def replace(self, user: int, code: bytes, voiceprint: bytes) -> None:
        self._db.execute("UPDATE users SET code = %s WHERE id = %s", (code, user))
        self._db.execute(
            "UPDATE voiceprints SET voiceprint = %s WHERE user_id = %s", (Vector(voiceprint), user)
        )

    def record(self, user: int, recordings: Sequence[RecordingRow]) -> None:
        self._db.cursor().executemany(
            "INSERT INTO recordings (user_id, embedding, enrolled_at, purpose) "
            "VALUES (%s, %s, %s, %s)",
            [(user, *row) for row in recordings],
        )

    def erase(self, user: int) -> None:
        self._db.execute("DELETE FROM users WHERE id = %s", (user,))  # and what refers to it

    def note_change(self, user: int) -> None:
        self._db.execute("INSERT INTO changes (user_id) VALUES (%s)", (user,))

    def problems(self) -> list[str]:
        """Nothing: PostgreSQL keeps keys and references right by itself."""
        return []

    def scrub(self, name: str) -> None:
        """Nothing: what PostgreSQL's files and log hold is its administrator's."""

    def compact(self) -> None:
        with errors_named(self._url):
            self._db.execute("VACUUM FULL ANALYZE users")
            self._db.execute("VACUUM FULL ANALYZE voiceprints")
            self._db.execute("VACUUM FULL ANALYZE recordings")

    def nearby(self, vector: np.ndarray, count: int) -> list[int] | None:
        if not self._is_indexed:
            return None
        self._db.execute(self._index_settings)
        column = f"voiceprint::vector({len(vector)})"
        length = max(count, _LIST_LENGTH)
        query = _NEARBY.format(column=column, length=length, count=count)
        probe = Vector(vector.astype("<f4").tobytes())
        return [row[0] for row in self._db.execute(query, (probe,))]

    def close(self) -> None:
        self._closed = True
        self._db.close()

    def _number(self, query: str, *values: object) -> int:
        found = self._db.execute(query, values).fetchone()
        assert found is not None
        return int(found[0])

    def _code_rows(self, query: str, *values: object) -> Iterator[list[CodeRow]]:
        with self._db.cursor("codes", binary=True) as cursor:  # a cursor of the server
            cursor.execute(query, values)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield rows
