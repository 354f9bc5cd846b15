"""``os.fsync`` without the wait for the disk, for tests that write thousands of small checkpoints.

A test can kill a process, not the machine: what a process has written is there, with or without
fsync. The commands that tests start, and the tests of failing calls, keep the real one.
"""

from __future__ import annotations

import os


def do_not_wait_for_the_disk() -> None:
    """For a script that a test starts: make ``os.fsync`` return at once."""
    os.fsync = return_at_once


def return_at_once(file: int) -> None:
    """In place of ``os.fsync``."""
