"""The machine that a figure was measured on, in one line for a table's caption."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """The processor, the cores that this process may use, and the versions; no name, no date."""
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.0f}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
