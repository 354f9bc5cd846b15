"""All metrics of a list of scores, computed with a single sort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from vprtrain.scoring.metrics import (
    MinCost,
    convex_hull,
    equal_error_rate,
    min_cost,
    warn_if_swapped,
)
from vprtrain.scoring.thresholds import (
    OperatingPoint,
    OperatingPoints,
    at_false_accept_rate,
    operating_points,
)

P_TARGETS = (0.01, 0.05)
FALSE_ACCEPT_RATES = (0.01, 0.001)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rating:
    """All metrics of a list of scores. Rates and costs are fractions."""

    points: OperatingPoints
    eer: float
    threshold: float
    """The threshold of the EER."""
    convex_hull_eer: float
    min_dcf: Mapping[float, MinCost]
    """By target prior, for both costs 1."""
    at_false_accept_rate: Mapping[float, OperatingPoint]
    """By the highest allowed false accept rate."""


def rate(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    p_targets: Sequence[float] = P_TARGETS,
    false_accept_rates: Sequence[float] = FALSE_ACCEPT_RATES,
) -> Rating:
    """Compute all metrics of a list of scores.

    Errors and warnings are those of :func:`vprtrain.scoring.metrics.compute_eer`.

    Args:
        scores, labels: as in :func:`vprtrain.scoring.thresholds.operating_points`.
        p_targets: the target priors of minDCF.
        false_accept_rates: the rates for :attr:`Rating.at_false_accept_rate`.
    """
    points = operating_points(scores, labels)
    eer, threshold = equal_error_rate(points)
    warn_if_swapped(eer)
    return Rating(
        points=points,
        eer=eer,
        threshold=threshold,
        convex_hull_eer=equal_error_rate(convex_hull(points))[0],
        min_dcf={p_target: min_cost(points, p_target) for p_target in p_targets},
        at_false_accept_rate={
            highest: at_false_accept_rate(points, highest) for highest in false_accept_rates
        },
    )
