"""Which metric a callback watches."""

from __future__ import annotations

from collections.abc import Sequence

from vprtrain.engine import Callback
from vprtrain.errors import UsageError


def monitored(callback: Callback, name: str | None, metric_names: Sequence[str]) -> str:
    """The metric of that name, or the module's first where none is given.

    Raises:
        UsageError: the module has no such metric, or none at all.
    """
    if name is None and metric_names:
        return metric_names[0]
    if name is None or name not in metric_names:
        raise UsageError(
            f"{type(callback).__name__} monitors {name!r}, but the module's metrics are {list(metric_names)}"
        )
    return name
