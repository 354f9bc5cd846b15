from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.errors import RunError, UsageError
from vprtrain.scoring.calibrate import (
    Calibration,
    Quality,
    build_features,
    duration_quality,
    fit_calibration,
    magnitude_quality,
)
from vprtrain.scoring.likelihood import actual_dcf, cllr, min_cllr
from vprtrain.scoring.metrics import compute_eer, compute_min_dcf
from vprtrain.scoring.thresholds import operating_points
from vprtrain.scoring.trials import Trials


def normal_scores(
    rng: np.random.Generator, targets: int, nontargets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``x`` with the log-likelihood ratio ``2 x``, and their labels."""
    labels = np.repeat([True, False], [targets, nontargets])
    return rng.normal(size=len(labels)) + np.where(labels, 1, -1), labels


@settings(deadline=None, max_examples=15)
@given(
    p_target=st.floats(0.05, 0.95),
    slope=st.floats(0.1, 10),
    offset=st.floats(-5, 5),
    targets=st.integers(2000, 6000),
)
def test_the_fit_gives_log_likelihood_ratios_at_any_scale_and_proportion(
    p_target: float, slope: float, offset: float, targets: int
) -> None:
    scores, labels = normal_scores(np.random.default_rng(0), targets, 8000)
    calibration = fit_calibration({"score": slope * scores + offset}, labels, p_target=p_target)
    assert calibration.apply({"score": slope * np.linspace(-2, 2, 9) + offset}) == pytest.approx(
        2 * np.linspace(-2, 2, 9), abs=0.5
    )


def test_calibrated_scores_cost_hardly_more_than_the_lowest_cost() -> None:
    rng = np.random.default_rng(0)
    scores, labels = normal_scores(rng, 4000, 40_000)
    calibration = fit_calibration({"score": 30 * scores + 7}, labels)
    fresh, same = normal_scores(rng, 4000, 40_000)
    llrs = calibration.apply({"score": 30 * fresh + 7})
    assert (
        cllr(llrs, same)
        < 1.03 * min_cllr(operating_points(llrs, same))
        < 0.2 * cllr(30 * fresh + 7, same)
    )
    assert actual_dcf(llrs, same, 0.05) < 1.1 * compute_min_dcf(llrs, same, 0.05)


def test_quality_measures_help_if_short_recordings_have_other_scores() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(20_000) < 0.3
    places = np.arange(len(labels), dtype=np.int32)
    trials = Trials(enroll_ids=(), test_ids=(), enroll=places, test=places, targets=labels)
    seconds = rng.uniform(1, 30, size=(2, len(labels)))
    quality = duration_quality(*seconds)
    shift = np.minimum(quality.enrolled, quality.tested)
    scores = rng.normal(size=len(labels)) + 2.5 * labels + 2 * shift
    features = build_features(scores, trials, {"duration": quality})
    assert set(features) == {"score", "duration_min", "duration_max"}
    llrs = fit_calibration(features, labels).apply(features)
    assert compute_eer(llrs, labels)[0] < 0.8 * compute_eer(scores, labels)[0]


def test_features_prefer_neither_side() -> None:
    first, second = np.array([0], dtype=np.int32), np.array([1], dtype=np.int32)
    trials = Trials(
        enroll_ids=("a", "b"),
        test_ids=("a", "b"),
        enroll=first,
        test=second,
        targets=np.array([True]),
    )
    turned = Trials(
        enroll_ids=("a", "b"),
        test_ids=("a", "b"),
        enroll=second,
        test=first,
        targets=np.array([True]),
    )
    vectors = np.array([[3.0, 4.0], [6.0, 8.0]])
    qualities = {
        "magnitude": magnitude_quality(vectors, vectors),
        "duration": duration_quality([1.0, 60.0], [1.0, 60.0]),
        "cohort": Quality(enrolled=np.array([0.1, 0.2]), tested=np.array([0.1, 0.2])),
    }
    features = build_features([0.5], trials, qualities)
    assert features == build_features([0.5], turned, qualities)
    assert features["magnitude_min"] == [5] and features["magnitude_max"] == [10]
    assert features["duration_max"] == [np.log(20)]


def test_separable_classes_stay_finite() -> None:
    calibration = fit_calibration({"score": np.array([0.0, 0.1, 0.9, 1.0])}, [0, 0, 1, 1])
    assert np.all(np.diff(calibration.apply({"score": np.linspace(0, 1, 5)})) > 0)
    assert np.all(np.isfinite(calibration.apply({"score": np.linspace(0, 1, 5)})))


def test_a_saved_calibration_is_read_back(tmp_path: Path) -> None:
    scores, labels = normal_scores(np.random.default_rng(0), 50, 50)
    calibration = fit_calibration({"score": scores}, labels)
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration
    assert set(json.loads((tmp_path / "calibration.json").read_text())) == {"weights", "bias"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"weights": 1, "bias": 0}',
        '{"weights": {"score": null}, "bias": 0}',
        '{"bias": 0}',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UsageError, match=r"c\.json is not a calibration"):
        Calibration.load(tmp_path / "c.json")
    (tmp_path / "c.json").write_text('{"weights": {"score": NaN}, "bias": 0}')
    with pytest.raises(UsageError, match="not finite"):
        Calibration.load(tmp_path / "c.json")


def test_useless_features_are_refused() -> None:
    with pytest.raises(RunError, match="constant or not finite: magnitude_min"):
        fit_calibration({"score": np.arange(4.0), "magnitude_min": np.ones(4)}, [0, 1, 0, 1])
    with pytest.raises(RunError, match="trials of both kinds"):
        fit_calibration({"score": np.arange(4.0)}, [1, 1, 1, 1])
    with pytest.raises(RunError, match=r"the calibration has the features \['score'\]"):
        Calibration(weights={"score": 1.0}, bias=0.0).apply(
            {"score": np.ones(2), "more": np.ones(2)}
        )
