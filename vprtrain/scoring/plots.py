"""Plots of scores as PNG files in memory, without a display or matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from vprtrain.errors import UsageError
from vprtrain.scoring.metrics import det_points
from vprtrain.scoring.thresholds import OperatingPoints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PERCENTAGES = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 95)
_MOST_POINTS = 2000
_BINS = 100


def det_plot(curves: Mapping[str, OperatingPoints], eers: Mapping[str, float]) -> bytes:
    """DET curves: miss rate over false accept rate on probit axes (Martin et al. 1997).

    Args:
        curves: operating points by name.
        eers: the EER of each curve, drawn as a dot.
    """

    def draw(axes: Axes) -> None:
        extent = [ndtri(0.0005), ndtri(0.4)]
        for name, points in curves.items():
            accepts, misses = det_points(points, _MOST_POINTS)
            (line,) = axes.plot(accepts, misses, label=plain(f"{name}: EER {eers[name]:.2%}"))
            if 0 < eers[name] < 1:
                axes.plot([ndtri(eers[name])], [ndtri(eers[name])], "o", color=line.get_color())
            extent += [*accepts, *misses]
        limits = min(extent), max(extent)
        ticks = [each for each in _PERCENTAGES if limits[0] <= ndtri(each / 100) <= limits[1]]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(
                [ndtri(each / 100) for each in ticks], labels=[f"{each:g}" for each in ticks]
            )
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set(xlabel="false accept rate (%)", ylabel="miss rate (%)", title="DET curves")
        axes.legend()

    return draw_png(draw, width=6.5)


def histogram_plot(
    scores: np.ndarray, targets: np.ndarray, threshold: float, *, title: str = "Scores"
) -> bytes:
    """The densities of target and non-target scores, and the threshold of the EER.

    Args:
        scores: ``[trials]``.
        targets: bool ``[trials]``.
    """

    def draw(axes: Axes) -> None:
        padding = max(1e-6, 1e-6 * np.abs(scores).max())  # for scores that are all equal, or nearly
        edges = np.linspace(scores.min() - padding, scores.max() + padding, _BINS + 1)
        for kind, found in (
            ("different speakers", scores[~targets]),
            ("the same speaker", scores[targets]),
        ):
            density, _ = np.histogram(found, bins=edges, density=True)
            label = f"{kind} ({len(found):,} trials)"
            axes.stairs(density, edges, fill=True, alpha=0.5, label=label)
        axes.axvline(
            threshold, color="black", linestyle="--", label=f"threshold {threshold:.4f} (EER)"
        )
        axes.set(xlabel="score", ylabel="density", title=plain(title))
        axes.legend()

    return draw_png(draw)


def error_rates_plot(
    points: OperatingPoints, threshold: float, *, title: str = "Error rates"
) -> bytes:
    """Miss rate (FNR) and false accept rate (FPR) over the threshold, with that of the EER."""

    def draw(axes: Axes) -> None:
        finite = points.thresholds[:-1]
        # Points at even distances of the score: there may be millions of trials, far more than the
        # plot can show.
        wanted = np.linspace(finite[0], finite[-1], _MOST_POINTS)
        places = np.searchsorted(finite, wanted)
        axes.plot(wanted, 100 * points.miss_rates[places], label="misses (FNR)")
        axes.plot(wanted, 100 * points.false_accept_rates[places], label="false accepts (FPR)")
        axes.axvline(
            threshold, color="black", linestyle="--", label=f"threshold {threshold:.4f} (EER)"
        )
        axes.set(xlabel="threshold", ylabel="rate (%)", title=plain(title))
        axes.legend()

    return draw_png(draw)


def draw_png(draw: Callable[[Axes], None], width: float = 8.0, height: float = 5.5) -> bytes:
    """A PNG file of what ``draw`` draws. Width and height are in hundreds of pixels.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"plots need matplotlib ({error}): pip install matplotlib") from error
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    draw(axes)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def plain(text: str) -> str:
    """Escape dollar signs, which would begin a formula."""
    return text.replace("$", r"\$")
