"""Kill points: named points at which a process kills itself, so that tests can prove that a run
survives a kill anywhere.

``VPRTRAIN_KILL_AT=POINT:N`` in the environment sends SIGKILL when the point is reached for the
N-th time, counted from 1. Without the variable nothing is set up and reaching a point does nothing.
"""

from __future__ import annotations

import os
import signal

from vprtrain import files
from vprtrain.errors import UsageError

VARIABLE = "VPRTRAIN_KILL_AT"

LOOP_POINTS = ("fetch", "forward", "update", "advance", "validation")
"""The points in the training loop: after the fetch, after the backward pass, after the optimizer's
update but before the step is counted, after it is counted, and after each validation batch."""

POINTS = LOOP_POINTS + files.POINTS

_point: str | None = None
_left = 0


def arm() -> None:
    """Read the kill point from the environment. Called when a fit starts.

    Raises:
        UsageError: the variable names no known point or no positive number.
    """
    global _point, _left
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, count = wanted.partition(":")
    if point not in POINTS or not count.isdigit() or int(count) < 1:
        raise UsageError(
            f"{VARIABLE} is {wanted!r}: expected POINT:N with one of {', '.join(POINTS)}"
        )
    _point, _left = point, int(count)
    files.watch = reach


def reach(point: str) -> None:
    """Mark that the run is at this point; kill the process if it is armed for this visit."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
