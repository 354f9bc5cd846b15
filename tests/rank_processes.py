"""Real ranks in processes, started by Paddle's launcher or with its environment variables."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from json_process import script_environment


def free_addresses(count: int) -> list[str]:
    with ExitStack() as stack:
        links = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{link.getsockname()[1]}" for link in links]


class Processes:
    """Running commands, each in a session and with a log of its own. They are killed on exit."""

    def __init__(
        self, commands: Sequence[tuple[Sequence[str], dict[str, str]]], logs: Path
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = [logs / f"{number}.log" for number in range(len(commands))]
        self.processes = []
        for (command, environment), log in zip(commands, self.logs, strict=True):
            with open(log, "wb") as output:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                        env=script_environment(OMP_NUM_THREADS="1", **environment),
                    )
                )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self, number: int = 0) -> str:
        return self.logs[number].read_text(errors="replace")

    def wait(self, seconds: float) -> list[int]:
        """The exit statuses, negative for a signal.

        Raises:
            AssertionError: the processes take too long; the message has the logs.
        """
        deadline = time.monotonic() + seconds
        try:
            return [
                process.wait(max(0.0, deadline - time.monotonic())) for process in self.processes
            ]
        except subprocess.TimeoutExpired:
            logs = "\n".join(
                f"--- {log.name}\n{log.read_text(errors='replace')}" for log in self.logs
            )
            raise AssertionError(f"still running after {seconds} s\n{logs}") from None

    def wait_for(self, text: str, *, number: int = 0, seconds: float = 60.0) -> None:
        """Wait until the log of a process contains a text."""
        deadline = time.monotonic() + seconds
        while text not in self.said(number):
            assert time.monotonic() < deadline and self.processes[number].poll() is None, self.said(
                number
            )
            time.sleep(0.02)


def spawn(command: Sequence[str], size: int, logs: Path) -> Processes:
    """Ranks without a launcher, which start faster.

    With ``size`` 1 the process has none of the launcher's environment variables.
    """
    master, *endpoints = free_addresses(size + 1)
    common = {
        "PADDLE_MASTER": master,
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_DISTRI_BACKEND": "gloo",
    }
    ranks = [
        common
        | {
            "PADDLE_TRAINER_ID": str(rank),
            "PADDLE_TRAINERS_NUM": str(size),
            "PADDLE_CURRENT_ENDPOINT": endpoint,
        }
        for rank, endpoint in enumerate(endpoints)
    ]
    return Processes(
        [
            ([sys.executable, *command], environment)
            for environment in (ranks if size > 1 else [{}])
        ],
        logs,
    )


def launch(command: Sequence[str], size: int, logs: Path) -> Processes:
    """Paddle's launcher, as the one process of the result; its ranks log to
    ``logs/ranks/workerlog.N``."""
    options = [f"--nproc_per_node={size}", f"--log_dir={logs / 'ranks'}"]
    return Processes(
        [([sys.executable, "-m", "paddle.distributed.launch", *options, *command], {})], logs
    )
