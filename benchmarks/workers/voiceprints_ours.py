"""vprtrain's database of voiceprints, with users of one recording each: of this version, or of the
version with one table for names and voiceprints."""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from vprtrain.voiceprints import Voiceprints, mean_voiceprint

try:
    from vprtrain.voiceprints.codes import encode
except ImportError:  # the code before has no codes
    encode = None

_MODEL = "benchmark"
_AT_ONCE = 10_000


def retrieval(*, users: int, dimension: int) -> Callable[[], float]:
    voiceprints, probe = _opened(users, dimension)
    return lambda: voiceprints.nearest(probe)[1]


def enrolment(*, users: int, dimension: int) -> Callable[[], float]:
    voiceprints, probe = _opened(users, dimension)
    numbers = itertools.count()
    return lambda: voiceprints.add(f"new {next(numbers)}", probe)


def opening(*, users: int, dimension: int) -> Callable[[], float]:
    """Includes the first search, which reads all voiceprints."""
    path = _filled(users, dimension)
    probe = _probe(users, dimension)

    def step() -> float:
        voiceprints = Voiceprints(path, model=_MODEL)
        score = voiceprints.nearest(probe)[1]
        voiceprints.close()
        return score

    return step


def removal(*, users: int, dimension: int) -> Callable[[], float]:
    voiceprints, _ = _opened(users, dimension)
    numbers = itertools.count()
    return lambda: voiceprints.remove(f"user {next(numbers)}")


def _opened(users: int, dimension: int) -> tuple[Voiceprints, np.ndarray]:
    """A database that was searched once, and the embedding of one of its users."""
    voiceprints = Voiceprints(_filled(users, dimension), model=_MODEL)
    probe = _probe(users, dimension)
    voiceprints.nearest(probe)
    return voiceprints, probe


def _probe(users: int, dimension: int) -> np.ndarray:
    number = users // 2
    return _block(number // _AT_ONCE, dimension)[number % _AT_ONCE]


def _block(number: int, dimension: int) -> np.ndarray:
    """The embeddings of 10,000 users."""
    return np.random.default_rng(number).standard_normal((_AT_ONCE, dimension), "float32")


def _filled(users: int, dimension: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="voiceprints_"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "voiceprints.db"
    Voiceprints(path, model=_MODEL).close()
    # In a process of its own, whose memory is not counted.
    filler = multiprocessing.get_context("fork").Process(
        target=_fill, args=(path, users, dimension)
    )
    filler.start()
    filler.join()
    assert filler.exitcode == 0
    return path


def _fill(path: Path, users: int, dimension: int) -> None:
    # One transaction: a hundred thousand transactions would take minutes.
    with sqlite3.connect(path) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for start in range(0, users, _AT_ONCE):
            block = _block(start // _AT_ONCE, dimension)[: users - start]
            means = [mean_voiceprint([embedding], "") for embedding in block]
            ids = range(start + 1, start + len(block) + 1)
            names = [f"user {number}" for number in range(start, start + len(block))]
            blobs = [mean.tobytes() for mean in means]
            rows = [embedding.tobytes() for embedding in block]
            if version == 1:  # the code before
                _insert(db, "users (id, name, voiceprint)", ids, names, blobs)
                _insert(db, "recordings (user, embedding)", ids, rows)
            else:
                codes = [record.tobytes() for record in encode(np.stack(means))]
                _insert(db, "users (id, name, code)", ids, names, codes)
                _insert(db, "voiceprints (user, voiceprint)", ids, blobs)
                times, purposes = (itertools.repeat(text) for text in ("2026-11-27T20:15:00Z", ""))
                columns = "recordings (user, embedding, enrolled_at, purpose)"
                _insert(db, columns, ids, rows, times, purposes)
            _insert(db, "changes (user)", ids)
    db.close()


def _insert(db: sqlite3.Connection, columns: str, *values: Iterable[object]) -> None:
    marks = ", ".join("?" * len(values))
    db.executemany(f"INSERT INTO {columns} VALUES ({marks})", zip(*values, strict=False))
