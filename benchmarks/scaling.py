"""Utterances a second on one process and on several of one core each, and what exchanging gradients
takes of a step.

    python benchmarks/scaling.py [--processes 2] [--model CAMPPlus] [--batch_size 8] [--steps 6]

Every process has a core of its own and ``batch_size`` crops of 3 s in a step, so that the batch
grows with the processes; a step is all of it: features, encoder, AAM loss, backward, exchange,
clipping, Adam. The efficiency is the throughput over that of as many processes that do not slow
each other down. Processes on one machine do, as they share caches and memory: the second row shows
that, of runs side by side that exchange nothing. The share of the exchange includes the wait for
the slower rank.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vprtrain import runtime

WORKER = Path(__file__).parent / "workers" / "scaling_rank.py"


def run(launches: Sequence[tuple[list[str], dict[str, object]]]) -> list[dict[str, float]]:
    """What each of some workers, started side by side, found: seconds of a step, and of the
    exchange in it."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        outs = [Path(folder) / str(number) for number in range(len(launches))]
        started = []
        for (launcher, options), out in zip(launches, outs, strict=True):
            command = [
                sys.executable,
                *launcher,
                str(WORKER),
                json.dumps({**options, "out": str(out)}),
            ]
            with open(f"{out}.log", "wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
        for process, out in zip(started, outs, strict=True):
            if process.wait() != 0:
                sys.exit(
                    f"a process ended with status {process.returncode}:\n{Path(f'{out}.log').read_text()}"
                )
        return [json.loads(out.read_text()) for out in outs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="CAMPPlus", help="a class of vprtrain.models")
    parser.add_argument("--batch_size", type=int, default=8, help="of each process")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    count = options.processes
    cores = len(os.sched_getaffinity(0))
    if not 2 <= count <= cores:
        parser.error(f"--processes is {count}: expected 2 to {cores}, a core for each")
    runtime.set_environment(threads=1)
    work = {"model": options.model, "batch_size": options.batch_size, "steps": options.steps}
    launch = ["-m", "vprtrain", "launch", f"--nprocs={count}", "--max-restarts=0", "--"]

    print(
        f"{options.model}, {options.batch_size} crops of 3 s a process and step, one thread a process"
    )
    print("processes            utterances/s  efficiency  exchange's share of a step")
    [one] = run([([], {**work, "first_core": 0})])
    row("1", options.batch_size / one["step"], 1.0, 0.0)
    apart = run([([], {**work, "first_core": core}) for core in range(count)])
    together = sum(options.batch_size / each["step"] for each in apart)
    row(
        f"{count}, each by itself",
        together,
        together * one["step"] / options.batch_size / count,
        0.0,
    )
    [ranks] = run([(launch, {**work, "first_core": 0})])
    efficiency = one["step"] / ranks["step"]
    row(
        f"{count}, one run",
        count * options.batch_size / ranks["step"],
        efficiency,
        ranks["exchange"] / ranks["step"],
    )


def row(name: str, throughput: float, efficiency: float, exchange: float) -> None:
    print(f"{name:<20} {throughput:>12.2f} {efficiency:>11.0%} {exchange:>27.1%}", flush=True)


if __name__ == "__main__":
    main()
