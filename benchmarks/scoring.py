"""What scoring costs: cosines to EER and minDCF, and AS-norm, on made-up embeddings of 192
dimensions.

    python benchmarks/scoring.py [--threads N]

Every row is a process of its own, so that the peak of its memory is its own; seconds are from
embeddings in memory to the result. "at most" is what is promised. ppvector's 246.8 CPU seconds were
measured on the same kind of machine with the scoring of its release 1.0.2 (cosine of every pair,
EER and minDCF; 1,000 x 5,000 x 192).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

WORKER = Path(__file__).parent / "workers" / "scoring_ours.py"
PEER_CPU_SECONDS = 246.8


class Claim(NamedTuple):
    title: str
    clock: str
    """``cpu`` or ``wall``"""
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
    parser.add_argument("--threads", default="1", help="of a matrix product")
    options = parser.parse_args()
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": options.threads,
        "OMP_NUM_THREADS": options.threads,
    }
    print(f"{'':28} {'CPU s':>7} {'wall s':>7} {'peak MB':>8}  {'at most':22} {'kept':5} result")
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
        line = f"{claim.title:28} {found['cpu']:7.2f} {found['wall']:7.2f} {found['peak_mb']:8.0f}  {promise:22}"
        print(f"{line} {'yes' if holds else 'NO':5} {found['result']}", flush=True)
        if row == "peer":
            print(
                f"{'':28} ppvector took {PEER_CPU_SECONDS} CPU s: {PEER_CPU_SECONDS / found['cpu']:.0f} times as many"
            )
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
