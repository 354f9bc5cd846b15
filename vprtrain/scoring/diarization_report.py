"""The report on a diarization: ``report.json`` for programs, a page and plots for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vprtrain.lists import Segment
from vprtrain.scoring.diarization import DiarizationErrors
from vprtrain.scoring.diarization_evaluation import DiarizationEvaluation, Timelines
from vprtrain.scoring.html_page import facts_table, heading, html_page, image, numbers_table
from vprtrain.scoring.plots import draw_png, plain
from vprtrain.scoring.report import write_report_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN = 5  # recordings whose timelines are drawn
_MOST_BARS = 60  # recordings in the plot of errors
_COLOURS = 10


def write_diarization_report(
    folder: Path,
    evaluation: DiarizationEvaluation,
    *,
    facts: Mapping[str, Any],
    reference: Timelines,
    hypothesis: Timelines,
) -> None:
    """Write ``report.json``, ``report.html`` and the plots: the errors of the recordings, and the
    timelines of those with the highest DER.

    Args:
        folder: made if it does not exist.
        facts: JSON values that describe what was evaluated.
        reference, hypothesis: the segments of each recording.

    Raises:
        RunError: a file could not be written.
        UsageError: matplotlib is not installed.
    """
    worst = sorted(evaluation.recordings.items(), key=lambda each: -each[1].der)
    plots = {"errors.png": errors_plot(dict(worst[:_MOST_BARS]))}
    for number, (name, errors) in enumerate(worst[:_DRAWN], 1):
        plots[f"timeline_{number}.png"] = comparison_plot(
            reference[name],
            hypothesis.get(name, ()),
            errors.mapping,
            title=f"{name}: DER {errors.der:.2%}",
        )
    header, *rows = evaluation.table()
    notes = {"missing": evaluation.missing, "not in the UEM": evaluation.unlisted}
    options = {
        "collar": f"{evaluation.collar:g} s on each side of a boundary",
        "overlap": "not scored" if evaluation.skip_overlap else "scored",
    }
    parts = [
        heading("Results"),
        numbers_table([rows[-1], *rows[:-1]], header),
        *(image(name, data) for name, data in plots.items()),
        heading("What was evaluated"),
        facts_table({**facts, **options, **{key: value or None for key, value in notes.items()}}),
    ]
    write_report_files(
        folder, {**facts, **evaluation.as_json()}, html_page("Diarization", parts), plots
    )


def errors_plot(recordings: Mapping[str, DiarizationErrors]) -> bytes:
    """A bar for each recording: missed speech, false alarm and confusion on top of each other."""
    names = [plain(name) for name in recordings]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(names)
        for kind in ("missed", "false_alarm", "confusion"):
            rates = [100 * each.rate(vars(each)[kind]) for each in recordings.values()]
            axes.barh(range(len(names)), rates, left=left, label=kind.replace("_", " "))
            left = [sum(pair) for pair in zip(left, rates, strict=True)]
        axes.set_yticks(range(len(names)), labels=names)
        axes.invert_yaxis()
        axes.set(xlabel="% of the reference's speech", title="Diarization errors")
        axes.legend()

    return draw_png(draw, width=10.0, height=1.5 + 0.25 * len(names))


def comparison_plot(
    reference: Sequence[Segment],
    hypothesis: Sequence[Segment],
    mapping: Mapping[str, str],
    *,
    title: str,
) -> bytes:
    """Two timelines over each other, in which a speaker and its match have the same colour.

    Args:
        mapping: from speakers of the hypothesis to those of the reference.
    """
    real = list(dict.fromkeys(segment.speaker for segment in reference))
    found = list(dict.fromkeys(segment.speaker for segment in hypothesis))
    found.sort(key=lambda name: real.index(mapping[name]) if name in mapping else len(real))
    colours = {name: f"C{row % _COLOURS}" for row, name in enumerate(real)}
    rows = [
        *((f"{name} (reference)", colours[name], reference, name) for name in real),
        *((name, colours.get(mapping.get(name, ""), "black"), hypothesis, name) for name in found),
    ]

    def draw(axes: Axes) -> None:
        for row, (_, colour, segments, name) in enumerate(rows):
            own = [(each.start, each.duration) for each in segments if each.speaker == name]
            axes.broken_barh(own, (row - 0.4, 0.8), color=colour)
        axes.set_yticks(range(len(rows)), labels=[plain(row[0]) for row in rows])
        axes.axhline(len(real) - 0.5, color="black", linewidth=1)
        last = max((each.end for each in chain(reference, hypothesis)), default=1.0)
        axes.set(xlim=(0, last), ylim=(len(rows) - 0.4, -0.6))
        axes.set(xlabel="seconds", title=plain(title))

    return draw_png(draw, width=12.0, height=1.5 + 0.3 * max(1, len(rows)))
