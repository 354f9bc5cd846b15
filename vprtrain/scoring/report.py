"""The report on an evaluation: ``report.json`` for programs, a page and plots for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vprtrain.errors import RunError
from vprtrain.files import write_atomic
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.plots import det_plot, error_rates_plot, histogram_plot
from vprtrain.scoring.report_page import report_page


def write_report(
    folder: Path, *, title: str, facts: Mapping[str, Any], results: Sequence[EvaluationResult]
) -> None:
    """Write the report by :func:`write_report_files`.

    Args:
        folder: made if it does not exist.
        title: the heading of the page.
        facts: JSON values that describe what was evaluated.
        results: the first one is the headline.

    Raises:
        RunError: a file could not be written.
    """
    plots = _plots(results)
    content = {
        **facts,
        **results[0].metrics,
        "results": {result.name: result.as_json() for result in results},
    }
    write_report_files(folder, content, report_page(title, facts, results, plots), plots)


def write_report_files(
    folder: Path, content: Mapping[str, Any], page: str, plots: Mapping[str, bytes]
) -> None:
    """Write the plots, ``report.json`` and ``report.html``. Earlier files are replaced one by one.

    Args:
        folder: made if it does not exist.
        content: of ``report.json``.
        page: of ``report.html``.
        plots: PNG files by name.

    Raises:
        RunError: a file could not be written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        **plots,
        # A surrogate, of a file name that is not UTF-8, becomes the same escape as in JSON.
        "report.json": text.encode(errors="backslashreplace"),
        "report.html": page.encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_atomic(folder / name, data)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error}): make room, or give another --out"
        ) from error


def file_name(name: str) -> str:
    """A result's name as part of a file name."""
    return "".join(character if character.isalnum() else "_" for character in name)


def _plots(results: Sequence[EvaluationResult]) -> dict[str, bytes]:
    """PNG files by name."""
    curves = {result.name: result.rating.points for result in results}
    plots = {"det.png": det_plot(curves, {result.name: result.rating.eer for result in results})}
    for result in results:
        threshold, name = result.rating.threshold, file_name(result.name)
        plots[f"scores_{name}.png"] = histogram_plot(
            result.scores, result.targets, threshold, title=f"Scores: {result.name}"
        )
        plots[f"error_rates_{name}.png"] = error_rates_plot(
            result.rating.points, threshold, title=f"Error rates: {result.name}"
        )
    return plots
