"""An exact search among voiceprints in PostgreSQL and one with an HNSW index, side by side.

    python benchmarks/voiceprints_postgres.py --url postgresql://USER@HOST/DATABASE
        [--like EMBEDDINGS.npz] [--users 1000000] [--queries 200]
        [--m 16] [--ef_construction 64] [--ef_search 40 400]

The database must be empty. It is filled with made-up speakers, of one recording each: drawn as the
embeddings in a file lie (``vprtrain embed --list``, with ids SPEAKER/RECORDING), or in random
directions, which is the worst case of an index. Queries are other recordings of enrolled speakers,
and recordings of strangers. Recall@1 is the share of queries for which a search finds the user that
the exact search finds. "Voiceprints, exact" has the codes in memory; "pgvector, exact" is the
server without an index; "Voiceprints, HNSW" takes the exact cosines of what the index finds. Times
are medians of the clock, with the client's CPU time beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psycopg
from drawn_voices import Voices

from vprtrain.voiceprints import Voiceprints
from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.postgres_connection import Vector, connect

MODEL = "benchmark"
_AT_ONCE = 10_000
_NEAREST = (
    "SELECT name FROM users JOIN (SELECT user_id FROM voiceprints "
    "ORDER BY {} <#> %s LIMIT 1) AS nearest ON user_id = id"
)


def fill(url: str, voices: Voices, users: int, queries: int) -> dict[str, np.ndarray]:
    """Enrol speakers with COPY, because a million transactions would take an hour, and without
    their recordings, which no search reads. Gives the queries by their kind."""
    Voiceprints(url, model=MODEL).close()
    rng = np.random.default_rng(0)
    chosen = rng.permutation(users)[:queries]
    others = []
    with connect(url, timeout=30) as db, db.transaction():
        if db.execute("SELECT id FROM users LIMIT 1").fetchone() is not None:
            raise SystemExit("the database has users: give an empty one")
        for start in range(0, users, _AT_ONCE):
            speakers = voices.speakers(min(_AT_ONCE, users - start), rng)
            enrolled = voices.recordings(speakers, rng)
            copy_block(db, enrolled, start + 1)
            here = chosen[(chosen >= start) & (chosen < start + len(speakers))]
            others.append(voices.recordings(speakers[here - start], rng))
        db.execute("INSERT INTO changes (user_id) VALUES (1)")
    with connect(url, timeout=30) as db:
        db.execute("VACUUM ANALYZE")
    strangers = voices.recordings(voices.speakers(queries, rng), rng)
    return {"enrolled": np.concatenate(others), "strangers": strangers}


def copy_block(db: psycopg.Connection, vectors: np.ndarray, first: int) -> None:
    ids = range(first, first + len(vectors))  # those that PostgreSQL gives
    codes = [record.tobytes() for record in encode(vectors)]
    copy_rows(db, "users (name, code)", "text bytea", [f"user {key}" for key in ids], codes)
    blobs = (Vector(vector.tobytes()) for vector in vectors)
    copy_rows(db, "voiceprints", "int8 vector", ids, blobs)


def copy_rows(db: psycopg.Connection, columns: str, types: str, *values: Iterable[object]) -> None:
    with db.cursor().copy(f"COPY {columns} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types.split())
        for row in zip(*values, strict=True):
            copy.write_row(row)


def timed(
    step: Callable[[np.ndarray], str | None], probes: np.ndarray
) -> tuple[list[str | None], tuple[float, float, float]]:
    """What each query found; the median, the 95th percentile and the mean CPU time of this process,
    in milliseconds."""
    found, took = [], []
    cpu = time.process_time()
    for probe in probes:
        began = time.perf_counter()
        found.append(step(probe))
        took.append(1000 * (time.perf_counter() - began))
    cpu = 1000 * (time.process_time() - cpu) / len(probes)
    return found, (statistics.median(took), float(np.percentile(took, 95)), cpu)


def report(
    search: str,
    step: Callable[[np.ndarray], str | None],
    queries: dict[str, np.ndarray],
    expected: dict[str, list[str | None]],
    most: int | None = None,
) -> None:
    """Run a search, once before it is timed, and print what it found."""
    for kind, probes in queries.items():
        timed(step, probes[:most])
        found, (median, slow, cpu) = timed(step, probes[:most])
        truth = expected.setdefault(kind, found)
        recall = np.mean([a == b for a, b in zip(found, truth, strict=False)])
        print(
            f"{kind:10} {search:28} {median:8.1f} ms, 95 %: {slow:8.1f} ms, CPU {cpu:6.1f} ms, "
            f"recall@1: {recall:.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--url", required=True, help="of an empty PostgreSQL database with pgvector"
    )
    parser.add_argument("--like", type=Path, help="an .npz of embeddings of real speakers")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=192, help="of random directions")
    parser.add_argument("--queries", type=int, default=200, help="of each kind")
    parser.add_argument("--m", type=int, help="HNSW's m; without it, that of vprtrain")
    parser.add_argument("--ef_construction", type=int, help="HNSW's ef_construction, the same")
    parser.add_argument("--ef_search", type=int, nargs="*", default=[], help="also tried")
    parser.add_argument("--build_memory", default="2GB", help="maintenance_work_mem for the index")
    options = parser.parse_args()
    voices = Voices.like(options.like) if options.like else Voices.random(options.dimension)
    began = time.perf_counter()
    queries = fill(options.url, voices, options.users, options.queries)
    print(f"{options.users:,} users were copied in {time.perf_counter() - began:.0f} s", flush=True)
    expected: dict[str, list[str | None]] = {}
    server = connect(options.url, timeout=30)

    def on_server(probe: np.ndarray, column: str = "voiceprint") -> str | None:
        found = server.execute(_NEAREST.format(column), (Vector(probe.tobytes()),)).fetchone()
        return found and found[0]

    exact = Voiceprints(options.url, model=MODEL, search_memory=1 << 60)
    report("Voiceprints, exact", lambda probe: exact.nearest(probe)[0], queries, expected)
    exact.close()
    report("pgvector, exact", on_server, queries, expected, most=10)

    began = time.perf_counter()
    version = server.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    server.execute(f"ALTER SYSTEM SET maintenance_work_mem = '{options.build_memory}'")
    server.execute("SELECT pg_reload_conf()")
    dimension = queries["enrolled"].shape[1]
    given = [
        f"{name} = {getattr(options, name)}"
        for name in ("m", "ef_construction")
        if getattr(options, name)
    ]
    if given:
        server.execute(
            f"CREATE INDEX voiceprints_nearby ON voiceprints USING hnsw "
            f"((voiceprint::vector({dimension})) vector_ip_ops) WITH ({', '.join(given)})"
        )
    indexed = Voiceprints(options.url, model=MODEL, search_memory=0)
    size = server.execute("SELECT pg_size_pretty(pg_relation_size('voiceprints_nearby'))")
    print(
        f"pgvector {version.fetchone()[0]}: the index ({', '.join(given) or 'vprtrain'}) was made "
        f"in {time.perf_counter() - began:.0f} s, {size.fetchone()[0]}",
        flush=True,
    )
    server.execute("SET enable_seqscan = off")
    column = f"(voiceprint::vector({dimension}))"
    for length in options.ef_search:
        server.execute(f"SET hnsw.ef_search = {length}")
        search = f"pgvector, ef_search = {length}"
        report(search, lambda probe: on_server(probe, column), queries, expected)
    report("Voiceprints, HNSW", lambda probe: indexed.nearest(probe)[0], queries, expected)


if __name__ == "__main__":
    main()
