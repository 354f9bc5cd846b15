"""The processes of a run. The only module that may use ``paddle.distributed``."""

from __future__ import annotations

import os


def world_size() -> int:
    """How many processes the launcher started for this run; 1 without it."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
