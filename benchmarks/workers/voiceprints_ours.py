"""vprtrain's database of voiceprints, with users of one recording each: of this version, or of the
version with one table for names and voiceprints."""

from __future__ import annotations

import atexit
import itertools
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
    path, embeddings = _filled(users, dimension)
    voiceprints = Voiceprints(path, model=_MODEL)
    voiceprints.nearest(embeddings[0])
    return lambda: voiceprints.nearest(embeddings[users // 2])[1]


def enrolment(*, users: int, dimension: int) -> Callable[[], float]:
    path, embeddings = _filled(users, dimension)
    voiceprints = Voiceprints(path, model=_MODEL)
    voiceprints.nearest(embeddings[0])
    numbers = itertools.count()
    return lambda: voiceprints.add(f"new {next(numbers)}", embeddings[0])


def opening(*, users: int, dimension: int) -> Callable[[], float]:
    """Includes the first search, which reads all voiceprints."""
    path, embeddings = _filled(users, dimension)

    def step() -> float:
        voiceprints = Voiceprints(path, model=_MODEL)
        score = voiceprints.nearest(embeddings[users // 2])[1]
        voiceprints.close()
        return score

    return step


def removal(*, users: int, dimension: int) -> Callable[[], float]:
    path, embeddings = _filled(users, dimension)
    voiceprints = Voiceprints(path, model=_MODEL)
    voiceprints.nearest(embeddings[0])
    numbers = itertools.count()
    return lambda: voiceprints.remove(f"user {next(numbers)}")


def _filled(users: int, dimension: int) -> tuple[Path, np.ndarray]:
    folder = Path(tempfile.mkdtemp(prefix="voiceprints_"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "voiceprints.db"
    Voiceprints(path, model=_MODEL).close()
    embeddings = np.random.default_rng(0).standard_normal((users, dimension), "float32")
    # One transaction: a hundred thousand transactions would take minutes.
    with sqlite3.connect(path) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for start in range(0, users, _AT_ONCE):
            block = embeddings[start : start + _AT_ONCE]
            means = [mean_voiceprint([embedding], "") for embedding in block]
            columns = (
                range(start + 1, start + len(block) + 1),
                [f"user {number}" for number in range(start, start + len(block))],
                [mean.tobytes() for mean in means],
                [embedding.tobytes() for embedding in block],
            )
            if version == 1:  # the code before
                _insert(db, "users (id, name, voiceprint)", *columns[:3])
                _insert(db, "recordings (user, embedding)", columns[0], columns[3])
            else:
                codes = [record.tobytes() for record in encode(np.stack(means))]
                _insert(db, "users (id, name, code)", *columns[:2], codes)
                _insert(db, "voiceprints (user, voiceprint)", columns[0], columns[2])
                times, purposes = (itertools.repeat(text) for text in ("2026-11-27T20:15:00Z", ""))
                recordings = "recordings (user, embedding, enrolled_at, purpose)"
                _insert(db, recordings, columns[0], columns[3], times, purposes)
            _insert(db, "changes (user)", columns[0])
    db.close()
    return path, embeddings


def _insert(db: sqlite3.Connection, columns: str, *values: Iterable[object]) -> None:
    marks = ", ".join("?" * len(values))
    db.executemany(f"INSERT INTO {columns} VALUES ({marks})", zip(*values, strict=False))
