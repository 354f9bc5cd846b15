"""vprtrain's database of voiceprints, with users of one recording each."""

from __future__ import annotations

import atexit
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vprtrain.voiceprints import Voiceprints, mean_voiceprint

_MODEL = "benchmark"


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
        for number, embedding in enumerate(embeddings, 1):
            values = (number, f"user {number - 1}", mean_voiceprint([embedding], "").tobytes())
            db.execute("INSERT INTO users (id, name, voiceprint) VALUES (?, ?, ?)", values)
            db.execute(
                "INSERT INTO recordings (user, embedding) VALUES (?, ?)",
                (number, embedding.tobytes()),
            )
            db.execute("INSERT INTO changes (user) VALUES (?)", (number,))
    db.close()
    return path, embeddings
