"""An exact search among voiceprints in PostgreSQL and one with an HNSW index, side by side.

    python benchmarks/voiceprints_postgres.py --url postgresql://USER@HOST/DATABASE
        [--users 1000000] [--queries 200]

The database must be empty; it is filled with random voiceprints, the hardest ones for an index,
because all are about equally far from each other. A query is an enrolled voiceprint with so much
noise that its cosine is about 0.7, or a stranger. Recall@1 is the share of queries for which the
index finds the user that the exact search finds. The exact search is that of ``Voiceprints``, with
codes in memory; "pgvector, exact" is that of the server, without an index. Times are medians.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import psycopg

from vprtrain.voiceprints import Voiceprints
from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.postgres_connection import Vector, connect

MODEL = "benchmark"
_AT_ONCE = 10_000


def fill(url: str, vectors: np.ndarray) -> None:
    """One recording a user, with COPY: a million transactions would take an hour."""
    Voiceprints(url, model=MODEL).close()
    with connect(url, timeout=30) as db, db.transaction():
        found = db.execute("SELECT id FROM users LIMIT 1").fetchone()
        if found is not None:
            raise SystemExit("the database has users: give an empty one")
        for start in range(0, len(vectors), _AT_ONCE):
            block = vectors[start : start + _AT_ONCE]
            ids = range(start + 1, start + len(block) + 1)  # those that PostgreSQL gives
            names = [f"user {key}" for key in ids]
            codes = [record.tobytes() for record in encode(block)]
            blobs = [vector.tobytes() for vector in block]
            times, purposes = (itertools.repeat(text) for text in ("2026-11-27T20:15:00Z", ""))
            copy_rows(db, "users (name, code)", "text bytea", names, codes)
            copy_rows(db, "voiceprints", "int8 vector", ids, map(Vector, blobs))
            columns = "recordings (user_id, embedding, enrolled_at, purpose)"
            copy_rows(db, columns, "int8 bytea text text", ids, blobs, times, purposes)
        db.execute("INSERT INTO changes (user_id) VALUES (1)")
    with connect(url, timeout=30) as db:
        db.execute("VACUUM ANALYZE")


def copy_rows(db: psycopg.Connection, columns: str, types: str, *values: Iterable[object]) -> None:
    with db.cursor().copy(f"COPY {columns} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types.split())
        for row in zip(*values, strict=False):
            copy.write_row(row)


def timed(
    step: Callable[[np.ndarray], str | None], probes: np.ndarray
) -> tuple[list[str | None], float, float]:
    """What each query found, the median and the 95th percentile of the milliseconds."""
    found, took = [], []
    for probe in probes:
        began = time.perf_counter()
        found.append(step(probe))
        took.append(1000 * (time.perf_counter() - began))
    return found, statistics.median(took), float(np.percentile(took, 95))


def agreement(found: list[str | None], expected: list[str | None]) -> float:
    return float(np.mean([a == b for a, b in zip(found, expected, strict=False)]))


def report(kind: str, search: str, times: list[float], recall: float | None = None) -> None:
    line = f"{kind:22} {search:20} {times[0]:8.1f} ms, 95 %: {times[1]:8.1f} ms"
    print(line if recall is None else f"{line}, recall@1: {recall:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--url", required=True, help="of an empty PostgreSQL database with pgvector"
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=192)
    parser.add_argument("--queries", type=int, default=200, help="of each kind")
    parser.add_argument("--build_memory", default="2GB", help="maintenance_work_mem for the index")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((options.users, options.dimension), "float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.perf_counter()
    fill(options.url, vectors)
    print(f"{options.users:,} users were copied in {time.perf_counter() - began:.0f} s", flush=True)
    chosen = vectors[rng.integers(options.users, size=options.queries)]
    noise = rng.standard_normal(chosen.shape, "float32") / np.float32(options.dimension**0.5)
    queries = {"enrolled, cosine 0.7": chosen + noise, "strangers": noise}
    del vectors

    began = time.perf_counter()
    exact = Voiceprints(options.url, model=MODEL, search_memory=1 << 60)
    exact.nearest(noise[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"opening for exact searches: {time.perf_counter() - began:.1f} s", flush=True)
    server = connect(options.url, timeout=30)

    def scan(probe: np.ndarray) -> str | None:
        query = (
            "SELECT name FROM users JOIN (SELECT user_id FROM voiceprints "
            "ORDER BY voiceprint <#> %s LIMIT 1) AS nearest ON user_id = id"
        )
        return server.execute(query, (Vector(probe.tobytes()),)).fetchone()[0]

    expected = {}
    for kind, probes in queries.items():
        expected[kind], *times = timed(lambda probe: exact.nearest(probe)[0], probes)
        report(kind, "Voiceprints, exact", times)
        found, *times = timed(scan, probes[:20])
        report(kind, "pgvector, exact", times, agreement(found, expected[kind]))
    exact.close()
    began = time.perf_counter()
    server.execute(f"ALTER SYSTEM SET maintenance_work_mem = '{options.build_memory}'")
    server.execute("SELECT pg_reload_conf()")
    indexed = Voiceprints(options.url, model=MODEL, search_memory=0)
    print(f"the index was made in {time.perf_counter() - began:.0f} s", flush=True)
    for kind, probes in queries.items():
        timed(lambda probe: indexed.nearest(probe)[0], probes)  # reads the index into the cache
        found, *times = timed(lambda probe: indexed.nearest(probe)[0], probes)
        report(kind, "HNSW", times, agreement(found, expected[kind]))
    print(f"peak memory of this process: {peak / 1024:.0f} MB")


if __name__ == "__main__":
    main()
