"""The page of a report: HTML without a reference to anything outside the file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vprtrain.errors import printable
from vprtrain.scoring.bootstrap import bracketed
from vprtrain.scoring.by_condition import NOTE, ByCondition
from vprtrain.scoring.evaluation_result import EvaluationResult

# The policy tells a browser to load nothing; the images are in the page as data.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ text-align: left; padding: 0.25em 0.8em; border-bottom: 1px solid #ddd; }}
th, td {{ overflow-wrap: anywhere; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""
_IMAGE = '<p><img alt="{name}" src="data:image/png;base64,{data}"></p>\n'


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
    parts = [_HEAD.format(title=_escaped(title)), _heading("Results"), _results_table(results)]
    for result in results:
        if result.by_condition is not None:
            parts += [_heading(f"{result.name}, by {result.by_condition.by}")]
            parts += [_conditions_table(result.by_condition)]
    for name, data in plots.items():
        parts.append(_IMAGE.format(name=_escaped(name), data=base64.b64encode(data).decode()))
    parts += [_heading("What was evaluated"), _facts_table(facts)]
    for result in results:
        if result.notes:
            parts += [_heading(result.name), _facts_table(result.notes)]
    return "".join([*parts, "</body>\n</html>\n"])


def _results_table(results: Sequence[EvaluationResult]) -> str:
    """One column for each result."""
    rows: dict[str, list[str]] = {"": [result.name for result in results]}
    for result in results:
        for label, value in _result_values(result).items():
            rows.setdefault(label, []).append(value)
    return _table(
        f"<tr><th>{_escaped(label)}</th>"
        + "".join(f'<td class="number">{_escaped(value)}</td>' for value in values)
        + "</tr>\n"
        for label, values in rows.items()
    )


def _conditions_table(found: ByCondition) -> str:
    """One row for each condition."""
    header, *rows = found.table()
    lines = ["<tr>" + "".join(f"<th>{_escaped(cell)}</th>" for cell in header) + "</tr>\n"]
    for name, *cells in rows:
        numbers = "".join(f'<td class="number">{_escaped(cell)}</td>' for cell in cells)
        lines.append(f"<tr><th>{_escaped(name)}</th>{numbers}</tr>\n")
    return _table(lines) + f"<p>{_escaped(NOTE)}</p>\n"


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


def _facts_table(facts: Mapping[str, Any]) -> str:
    """A row for each fact that is not ``None``."""
    return _table(
        f"<tr><th>{_escaped(name.replace('_', ' '))}</th>"
        f"<td>{_escaped(_as_text(value))}</td></tr>\n"
        for name, value in facts.items()
        if value is not None
    )


def _table(rows: Iterable[str]) -> str:
    return f"<table>\n{''.join(rows)}</table>\n"


def _heading(text: str) -> str:
    return f"<h2>{_escaped(text)}</h2>\n"


def _escaped(text: str) -> str:
    """Text of strangers as a part of the page: no markup, and nothing that hides or reorders."""
    return html.escape(printable(text))


def _as_text(value: Any) -> str:
    """A JSON value for people; a class is its name and its arguments."""
    match value:
        case {"class_path": str(path), "init_args": Mapping() as arguments}:
            return f"{path} ({_as_text(arguments)})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_as_text(each)}" for name, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
