"""Processes that run ``enroller.py``, and what they printed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from json_process import script_environment

ENROLLER = Path(__file__).with_name("enroller.py")
PROCESSES = 8
ENROLMENTS = 40


class Enroller:
    """A process that enrols users, and its output."""

    def __init__(self, location: Path | str, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, ENROLLER, location, str(number), str(ENROLMENTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=script_environment(),
        )
        self.said: list[tuple[str, ...]] = []

    def begin(self, kill_after: int | None) -> threading.Thread:
        """Start the work in a thread. The process is killed after so many lines; ``None`` lets it
        finish."""
        thread = threading.Thread(target=self._listen, args=(kill_after,))
        thread.start()
        return thread

    def _listen(self, kill_after: int | None) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.said.append(tuple(line.rstrip("\n").split("\t")))
            if len(self.said) == kill_after:
                self.process.kill()
        self.process.wait()


@contextmanager
def running(location: Path | str) -> Iterator[list[Enroller]]:
    """Eight processes that have opened (and made) the database at the same time."""
    processes = [Enroller(location, number) for number in range(PROCESSES)]
    try:
        assert [each.process.stdout.readline() for each in processes] == ["ready\n"] * PROCESSES
        yield processes
    finally:
        for each in processes:
            each.process.kill()
            each.process.communicate()


def users_of(enrollers: Sequence[Enroller], event: str) -> set[str]:
    """The users of the lines that begin with a word."""
    return {words[1] for each in enrollers for words in each.said if words[0] == event}
