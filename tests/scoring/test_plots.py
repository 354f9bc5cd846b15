"""Plots of scores: PNG files, the same bytes for the same scores."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from vprtrain.scoring.metrics import equal_error_rate
from vprtrain.scoring.plots import det_plot, error_rates_plot, histogram_plot
from vprtrain.scoring.thresholds import OperatingPoints, operating_points


def shape(png: bytes) -> tuple[int, ...]:
    from matplotlib.image import imread

    return imread(io.BytesIO(png), format="png").shape


def scored(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 4 == 0
    scores = {
        "overlapping": rng.normal(size=400) + 1.5 * targets,
        "apart": rng.uniform(size=400) + 5 * targets,
        "constant": np.zeros(400),
        "swapped": rng.normal(size=400) - 1.5 * targets,
    }
    return scores[kind], targets


@pytest.mark.parametrize("kind", ["overlapping", "apart", "constant", "swapped"])
def test_every_kind_of_scores_can_be_drawn(kind: str) -> None:
    scores, targets = scored(kind)
    points = operating_points(scores, targets)
    eer, threshold = equal_error_rate(points)
    plots = {
        det_plot({"some $name$": points}, {"some $name$": eer}),
        histogram_plot(scores, targets, threshold),
        error_rates_plot(points, threshold),
    }
    assert len(plots) == 3
    for png in plots:
        height, width, _ = shape(png)
        assert height > 300 and width > 500
    # The file depends on neither the time nor the machine.
    assert error_rates_plot(points, threshold) in plots


def test_other_curves_give_other_plots() -> None:
    first, second = (operating_points(*scored(kind)) for kind in ("overlapping", "swapped"))

    def drawn(**curves: OperatingPoints) -> bytes:
        return det_plot(curves, dict.fromkeys(curves, 0.2))

    assert len({drawn(a=first), drawn(a=second), drawn(a=first, b=second)}) == 3


def test_matplotlib_is_imported_only_for_drawing() -> None:
    script = (
        "import sys, vprtrain.scoring.plots, vprtrain.scoring.report\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
