"""A long-lived process that answers requests in lines of JSON; lines that do not begin with ``{``
are its log."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds to wait for a line: far more than is needed, so that only a hang exceeds it."""


def script_environment(**more: str) -> dict[str, str]:
    """The environment of a script that imports the tests' helpers and this checkout."""
    tests = Path(__file__).parent
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])} | more


class JsonProcess:
    """A Python script of the tests, which reads requests from its standard input.

    A thread reads its output into a queue, so that waiting for a line ends after :data:`PATIENCE`.
    """

    def __init__(self, script: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=script_environment(),
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str | None] = queue.Queue()  # None is the end of its output
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, **request: Any) -> None:
        """Send a request."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self) -> tuple[dict[str, Any], str]:
        """The next answer, and the log lines before it."""
        line, log = self.line_with("{")
        return json.loads(line), log

    def line_with(self, beginning: str) -> tuple[str, str]:
        """The next line that begins so, and the lines before it."""
        log = ""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(
                    f"no line {beginning!r} in {PATIENCE} s, only:\n{log}"
                ) from None
            assert line is not None, f"the process ended without a line {beginning!r}:\n{log}"
            if line.startswith(beginning):
                return line, log
            log += line

    def send(self, pid: int, signals: Sequence[signal.Signals], *, heard: bool = True) -> str:
        """Send signals to the process or a child of it, and return the log that this makes it
        write.

        The kernel merges equal signals that a process has not taken yet. So the second one waits
        for GracefulStop's line about the first, and the others for 50 ms each.

        Args:
            heard: whether GracefulStop is at work already.
        """
        log = ""
        with suppress(ProcessLookupError):  # the first signal has ended it
            for number, sent in enumerate(signals):
                os.kill(pid, sent)
                if heard and number == 0:
                    line, before = self.line_with(f"{sent.name}: ")
                    log = before + line
                else:
                    time.sleep(0.05)
        return log

    def close(self) -> int:
        """Close its standard input, which makes it end, and return its exit status."""
        self._process.stdin.close()
        try:
            return self._process.wait(timeout=PATIENCE)
        finally:
            self._process.kill()
