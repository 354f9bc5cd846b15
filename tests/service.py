"""A running ``vprtrain serve``, in a process of its own."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import soundfile
from json_process import PATIENCE, script_environment

TOKEN = "0123456789abcdef-of-a-test"
"""What the service expects of callers if it has tokens."""


@dataclass
class Service:
    """A service and what it has logged."""

    process: subprocess.Popen[str]
    url: str = ""
    log: list[str] = field(default_factory=list)

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, **options)

    def stop(self) -> int:
        """Send SIGTERM, and wait for the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def wait_for(self, text: str) -> str:
        """The first line of the log with a text."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log:
                if text in line:
                    return line
            assert self.process.poll() is None, "".join(self.log)
            time.sleep(0.02)
        raise AssertionError(f"no line with {text!r} in {self.log}")


@contextmanager
def running(checkpoint: Path, voiceprints: Path, *options: str) -> Iterator[Service]:
    """A service on a free port, until the context ends."""
    command = [
        *(sys.executable, "-m", "vprtrain", "serve", "--port=0"),
        *(f"--checkpoint={checkpoint}", f"--voiceprints={voiceprints}", *options),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=script_environment(),
    )
    service = Service(process)

    def keep_log() -> None:
        for line in process.stderr:
            service.log.append(line)

    threading.Thread(target=keep_log, daemon=True).start()
    try:
        service.url = re.search(r"https?://\S+", service.wait_for("serving on"))[0]
        yield service
    finally:
        process.kill()
        process.wait()


def wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    """Samples as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def problem(answer: httpx.Response, status: int, *texts: str) -> None:
    """The answer is a problem with one line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status and "\n" not in content["detail"]
    assert all(text in content["detail"] for text in texts), content["detail"]
