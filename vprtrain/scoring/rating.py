"""Everything that is said of a list of scores, found in one sorting of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from vprtrain.scoring.metrics import (
    MinCost,
    OperatingPoint,
    OperatingPoints,
    at_false_accept_rate,
    convex_hull,
    equal_error_rate,
    min_cost,
    operating_points,
    warn_if_swapped,
)

P_TARGETS = (0.01, 0.05)
FALSE_ACCEPT_RATES = (0.01, 0.001)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rating:
    """Rates and costs as fractions."""

    points: OperatingPoints
    eer: float
    threshold: float
    """at the EER"""
    convex_hull_eer: float
    min_dcf: Mapping[float, MinCost]
    """by target prior, both costs 1"""
    at_false_accept_rate: Mapping[float, OperatingPoint]
    """by the false accept rate that is asked for"""


def rate(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    p_targets: Sequence[float] = P_TARGETS,
    false_accept_rates: Sequence[float] = FALSE_ACCEPT_RATES,
) -> Rating:
    """Rate scores; arguments, errors and warnings as in
    :func:`vprtrain.scoring.metrics.compute_eer`."""
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
            share: at_false_accept_rate(points, share) for share in false_accept_rates
        },
    )
