"""The page of a report on an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vprtrain.scoring.bootstrap import bracketed
from vprtrain.scoring.by_condition import NOTE, ByCondition
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.html_page import (
    facts_table,
    heading,
    html_page,
    image,
    numbers_table,
    paragraph,
)


def report_page(
    title: str,
    facts: Mapping[str, Any],
    results: Sequence[EvaluationResult],
    plots: Mapping[str, bytes],
) -> str:
    """The page as text; arguments as in :func:`vprtrain.scoring.report.write_report`.

    Args:
        plots: PNG files by name.
    """
    parts = [heading("Results"), _results_table(results)]
    for result in results:
        if result.by_condition is not None:
            parts += [heading(f"{result.name}, by {result.by_condition.by}")]
            parts += [_conditions_table(result.by_condition)]
    parts += [image(name, data) for name, data in plots.items()]
    parts += [heading("What was evaluated"), facts_table(facts)]
    for result in results:
        if result.notes:
            parts += [heading(result.name), facts_table(result.notes)]
    return html_page(title, parts)


def _results_table(results: Sequence[EvaluationResult]) -> str:
    """One column for each result."""
    rows: dict[str, list[str]] = {"": [result.name for result in results]}
    for result in results:
        for label, value in _result_values(result).items():
            rows.setdefault(label, []).append(value)
    return numbers_table([label, *values] for label, values in rows.items())


def _conditions_table(found: ByCondition) -> str:
    """One row for each condition."""
    header, *rows = found.table()
    return numbers_table(rows, header) + paragraph(NOTE)


def _result_values(result: EvaluationResult) -> dict[str, str]:
    rating, intervals = result.rating, result.intervals
    values = {
        "EER": f"{rating.eer:.3%}{bracketed(intervals and intervals.eer, '.3%')}",
        "EER of the convex hull": f"{rating.convex_hull_eer:.3%}",
        "threshold at the EER": f"{rating.threshold:.4f}",
    }
    for p_target, cost in rating.min_dcf.items():
        interval = intervals and intervals.min_dcf[p_target]
        values[f"minDCF, p = {p_target:g}"] = f"{cost.cost:.4f}{bracketed(interval, '.4f')}"
    for p_target, cost in rating.min_dcf.items():
        values[f"threshold at this minDCF, p = {p_target:g}"] = f"{cost.at.threshold:.4f}"
    for rate, point in rating.at_false_accept_rate.items():
        values[f"misses at {rate:.1%} false accepts"] = (
            f"{point.miss_rate:.3%} (threshold {point.threshold:.4f})"
        )
    values["speakers"] = f"{result.speakers:,}"
    values["recordings"] = f"{result.recordings:,}"
    values["target trials"] = f"{rating.points.targets:,}"
    values["non-target trials"] = f"{rating.points.nontargets:,}"
    return values
