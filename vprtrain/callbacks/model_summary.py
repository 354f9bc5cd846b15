"""A table of the model before training."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from paddle import nn

from vprtrain.engine import Callback, Run
from vprtrain.errors import require_at_least
from vprtrain.layers.blocks import batch_norm_statistics

log = logging.getLogger(__name__)

COLUMNS = ("layer", "class", "weights", "parameters", "state")


class ModelSummary(Callback):
    """Logs the layers with their weights' shapes, their parameters, and whether they are trained.

    Layers without parameters are left out. The statistics of batch normalisation do not count.

    Args:
        depth: how deep the table goes; 1 for the module's own parts.

    Raises:
        UsageError: ``depth`` is below 1.
    """

    role = "the table of the model"
    place = 1  # after callbacks that freeze

    def __init__(self, *, depth: int = 2) -> None:
        require_at_least("ModelSummary's depth", depth, 1)
        self._depth = depth
        self._due = False

    def on_fit_start(self, run: Run) -> None:
        self._due = run.ranks.is_first

    def on_train_epoch_start(self, run: Run) -> None:
        if self._due:
            self._due = False
            for line in table(run.module, self._depth):
                log.info("%s", line)


def table(module: nn.Layer, depth: int) -> list[str]:
    """The lines of the table, the totals last."""
    statistics = {id(each) for each in batch_norm_statistics(module)}
    rows = [COLUMNS, *_rows("", module, depth, statistics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    trained, frozen = _counts(module, statistics)
    return [*lines, f"{trained + frozen:,} parameters: {trained:,} trained, {frozen:,} frozen"]


def _rows(
    prefix: str, layer: nn.Layer, depth: int, statistics: set[int]
) -> Iterator[tuple[str, ...]]:
    for name, child in layer.named_children():
        trained, frozen = _counts(child, statistics)
        if not trained + frozen:
            continue
        shapes = [
            "x".join(map(str, each.shape))
            for each in child.parameters(include_sublayers=False)
            if id(each) not in statistics
        ]
        state = "partly trained" if trained and frozen else "trained" if trained else "frozen"
        row = (f"{prefix}{name}", type(child).__name__, " ".join(shapes))
        yield (*row, f"{trained + frozen:,}", state)
        if depth > 1:
            yield from _rows(f"{prefix}{name}.", child, depth - 1, statistics)


def _counts(layer: nn.Layer, statistics: set[int]) -> tuple[int, int]:
    """The numbers of trained and of frozen weights."""
    weights = [each for each in layer.parameters() if id(each) not in statistics]
    frozen = sum(int(each.size) for each in weights if each.stop_gradient)
    return sum(int(each.size) for each in weights) - frozen, frozen
