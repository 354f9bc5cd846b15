"""Identify under load: ``vprtrain serve``, and a plain FastAPI handler around the same model.

    python benchmarks/serving.py --checkpoint MODEL [--clients 1 8 64] [--seconds 15]
    python benchmarks/serving.py --checkpoint MODEL --memory_requests 10000

Each client sends a 3 s WAV, waits for the answer, and sends the next; a 429 is counted and tried
again after its Retry-After. The clients run in this process, on the same cores as the service. The
plain handler (``workers/serving_plain.py``) is the limit: it decodes in its own process, checks and
limits nothing. Both use as many threads as there are cores, and are measured in turn. The processor
time is that of all processes of a service for an answered request; unlike the other figures it
hardly depends on what else the machine does.

With --memory_requests only the memory is measured: of the service, and of its decoding processes,
after each tenth of the requests (proportional set size: a shared page is shared out).

An error other than 429, or memory that grows by more than 5 % from the first tenth of the requests
to the last, ends with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import soundfile

from vprtrain.data.synthetic.voices import draw_speaker, draw_utterance

RATE = 16000
SECONDS = 3.0
USERS = 20
HEADERS = {"Content-Type": "audio/wav"}
_PATIENCE = 120.0


def clip(speaker: int) -> bytes:
    """A WAV of 3 s."""
    samples = draw_utterance(
        draw_speaker(np.random.default_rng(speaker)),
        np.random.default_rng(speaker),
        seconds=SECONDS,
    )
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


class Started(NamedTuple):
    """A service that is ready."""

    pid: int
    url: str


@contextmanager
def serving(command: list[str]) -> Iterator[Started]:
    """A service in Python; its port is the last argument."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    process = subprocess.Popen(
        [sys.executable, *command, str(port)], stderr=subprocess.DEVNULL, env=environment
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield Started(process.pid, url)
    finally:
        process.terminate()
        process.wait()


async def load(
    url: str, clients: int, *, seconds: float = float("inf"), requests: int | None = None
) -> tuple[list[float], Counter[int], float]:
    """The latencies of what succeeded, the answers by status, and the seconds it took."""
    clips = [clip(speaker) for speaker in range(8)]
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    started = time.perf_counter()
    limits = httpx.Limits(max_connections=clients)

    async def client(number: int, session: httpx.AsyncClient) -> None:
        while time.perf_counter() - started < seconds:
            if requests is not None and statuses[200] >= requests:
                return
            sent = time.perf_counter()
            answer = await session.post(
                f"{url}/v1/identify", content=clips[number % len(clips)], headers=HEADERS
            )
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                latencies.append(time.perf_counter() - sent)
            elif answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["Retry-After"]))

    async with httpx.AsyncClient(timeout=_PATIENCE, limits=limits) as session:
        await asyncio.gather(*(client(number, session) for number in range(clients)))
    return latencies, statuses, time.perf_counter() - started


def processes(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for file in children for child in file.read_text().split()]
    return [pid, *(each for child in direct for each in processes(child))]


def processor_seconds(pid: int) -> float:
    """The processor time that a process and its descendants have used."""
    ticks = 0
    for each in processes(pid):
        # After the name: utime, stime, and both of the children that have ended.
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """The proportional set size of a process."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found is not None
    return int(found[1]) / 1024


def compare(services: dict[str, Started], clients: list[int], seconds: float) -> Counter[int]:
    """Print a line for each number of clients and service."""
    answers: Counter[int] = Counter()
    print(
        f"{'clients':>7} {'service':9} {'a second':>9} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} "
        f"{'CPU ms each':>12}"
    )
    for started in services.values():
        asyncio.run(load(started.url, 1, seconds=3))
    for count in clients:
        costs: dict[str, float] = {}
        for name, started in services.items():
            before = processor_seconds(started.pid)
            latencies, statuses, took = asyncio.run(load(started.url, count, seconds=seconds))
            costs[name] = 1000 * (processor_seconds(started.pid) - before) / len(latencies)
            p50, p95, p99 = np.percentile(latencies, [50, 95, 99]) * 1000
            ratio = f"  {costs[name] / costs['plain']:.2f} of plain" if name != "plain" else ""
            print(
                f"{count:7} {name:9} {len(latencies) / took:9.1f} {p50:8.0f} {p95:8.0f} {p99:8.0f} "
                f"{costs[name]:12.1f}  {dict(statuses)}{ratio}",
                flush=True,
            )
            answers += statuses if name != "plain" else Counter()
    return answers


def memory(service: Started, requests: int) -> tuple[float, Counter[int]]:
    """The growth of the memory from the first tenth of the requests to the last."""
    sizes, answers = [], Counter()
    print(f"{'requests':>8} {'service MB':>11} {'decoding MB':>12} {'processes':>10}")
    for _ in range(10):
        _, statuses, _ = asyncio.run(load(service.url, 8, requests=requests // 10))
        answers += statuses
        own, *decoding = map(memory_mb, processes(service.pid))
        sizes.append(own + sum(decoding))
        print(
            f"{answers[200]:8} {own:11.1f} {sum(decoding):12.1f} {1 + len(decoding):10}", flush=True
        )
    return sizes[-1] / sizes[0] - 1, answers


def enrol(url: str) -> None:
    """Enrol a user of each voice."""
    for user in range(USERS):
        answer = httpx.post(
            f"{url}/v1/users/user{user}", content=clip(user), headers=HEADERS, timeout=_PATIENCE
        )
        answer.raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--memory_requests", type=int, default=0, help="measure the memory only")
    options = parser.parse_args()
    onnx = Path(options.checkpoint) / "inference.onnx"  # the form that vprtrain serve chooses
    checkpoint = str(onnx) if onnx.is_file() else options.checkpoint
    growth = 0.0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        ours = ["-m", "vprtrain", "serve", "--threshold=0.5", f"--checkpoint={checkpoint}"]
        ours += [f"--voiceprints={folder}/people.db", "--port"]
        service = running.enter_context(serving(ours))
        enrol(service.url)
        if options.memory_requests:
            growth, answers = memory(service, options.memory_requests)
        else:
            plain = Path(__file__).parent / "workers" / "serving_plain.py"
            limit = running.enter_context(serving([str(plain), checkpoint]))
            answers = compare(
                {"plain": limit, "vprtrain": service}, options.clients, options.seconds
            )
    errors = {status: count for status, count in answers.items() if status not in (200, 429)}
    print(f"errors: {errors or 'none'}; memory grew by {growth:.1%}")
    sys.exit(1 if errors or growth > 0.05 else 0)


if __name__ == "__main__":
    main()
