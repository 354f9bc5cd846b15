"""What a process needed at most; a module of its own, for the small processes that tests start to
measure it."""

from __future__ import annotations

import re
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Bytes resident at most since the process's program started.

    ``ru_maxrss`` is no substitute: a process inherits it from the one that started it, however
    large that is.
    """
    return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1]) * 1024
