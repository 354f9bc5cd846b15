"""Retrieval and enrolment among many voiceprints, without the embedding: vprtrain and ppvector.

    python benchmarks/voiceprints.py [--peer PYTHON] [--before FOLDER] [--users 1000 100000]
        [--work retrieval ...] [--seconds S] [--threads N]

PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``, FOLDER has the
package ``vprtrain`` of another version; without them only this vprtrain is measured. Every
contestant runs in a process of its own, and they take turns. The figures are medians of wall-clock
and CPU time. Opening includes the first search, which reads all voiceprints. ppvector has neither
opening nor removal. A ratio is the figure of the other one divided by that of vprtrain. The promise
is less than 20 ms for retrieval and enrolment.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from peer import OURS, PPVECTOR, Contestant, Turn, take_turns

WORKERS = Path(__file__).parent / "workers"
BEFORE = "before"
BOTH, OURS_ONLY = ("retrieval", "enrolment"), ("opening", "removal")
WORK = (*BOTH, *OURS_ONLY)
PROMISED_MS = 20


def measure(work: str, users: int, options: argparse.Namespace) -> dict[str, Turn]:
    sizes = {"users": users, "dimension": options.dimension}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.threads))
    worker = WORKERS / "voiceprints_ours.py"
    contestants = {
        name: Contestant(worker, work, sizes, environment=threads | {"PYTHONPATH": folder})
        for name, folder in ((OURS, os.environ.get("PYTHONPATH", "")), (BEFORE, options.before))
        if folder is not None
    }
    if options.peer and work in BOTH:
        worker = WORKERS / "voiceprints_ppvector.py"
        contestants[PPVECTOR] = Contestant(
            worker, work, sizes, python=options.peer, environment=threads
        )
    return take_turns(contestants, seconds=options.seconds)


def report(work: str, users: int, figures: dict[str, Turn]) -> bool:
    ours = figures[OURS]
    kept = work not in BOTH or ours.wall * 1000 < PROMISED_MS
    for name, turn in figures.items():
        line = f"{users:8,} {work:10} {name:9} {turn.wall * 1000:9.2f} {turn.cpu * 1000:9.2f} "
        line += f"{turn.peak_mb:7.0f} {turn.value:10.6f}"
        if name != OURS:
            line += f" {turn.wall / ours.wall:8.1f}x {turn.cpu / ours.cpu:7.1f}x"
        print(line + ("" if kept or name != OURS else f"  MORE THAN {PROMISED_MS} ms"), flush=True)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    parser.add_argument(
        "--before", metavar="FOLDER", help="a folder with another version's package"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--dimension", type=int, default=192)
    parser.add_argument("--seconds", type=float, default=5, help="of turns, for each line")
    options = parser.parse_args()
    print(f"with {options.threads} thread(s)")
    titles = f"{'wall ms':>9} {'CPU ms':>9} {'peak MB':>7} {'value':>10} {'wall':>9} {'CPU':>8}"
    print(f"{'users':>8} {'work':10} {'':9} {titles}")
    kept = [
        report(work, users, measure(work, users, options))
        for users in options.users
        for work in options.work
    ]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
