"""The same with ppvector 1.0.2: its predictor without a model, with users of one recording each."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ppvector.predict import PPVectorPredictor

_RATE = 16000


def retrieval(*, users: int, dimension: int) -> Callable[[], float]:
    predictor, embeddings = _filled(users, dimension)
    return lambda: predictor._PPVectorPredictor__retrieval([embeddings[users // 2]])[0][1]


def enrolment(*, users: int, dimension: int) -> Callable[[], float]:
    predictor, embeddings = _filled(users, dimension)
    predictor.predict = lambda **_: embeddings[0]
    second = np.random.default_rng(0).uniform(-0.1, 0.1, _RATE).astype("float32")
    numbers = itertools.count()

    def step() -> float:
        predictor.register(second, f"new {next(numbers)}", sample_rate=_RATE)
        return 1.0

    return step


def _filled(users: int, dimension: int) -> tuple[PPVectorPredictor, np.ndarray]:
    folder = Path(tempfile.mkdtemp(prefix="voiceprints_"))
    atexit.register(shutil.rmtree, folder)
    predictor = PPVectorPredictor.__new__(PPVectorPredictor)
    predictor.cdd_num, predictor.threshold = 5, 0.6
    predictor.audio_db_path = str(folder)
    predictor.audio_indexes_path = str(folder / "audio_indexes.bin")
    embeddings = np.random.default_rng(0).standard_normal((users, dimension), "float32")
    predictor.audio_feature = embeddings.copy()
    predictor.users_name = [f"user {number}" for number in range(users)]
    predictor.users_audio_path = [f"{folder}/user {number}/0.wav" for number in range(users)]
    return predictor, embeddings
