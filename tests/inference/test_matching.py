"""Comparisons by a back end: in pairs, with a database, in a stream, from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_checkpoint import voice, write_checkpoint

from vprtrain import Predictor
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.vad.options import SpeechOptions
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.inference import Matcher, ThresholdEstimate, Voice, write_calibrated
from vprtrain.scoring import COSINE, Backend, Calibration, IndexPairs, Voices
from vprtrain.scoring.cosine import cosine
from vprtrain.voiceprints import Voiceprints

RATE, USERS, DIMENSION = 16000, 5, 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "epoch_1", threshold=None)


@pytest.fixture(scope="module")
def backend(checkpoint: Path) -> Backend:
    """AS-norm by the voices of other speakers, calibrated so that the seconds matter."""
    predictor = Predictor(checkpoint)
    labels = np.repeat(np.arange(10, 22), 3)
    embeddings = [
        predictor.embed((voice(speaker, take), RATE))
        for speaker, take in zip(labels.tolist(), [0, 1, 2] * 12, strict=True)
    ]
    weights = {"score": 2.0, "duration_min": 0.5}
    fitted = Backend.fit("as-norm", np.stack(embeddings), labels, top=5)
    assert fitted.cohort is not None
    return Backend(cohort=fitted.cohort, top=5, quality=Calibration(weights=weights, bias=-1.0))


@pytest.fixture(scope="module")
def calibrated(
    checkpoint: Path, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The checkpoint with this back end, and a threshold that no cosine reaches."""
    out = tmp_path_factory.mktemp("calibrated") / "model"
    write_calibrated(
        open_checkpoint(checkpoint), estimate(1.5), out, speech=SpeechOptions(), backend=backend
    )
    return out


def estimate(threshold: float) -> ThresholdEstimate:
    rates = dict.fromkeys(("eer", "min_dcf", "false_accept_rate", "miss_rate"), 0.1)
    counts = dict.fromkeys(("target_trials", "nontarget_trials", "speakers", "recordings"), 9)
    calibration = Calibration(weights={"score": 1.0}, bias=0.0)
    return ThresholdEstimate(
        threshold=threshold, backend="as-norm", calibration=calibration, **rates, **counts
    )


def expected_score(backend: Backend, a: Voice, b: Voice) -> float:
    one, other = (Voices.of(each.embedding[None], ["x"], [each.seconds]) for each in (a, b))
    return float(backend.score(IndexPairs.one_test(1), one, other)[0])


@pytest.fixture
def predictor(calibrated: Path, tmp_path: Path) -> Iterator[Predictor]:
    opened = Predictor(calibrated, tmp_path / "people.db")
    for user in range(USERS):
        opened.register((voice(user, 0, seconds=2.0), RATE), f"user {user}")
    yield opened
    opened.close()


def test_every_comparison_is_by_the_back_end_of_the_checkpoint(
    predictor: Predictor, backend: Backend
) -> None:
    short, long = ((voice(1, 5, seconds=seconds), RATE) for seconds in (0.7, 3.0))
    a, b = predictor.voice(short), predictor.voice(long)
    assert (a.seconds, b.seconds) == (0.7, 3.0)
    assert predictor.contrast(short, long) == pytest.approx(expected_score(backend, a, b))
    assert predictor.threshold == 1.5

    scores = {
        user: expected_score(backend, Voice(predictor.voiceprints.voiceprint(user)), b)
        for user in predictor.get_users()
    }
    best = max(scores, key=scores.__getitem__)
    user, score = predictor.recognize(long)
    assert score == pytest.approx(scores[best], abs=1e-5)
    assert user == (best if score >= 1.5 else None)
    assert predictor.recognize(long, threshold=score + 0.01)[0] is None
    assert predictor.recognize(long, threshold=score - 0.01)[0] == best
    for name, value in scores.items():
        assert predictor.matcher.verify(b, name) == pytest.approx(value, abs=1e-5)


def test_a_stream_decides_by_it_too(predictor: Predictor) -> None:
    window = voice(2, 7, seconds=1.5)
    (decision,) = [
        each
        for each in predictor.stream(window=1.5, hop=1.5, threshold=-50.0).feed(window)
        if each.score is not None
    ]
    user, score = predictor.recognize((window, RATE), threshold=-50.0)
    assert (decision.user, decision.score) == (user, pytest.approx(score, abs=1e-4))
    with pytest.raises(UsageError, match="expected a number"):
        predictor.stream(threshold=float("nan"))


def test_the_plain_cosine_keeps_every_bit(checkpoint: Path, tmp_path: Path) -> None:
    predictor = Predictor(checkpoint, tmp_path / "people.db")
    for user in range(USERS):
        predictor.register((voice(user), RATE), f"user {user}")
    probe = predictor.voice((voice(3, 1), RATE))
    assert predictor.matcher.nearest(probe, threshold=0.1) == predictor.voiceprints.nearest(
        probe.embedding, threshold=0.1
    )
    other = predictor.voice((voice(4, 1), RATE))
    assert predictor.matcher.score(probe, other, "ab") == cosine(
        probe.embedding, other.embedding, "ab"
    )
    with pytest.raises(UsageError, match="expected -1 to 1, as scores are cosines"):
        predictor.matcher.checked_threshold(1.5)


def test_a_large_database_is_searched_by_cosines_first(backend: Backend, tmp_path: Path) -> None:
    voiceprints = Voiceprints(tmp_path / "many.db", model="x")
    rng = np.random.default_rng(0)
    for user in range(200):
        voiceprints.add(f"user {user}", rng.normal(size=DIMENSION).astype(np.float32))
    found = Matcher(backend, voiceprints).nearest(Voice(np.ones(DIMENSION)), threshold=-99)
    nearby = voiceprints.nearby(np.ones(DIMENSION), 64)
    best = max(
        (expected_score(backend, Voice(each.voiceprint), Voice(np.ones(DIMENSION))), each.user)
        for each in nearby
    )
    assert found == (best[1], pytest.approx(best[0], rel=1e-4))  # the cohort is float32
    empty = Voiceprints(tmp_path / "empty.db", model="x")
    assert Matcher(backend, empty).nearest(Voice(np.ones(DIMENSION)), threshold=-9) == (None, -1)
    with pytest.raises(UsageError, match="there is no database"):
        Matcher(backend).nearest(Voice(np.ones(DIMENSION)), threshold=0)


def test_a_back_end_of_another_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    other = Backend.fit("as-norm", rng.normal(size=(9, 3)), np.arange(9) // 2, top=3)
    out = tmp_path / "other"
    write_calibrated(
        open_checkpoint(checkpoint), estimate(0.5), out, speech=SpeechOptions(), backend=other
    )
    with pytest.raises(
        CheckpointError, match="for embeddings of 3 values, but the model's have 16"
    ):
        Predictor(out)


def test_calibrating_again_with_the_cosine_takes_it_away(calibrated: Path, tmp_path: Path) -> None:
    saved, out = open_checkpoint(calibrated), tmp_path / "plain"
    assert saved.state.extra["backend"]["kind"] == "as-norm" and saved.has("backend.npz")
    write_calibrated(saved, estimate(0.5), out, speech=SpeechOptions(), backend=COSINE)
    plain = open_checkpoint(out)
    assert "backend" not in plain.state.extra and not plain.has("backend.npz")
    assert Predictor(out).matcher.backend.is_cosine
