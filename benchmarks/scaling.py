"""Utterances per second with one rank and with several, and the share of the gradient exchange.

    python benchmarks/scaling.py [--processes 2] [--model CAMPPlus] [--batch_size 8] [--steps 6]

Every process has one core and ``batch_size`` crops of 3 s in each step, so the total batch grows
with the number of processes. A step includes features, encoder, AAM loss, backward, exchange,
clipping and Adam. The efficiency is the throughput divided by that of one process times the number
of processes. Processes on one machine slow each other down because they share caches and memory.
The second row shows only this effect: runs side by side without an exchange. The share of the
exchange includes the wait for the slowest rank.
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

from tables import print_head, print_row

from vprtrain import runtime

WORKER = Path(__file__).parent / "workers" / "scaling_rank.py"


def run(launches: Sequence[tuple[list[str], dict[str, object]]]) -> list[dict[str, float]]:
    """Start workers side by side; the seconds of a step and of its exchange, for each worker."""
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
                text = Path(f"{out}.log").read_text()
                sys.exit(f"a process ended with status {process.returncode}:\n{text}")
        return [json.loads(out.read_text()) for out in outs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="CAMPPlus", help="a class of vprtrain.models")
    parser.add_argument("--batch_size", type=int, default=8, help="crops of each process in a step")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    count = options.processes
    cores = len(os.sched_getaffinity(0))
    if not 2 <= count <= cores:
        parser.error(f"--processes is {count}: expected 2 to {cores}, one core for each")
    runtime.set_environment(threads=1)
    work = {"model": options.model, "batch_size": options.batch_size, "steps": options.steps}
    launch = ["-m", "vprtrain", "launch", f"--nprocs={count}", "--max-restarts=0", "--"]

    print(
        f"{options.model}, {options.batch_size} crops of 3 s for each process and step, one thread"
    )
    print()
    print_head("processes", "utterances/s", "efficiency", "exchange's share of a step")
    [one] = run([([], {**work, "first_core": 0})])
    report("1", options.batch_size / one["step"], 1.0, 0.0)
    apart = run([([], {**work, "first_core": core}) for core in range(count)])
    together = sum(options.batch_size / each["step"] for each in apart)
    report(
        f"{count}, separate runs",
        together,
        together * one["step"] / options.batch_size / count,
        0.0,
    )
    [ranks] = run([(launch, {**work, "first_core": 0})])
    efficiency = one["step"] / ranks["step"]
    report(
        f"{count}, one run",
        count * options.batch_size / ranks["step"],
        efficiency,
        ranks["exchange"] / ranks["step"],
    )


def report(name: str, throughput: float, efficiency: float, exchange: float) -> None:
    print_row(name, f"{throughput:.2f}", f"{efficiency:.0%}", f"{exchange:.1%}")


if __name__ == "__main__":
    main()
