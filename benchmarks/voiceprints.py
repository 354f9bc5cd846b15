"""Retrieval and enrolment among many voiceprints, without the embedding: vprtrain and ppvector.

    python benchmarks/voiceprints.py [--peer PYTHON] [--users 1000 100000] [--seconds S]

PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``; without it only
vprtrain is measured. Every contestant runs in a process of its own with one thread, and they take
turns. The figures are medians of wall-clock and CPU time. Opening includes the first search, which
reads all voiceprints. A removal rewrites the file. ppvector has neither. A ratio is the figure of
ppvector divided by that of vprtrain. The promise is less than 20 ms for retrieval and enrolment.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from peer import OURS, PPVECTOR, Contestant, Turn, take_turns

WORKERS = Path(__file__).parent / "workers"
BOTH, OURS_ONLY = ("retrieval", "enrolment"), ("opening", "removal")
PROMISED_MS = 20


def measure(work: str, users: int, options: argparse.Namespace) -> dict[str, Turn]:
    sizes = {"users": users, "dimension": options.dimension}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    contestants = {
        OURS: Contestant(WORKERS / "voiceprints_ours.py", work, sizes, environment=threads)
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
        line += f"{turn.peak_mb:7.0f} {turn.value:7.3f}"
        if name != OURS:
            line += f" {turn.wall / ours.wall:8.1f}x {turn.cpu / ours.cpu:7.1f}x"
        print(line + ("" if kept or name != OURS else f"  MORE THAN {PROMISED_MS} ms"), flush=True)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--dimension", type=int, default=192)
    parser.add_argument("--seconds", type=float, default=5, help="of turns, for each line")
    options = parser.parse_args()
    titles = f"{'wall ms':>9} {'CPU ms':>9} {'peak MB':>7} {'value':>7} {'wall':>9} {'CPU':>8}"
    print(f"{'users':>8} {'work':10} {'':9} {titles}")
    kept = [
        report(work, users, measure(work, users, options))
        for users in options.users
        for work in (*BOTH, *OURS_ONLY)
    ]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
