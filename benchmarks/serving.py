"""Identify under load: ``vprtrain serve``, and a plain FastAPI handler around the same model.

    python benchmarks/serving.py --checkpoint MODEL [--clients 1 8 64] [--seconds 15]
                                 [--memory_requests 10000]

Each client sends a 3 s WAV, waits for the answer, and sends the next; a 429 is counted and tried
again after its Retry-After. The clients run in this process, on the same cores as the service. The
plain handler (``workers/serving_plain.py``) is the limit: it decodes in its own process, checks and
limits nothing. Both use as many threads as there are cores. An error other than 429, or memory that
grows by more than 5 % from the first tenth of the requests to the last, ends with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def serving(command: list[str], url: str) -> Iterator[int]:
    """The process id of a service, which is ready."""
    environment = os.environ | {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


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


def resident_mb(pid: int) -> float:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare(
    services: dict[str, tuple[list[str], str]], clients: list[int], seconds: float
) -> Counter[int]:
    """Print a line for each service and number of clients."""
    answers: Counter[int] = Counter()
    rates: dict[int, float] = {}
    print(f"{'clients':>7} {'service':9} {'a second':>9} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
    for name, (command, url) in services.items():
        with serving(command, url):
            if name == "vprtrain":
                for user in range(USERS):
                    httpx.post(f"{url}/v1/users/user{user}", content=clip(user), headers=HEADERS)
            asyncio.run(load(url, 1, seconds=3))
            for count in clients:
                latencies, statuses, took = asyncio.run(load(url, count, seconds=seconds))
                p50, p95, p99 = np.percentile(latencies, [50, 95, 99]) * 1000
                rate = len(latencies) / took
                ratio = f"  {rate / rates[count]:.2f} of plain" if count in rates else ""
                rates.setdefault(count, rate)
                print(
                    f"{count:7} {name:9} {rate:9.1f} {p50:8.0f} {p95:8.0f} {p99:8.0f}  "
                    f"{dict(statuses)}{ratio}",
                    flush=True,
                )
                answers += statuses if name == "vprtrain" else Counter()
    return answers


def memory(command: list[str], url: str, requests: int) -> tuple[float, Counter[int]]:
    """The growth of the service's memory from the first tenth of the requests to the last."""
    sizes, answers = [], Counter()
    with serving(command, url) as pid:
        httpx.post(f"{url}/v1/users/user", content=clip(0), headers=HEADERS)
        for _ in range(10):
            _, statuses, _ = asyncio.run(load(url, 8, requests=requests // 10))
            answers += statuses
            sizes.append(resident_mb(pid))
    print(f"memory after each tenth of {answers[200]} requests, MB: {[round(s) for s in sizes]}")
    return sizes[-1] / sizes[0] - 1, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--memory_requests", type=int, default=10_000, help="0: none")
    options = parser.parse_args()
    growth, answers = 0.0, Counter()
    onnx = Path(options.checkpoint) / "inference.onnx"  # the form that vprtrain serve chooses
    checkpoint = str(onnx) if onnx.is_file() else options.checkpoint
    with tempfile.TemporaryDirectory() as folder:
        ports = [free_port(), free_port()]
        plain = Path(__file__).parent / "workers" / "serving_plain.py"
        ours = [sys.executable, "-m", "vprtrain", "serve", f"--port={ports[1]}", "--threshold=0.5"]
        ours += [f"--checkpoint={checkpoint}", f"--voiceprints={folder}/people.db"]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        services = {
            "plain": ([sys.executable, str(plain), checkpoint, str(ports[0])], urls[0]),
            "vprtrain": (ours, urls[1]),
        }
        if options.clients:
            answers += compare(services, options.clients, options.seconds)
        if options.memory_requests:
            growth, found = memory(ours, urls[1], options.memory_requests)
            answers += found
    errors = {status: count for status, count in answers.items() if status not in (200, 429)}
    print(f"errors: {errors or 'none'}; memory grew by {growth:.1%}")
    sys.exit(1 if errors or growth > 0.05 else 0)


if __name__ == "__main__":
    main()
