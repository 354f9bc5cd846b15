"""A place where a process under test stays until the test lets it go on.

The gate is a file beside the run directory. The process asks for it again and again, so it stays
however often a signal interrupts it, and the test opens it when its signals have arrived.
"""

from __future__ import annotations

import time
from pathlib import Path


def _file(run_dir: Path) -> Path:
    return run_dir.with_name(f"{run_dir.name}.open")


def close_gate(run_dir: Path) -> None:
    """Called by the test, before the process starts."""
    _file(run_dir).unlink(missing_ok=True)


def open_gate(run_dir: Path) -> None:
    """Called by the test."""
    _file(run_dir).touch()


def stay_at_gate(run_dir: Path) -> None:
    """Called by the process. It returns when the gate is open."""
    while not _file(run_dir).exists():
        time.sleep(0.005)
