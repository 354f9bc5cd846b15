"""One row of benchmarks/scoring.py: prints time, peak of memory and result as a JSON object.

    python scoring_ours.py ROW

The time does not include making the random embeddings. The memory includes the embeddings.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from vprtrain.scoring.cosine import score_trials
from vprtrain.scoring.metrics import equal_error_rate, min_cost
from vprtrain.scoring.normalize import Cohort, cohort_statistics
from vprtrain.scoring.thresholds import operating_points
from vprtrain.scoring.trials import Trials

DIMENSION = 192
NOISE = 2.0
"""The deviation within a speaker, as a multiple of that between speakers. The EER is about that of
a good model."""

Row = Callable[[], str]


def embeddings(rng: np.random.Generator, speakers: np.ndarray) -> np.ndarray:
    """Random embeddings of utterances by these speakers, float32 ``[utterances, DIMENSION]``."""
    voices = rng.standard_normal((speakers.max() + 1, DIMENSION), dtype=np.float32)
    made = NOISE * rng.standard_normal((len(speakers), DIMENSION), dtype=np.float32)
    for start in range(0, len(made), 4096):
        made[start : start + 4096] += voices[speakers[start : start + 4096]]
    return made


def scoring_row(trials: Trials, vectors: dict[str, np.ndarray]) -> Row:
    def row() -> str:
        points = operating_points(score_trials(trials, vectors), trials.targets)
        return f"EER {equal_error_rate(points)[0]:.4%}, minDCF {min_cost(points).cost:.4f}"

    return row


def every_pair(enrolments: np.ndarray, tests: np.ndarray) -> Row:
    """All pairs of enrolments and test utterances, which are given by their speakers."""
    rng = np.random.default_rng(0)
    made = embeddings(rng, np.concatenate([enrolments, tests]))
    names = [
        *(f"e{index}" for index in range(len(enrolments))),
        *(f"t{index}" for index in range(len(tests))),
    ]
    trials = Trials(
        enroll_ids=tuple(names[: len(enrolments)]),
        test_ids=tuple(names[len(enrolments) :]),
        enroll=np.repeat(np.arange(len(enrolments), dtype=np.int32), len(tests)),
        test=np.tile(np.arange(len(tests), dtype=np.int32), len(enrolments)),
        targets=np.equal.outer(enrolments, tests).ravel(),
    )
    return scoring_row(trials, dict(zip(names, made, strict=True)))


def peer() -> Row:
    """The case of ppvector: 1,000 enrolments and 5,000 test utterances of 250 speakers."""
    return every_pair(np.arange(1000) % 250, np.arange(5000) % 250)


def cnceleb() -> Row:
    """All 3,484,292 pairs of 196 enrolments and 17,777 test utterances."""
    return every_pair(np.arange(196), np.arange(17777) % 200)


def voxceleb_hard() -> Row:
    """As many trials as Vox1-H: 550,894 of 137,924 utterances by 1,190 speakers, half targets."""
    rng = np.random.default_rng(0)
    count, utterances, speakers = 550_894, 137_924, 1190
    speaker = np.arange(utterances) % speakers
    # Every utterance is in a trial. The test utterance of a target trial is a multiple of
    # ``speakers`` further on, so it has the same speaker.
    enroll = rng.permutation(np.resize(np.arange(utterances), count)).astype(np.int32)
    test = (
        (enroll + speakers * rng.integers(1, utterances // speakers, count)) % utterances
    ).astype(np.int32)
    test[::2] = rng.integers(utterances, size=len(test[::2]), dtype=np.int32)
    names = tuple(f"id{number % speakers:05}/video/{number:06}.wav" for number in range(utterances))
    trials = Trials(
        enroll_ids=names,
        test_ids=names,
        enroll=enroll,
        test=test,
        targets=speaker[enroll] == speaker[test],
    )
    return scoring_row(trials, dict(zip(names, embeddings(rng, speaker), strict=True)))


def as_norm() -> Row:
    """The top 300 of 5,994 cohort speakers for each of 150,000 embeddings."""
    rng = np.random.default_rng(0)
    unit = [embeddings(rng, np.arange(size)) for size in (150_000, 5_994)]
    for vectors in unit:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cohort = Cohort(unit[1], np.zeros(DIMENSION))

    def row() -> str:
        statistics = cohort_statistics(unit[0], cohort)
        mean, deviation = statistics.mean.mean(), statistics.std.mean()
        return f"mean {mean:.4f}, deviation {deviation:.4f} of the cohort's top"

    return row


ROWS = {make.__name__: make for make in (peer, cnceleb, voxceleb_hard, as_norm)}


def main() -> None:
    row = ROWS[sys.argv[1]]()
    cpu, wall = time.process_time(), time.perf_counter()
    result = row()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak, "result": result}))


if __name__ == "__main__":
    main()
