"""Time and memory of scoring: from cosines to EER and minDCF, and AS-norm.

    python benchmarks/scoring.py [--threads N]

The embeddings are random, of 192 dimensions. Every row runs in a process of its own, which has its
own peak of memory. The time is from embeddings in memory to the result. "at most" is the promised
limit. The 246.8 CPU seconds of ppvector were measured on the same kind of machine with the scoring
of its release 1.0.2 (cosine of every pair, EER and minDCF; 1,000 x 5,000 x 192).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tables import print_head, print_row

WORKER = Path(__file__).parent / "workers" / "scoring_ours.py"
PEER_CPU_SECONDS = 246.8


class Claim(NamedTuple):
    title: str
    clock: str
    """``cpu`` or ``wall``."""
    seconds: float
    peak_mb: float | None


CLAIMS = {
    "peer": Claim("1,000 x 5,000, EER, minDCF", "cpu", 2, 600),
    "cnceleb": Claim("CN-Celeb, 3,484,292 trials", "wall", 5, 1000),
    "voxceleb_hard": Claim("Vox1-H, 550,894 trials", "wall", 10, None),
    "as_norm": Claim("AS-norm, 150,000 x 5,994", "wall", 60, 2000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", default="1", help="threads of a matrix product")
    options = parser.parse_args()
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": options.threads,
        "OMP_NUM_THREADS": options.threads,
    }
    print_head("", "CPU s", "wall s", "peak MB", "at most", "kept", "result")
    kept = True
    for row, claim in CLAIMS.items():
        command = [sys.executable, str(WORKER), row]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        holds = found[claim.clock] < claim.seconds and found["peak_mb"] < (
            claim.peak_mb or float("inf")
        )
        kept = kept and holds
        promise = f"{claim.seconds:g} {claim.clock} s" + (
            f", {claim.peak_mb:g} MB" if claim.peak_mb else ""
        )
        spent = (f"{found['cpu']:.2f}", f"{found['wall']:.2f}", f"{found['peak_mb']:.0f}")
        print_row(claim.title, *spent, promise, "yes" if holds else "NO", found["result"])
        if row == "peer":
            factor = PEER_CPU_SECONDS / found["cpu"]
            print_row("the same, ppvector", PEER_CPU_SECONDS, "", "", "", "", f"{factor:.0f}x")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
