"""Named points at which a process kills itself: how the tests prove that a run survives being
killed anywhere.

``VPRTRAIN_KILL_AT=POINT:N`` in the environment sends SIGKILL at the N-th passing of a point,
counted from 1. Nothing is set up, and passing a point does nothing, where the variable is absent.
"""

from __future__ import annotations

import os
import signal

from vprtrain import files
from vprtrain.errors import UsageError

VARIABLE = "VPRTRAIN_KILL_AT"

LOOP_POINTS = ("fetch", "forward", "update", "advance", "validation")
"""In the training loop: after the fetch, after the backward pass, after the optimizer's update but
before it is counted, after that, and after each batch of a validation."""

POINTS = LOOP_POINTS + files.POINTS

_point: str | None = None
_left = 0


def arm() -> None:
    """Take up what the environment asks for. Called when a fit starts.

    Raises:
        UsageError: it asks for no known point, or no number.
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
    files.watch = passing


def passing(point: str) -> None:
    """This point is reached."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
