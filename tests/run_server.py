"""A script of the tests that forks a process for each run; a test asks it for runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from json_process import script_environment


class RunServer:
    """Requests are lines of JSON; answers are numbers: of a process, or its exit status."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def ask(self, **request: Any) -> None:
        """Send a request; a path is sent as a text."""
        print(json.dumps(request, default=str), file=self._requests, flush=True)

    def number(self) -> int:
        """Wait for the next answer."""
        return int(self._answers.readline())


@contextmanager
def run_server(script: Path, *arguments: Path) -> Iterator[RunServer]:
    """A server as long as the context lasts."""
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=script_environment(),
    ) as process:
        yield RunServer(process)
