"""A long-lived process that is asked and answers in lines of JSON, among which it may say anything
else."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


class JsonProcess:
    """A Python script of the tests. Its lines come through a queue, so that nothing here waits for
    ever."""

    def __init__(self, script: Path) -> None:
        tests = Path(__file__).parent
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)

    def ask(self, **request: Any) -> None:
        """Send a request."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self) -> tuple[dict[str, Any], str]:
        """The next answer, and what was said before it."""
        line, said = self.line_with("{")
        return json.loads(line), said

    def line_with(self, beginning: str) -> tuple[str, str]:
        """The next line that begins so, and what was said before it."""
        said = ""
        while not (line := self._lines.get(timeout=60)).startswith(beginning):
            said += line
        return line, said

    def close(self) -> int:
        """Let it end, which it does when nothing more can be asked; its exit status."""
        self._process.stdin.close()
        try:
            return self._process.wait(timeout=10)
        finally:
            self._process.kill()
