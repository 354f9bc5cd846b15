"""Metrics, trial lists, score normalisation, calibration, PLDA and reports, without Paddle.

The inputs are NumPy arrays and files. A system is scored in this order: :func:`read_trials`, then
:func:`score_trials` (cosines of embeddings) or :func:`read_scores` (from a file), optionally
:func:`normalize_scores` or a :class:`Calibration`, and :func:`rate` for all metrics.
"""

from vprtrain.scoring.backend import (
    COSINE,
    Backend,
    BackendKind,
    IndexPairs,
    QualityName,
    Voices,
)
from vprtrain.scoring.bootstrap import (
    ConfidenceInterval,
    ConfidenceIntervals,
    bootstrap_intervals,
    trial_speakers,
)
from vprtrain.scoring.by_condition import ByCondition, ConditionMetrics, rate_by_condition
from vprtrain.scoring.calibrate import (
    Calibration,
    Quality,
    build_features,
    duration_quality,
    fit_calibration,
    magnitude_quality,
)
from vprtrain.scoring.conditions import (
    Conditions,
    duration_conditions,
    genres,
    read_conditions,
    read_durations,
    side_seconds,
    trial_conditions,
    value_conditions,
)
from vprtrain.scoring.cosine import (
    Sides,
    dot_products,
    gather_sides,
    score_trials,
    unit_sides,
    unit_vectors,
)
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.likelihood import actual_dcf, cllr, min_cllr
from vprtrain.scoring.metrics import (
    MinCost,
    ScoringWarning,
    compute_eer,
    compute_min_dcf,
    convex_hull,
    det_points,
    effective_prior,
    equal_error_rate,
    min_cost,
)
from vprtrain.scoring.normalize import (
    Cohort,
    Norm,
    build_cohort,
    cohort_statistics,
    normalize_scores,
)
from vprtrain.scoring.plda import Plda
from vprtrain.scoring.plots import det_plot, error_rates_plot, histogram_plot
from vprtrain.scoring.rating import Rating, rate
from vprtrain.scoring.report import write_report
from vprtrain.scoring.score_file import ScoredTrials, read_scores, write_scores
from vprtrain.scoring.thresholds import (
    OperatingPoint,
    OperatingPoints,
    ScoringError,
    at_false_accept_rate,
    at_threshold,
    operating_points,
)
from vprtrain.scoring.trials import (
    Enrollment,
    Trials,
    UsableTrials,
    read_enrollment,
    read_trials,
    usable_trials,
)

__all__ = [
    "COSINE",
    "Backend",
    "BackendKind",
    "ByCondition",
    "Calibration",
    "Cohort",
    "ConditionMetrics",
    "Conditions",
    "ConfidenceInterval",
    "ConfidenceIntervals",
    "DiarizationErrors",
    "Enrollment",
    "EvaluationResult",
    "IndexPairs",
    "MinCost",
    "Norm",
    "OperatingPoint",
    "OperatingPoints",
    "Plda",
    "Quality",
    "QualityName",
    "Rating",
    "ScoredTrials",
    "ScoringError",
    "ScoringWarning",
    "Sides",
    "Trials",
    "UsableTrials",
    "Voices",
    "actual_dcf",
    "at_false_accept_rate",
    "at_threshold",
    "bootstrap_intervals",
    "build_cohort",
    "build_features",
    "cllr",
    "cohort_statistics",
    "compute_eer",
    "compute_min_dcf",
    "convex_hull",
    "det_plot",
    "det_points",
    "dot_products",
    "duration_conditions",
    "duration_quality",
    "effective_prior",
    "equal_error_rate",
    "error_rates_plot",
    "fit_calibration",
    "gather_sides",
    "genres",
    "histogram_plot",
    "magnitude_quality",
    "min_cllr",
    "min_cost",
    "normalize_scores",
    "operating_points",
    "rate",
    "rate_by_condition",
    "read_conditions",
    "read_durations",
    "read_enrollment",
    "read_scores",
    "read_trials",
    "score_diarization",
    "score_trials",
    "side_seconds",
    "trial_conditions",
    "trial_speakers",
    "unit_sides",
    "unit_vectors",
    "usable_trials",
    "value_conditions",
    "write_report",
    "write_scores",
]
