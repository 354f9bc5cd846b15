"""The report on an evaluation: ``report.json`` for programs, ``report.html`` and pictures for
people."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.errors import RunError
from vprtrain.files import write_atomic
from vprtrain.scoring.bootstrap import ConfidenceInterval, ConfidenceIntervals
from vprtrain.scoring.metrics import OperatingPoint
from vprtrain.scoring.plots import det_plot, error_rates_plot, histogram_plot
from vprtrain.scoring.rating import Rating

HEADLINE_P_TARGET = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """One way of scoring the trials, and what came of it."""

    name: str
    scores: np.ndarray
    """float64 ``[trials]``"""
    targets: np.ndarray
    """bool ``[trials]``"""
    rating: Rating
    notes: Mapping[str, Any]
    """JSON values that go with it: trials that were dropped, say"""

    intervals: ConfidenceIntervals | None = None
    """Of ``eer`` and ``min_dcf``, where they were asked for"""

    @property
    def metrics(self) -> dict[str, float]:
        """``eer``, ``min_dcf`` (p = 0.01) and ``threshold``, as a validation during training gives
        them."""
        rating = self.rating
        return {
            "eer": rating.eer,
            "min_dcf": rating.min_dcf[HEADLINE_P_TARGET].cost,
            "threshold": rating.threshold,
        }

    @property
    def summary(self) -> str:
        """The metrics for a person, in a line."""
        eer, min_dcf, threshold = self.metrics.values()
        costs = None if self.intervals is None else self.intervals.min_dcf[HEADLINE_P_TARGET]
        return (
            f"eer {eer:.2%}{_bracketed(self.intervals and self.intervals.eer, '.2%')}, "
            f"min_dcf {min_dcf:.4f}{_bracketed(costs, '.4f')}, threshold {threshold:.4f}"
        )


def write_report(
    folder: Path, *, title: str, facts: Mapping[str, Any], results: Sequence[EvaluationResult]
) -> None:
    """Write ``report.json``, ``report.html`` and the pictures; what was there is replaced, file by
    file.

    Args:
        folder: made where it is not there.
        title: the page's heading.
        facts: JSON values that say what was evaluated.
        results: the first one is the headline.

    Raises:
        RunError: a file could not be written.
    """
    rates = {result.name: result.rating for result in results}
    pictures = {
        "det.png": det_plot(
            {name: rating.points for name, rating in rates.items()},
            {name: rating.eer for name, rating in rates.items()},
        )
    }
    for result in results:
        rating, name = result.rating, file_name(result.name)
        pictures[f"scores_{name}.png"] = histogram_plot(
            result.scores, result.targets, rating.threshold
        )
        pictures[f"error_rates_{name}.png"] = error_rates_plot(rating.points, rating.threshold)
    content = {
        **facts,
        **results[0].metrics,
        "results": {result.name: _as_json(result) for result in results},
    }
    files = {
        **pictures,
        "report.json": (
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode(),
        "report.html": _page(title, facts, results, pictures).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_atomic(folder / name, data)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error}): make room, or give another --out"
        ) from error


def _as_json(result: EvaluationResult) -> dict[str, Any]:
    rating = result.rating
    return {
        **result.metrics,
        "convex_hull_eer": rating.convex_hull_eer,
        "target_trials": rating.points.targets,
        "nontarget_trials": rating.points.nontargets,
        "min_dcf_at": {
            f"{p:g}": {"min_dcf": cost.cost, **_operating_point(cost.at)}
            for p, cost in rating.min_dcf.items()
        },
        "at_false_accept_rate": {
            f"{r:g}": _operating_point(at) for r, at in rating.at_false_accept_rate.items()
        },
        **(
            {}
            if result.intervals is None
            else {"intervals_95": _intervals_as_json(result.intervals)}
        ),
        **result.notes,
    }


def _intervals_as_json(intervals: ConfidenceIntervals) -> dict[str, Any]:
    return {
        "eer": list(intervals.eer),
        "min_dcf_at": {f"{p:g}": list(interval) for p, interval in intervals.min_dcf.items()},
        "speakers": intervals.speakers,
        "replicates": intervals.replicates,
    }


def _bracketed(interval: ConfidenceInterval | None, form: str) -> str:
    return "" if interval is None else f" [{interval.low:{form}}, {interval.high:{form}}]"


def _operating_point(operation: OperatingPoint) -> dict[str, float]:
    return dict(operation._asdict())


def file_name(name: str) -> str:
    """A result's name as part of a file's."""
    return "".join(character if character.isalnum() else "_" for character in name)


# The page: nothing outside of it is asked for, and a browser is told to refuse it if it were.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ text-align: left; padding: 0.25em 0.8em; border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def _page(
    title: str,
    facts: Mapping[str, Any],
    results: Sequence[EvaluationResult],
    pictures: Mapping[str, bytes],
) -> str:
    images = (
        f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>\n'
        for name, data in pictures.items()
    )
    return "".join(
        (
            _HEAD.format(title=html.escape(title)),
            _results_table(results),
            *images,
            "<h2>What was evaluated</h2>\n",
            _facts_table(facts),
            *(
                part
                for result in results
                if result.notes
                for part in (_heading(result.name), _facts_table(result.notes))
            ),
            "</body>\n</html>\n",
        )
    )


def _results_table(results: Sequence[EvaluationResult]) -> str:
    rows: dict[str, list[str]] = {"": [result.name for result in results]}
    for result in results:
        rating = result.rating
        values = {
            "EER": f"{rating.eer:.3%}{_bracketed(result.intervals and result.intervals.eer, '.3%')}",
            "EER of the convex hull": f"{rating.convex_hull_eer:.3%}",
            "threshold at the EER": f"{rating.threshold:.4f}",
            **{
                f"minDCF, p = {p:g}": f"{cost.cost:.4f}"
                + _bracketed(result.intervals and result.intervals.min_dcf[p], ".4f")
                for p, cost in rating.min_dcf.items()
            },
            **{
                f"threshold at this minDCF, p = {p:g}": f"{c.at.threshold:.4f}"
                for p, c in rating.min_dcf.items()
            },
            **{
                f"misses at {share:.1%} false accepts": f"{at.miss_rate:.3%} (threshold {at.threshold:.4f})"
                for share, at in rating.at_false_accept_rate.items()
            },
            "target trials": f"{rating.points.targets:,}",
            "non-target trials": f"{rating.points.nontargets:,}",
        }
        for label, value in values.items():
            rows.setdefault(label, []).append(value)
    return _table(
        f"<tr><th>{html.escape(label)}</th>"
        + "".join(f'<td class="number">{html.escape(value)}</td>' for value in values)
        + "</tr>\n"
        for label, values in rows.items()
    )


def _facts_table(facts: Mapping[str, Any]) -> str:
    return _table(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(_as_text(value))}</td></tr>\n"
        for name, value in facts.items()
    )


def _table(rows: Any) -> str:
    return f"<table>\n{''.join(rows)}</table>\n"


def _heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>\n"


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
