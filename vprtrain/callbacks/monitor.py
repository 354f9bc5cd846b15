"""The metric that a callback monitors."""

from __future__ import annotations

from collections.abc import Sequence

from vprtrain.engine import Callback
from vprtrain.errors import UsageError


def monitored(callback: Callback, name: str | None, metric_names: Sequence[str]) -> str:
    """The name of the monitored metric: the given one, or the module's first.

    Raises:
        UsageError: the module has no such metric, or no metric at all.
    """
    if name is None and metric_names:
        return metric_names[0]
    if name is None or name not in metric_names:
        raise UsageError(
            f"{type(callback).__name__} monitors {name!r}, "
            f"but the module's metrics are {list(metric_names)}: choose one of them"
        )
    return name
