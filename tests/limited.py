"""A script in a process of its own, with limits: for files that could kill, hang or fill it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEADLINE = 120
"""Seconds, which only a hang exceeds: the machine may be busy."""
_BEGIN = """
import resource, sys
sys.path.insert(0, {tests!r})
from peak_memory import peak_memory
resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))
"""
_END = """
print("peak", peak_memory())
"""


def run_limited(script: str, *arguments: object, most: int = 4 * 2**30) -> tuple[str, int]:
    """What a script printed, and its peak memory in bytes. It must end by itself.

    Args:
        script: Python code; ``sys`` is imported.
        arguments: for ``sys.argv``.
        most: the limit of the address space, in bytes.
    """
    code = _BEGIN.format(tests=str(Path(__file__).parent), most=most) + script + _END
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    said, _, peak = done.stdout.rpartition("peak ")
    return said.strip(), int(peak)
