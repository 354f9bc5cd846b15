"""The cost of a loss on the CPU, forward and backward: vprtrain's and the same ones of ppvector.

Each loss is measured alone, on given scores, and with its head, on given embeddings. All get the
same numbers, so that the values agree. Every contestant is a process of its own, and they take
turns. ppvector runs twice: unchanged, and with the switch that lets its MKL use AVX2 on an AMD
processor, which vprtrain sets by itself.

    python benchmarks/losses.py [--peer PYTHON] [--losses AAM AM ...] [--threads N] [--seconds S]

PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``; without it only
ours are measured. The table shows medians of CPU milliseconds (all threads) and wall-clock
milliseconds, and the loss. A ratio is ppvector's figure divided by ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from peer import OURS, Contestant, Turn, ppvector_contestants, take_turns

WORKERS = Path(__file__).parent / "workers"
REPEATS = 5  # a turn takes a few milliseconds only


class Choice(NamedTuple):
    """A class and its arguments."""

    loss: str
    arguments: dict[str, Any]


# Our losses, and ppvector's counterparts if there are any.
LOSSES: dict[str, tuple[Choice, Choice | None]] = {
    "AAM": (Choice("AAMLoss", {}), Choice("AAMLoss", {})),
    "AM": (Choice("AMLoss", {}), Choice("AMLoss", {})),
    "ARM": (Choice("ARMLoss", {}), Choice("ARMLoss", {})),
    "CE": (Choice("CELoss", {}), Choice("CELoss", {})),
    "SubCenter": (
        Choice("SubCenterLoss", {"centers_per_class": 3}),
        Choice("SubCenterLoss", {"K": 3}),
    ),
    "SphereFace2A": (
        Choice("SphereFace2Loss", {"margin_type": "A"}),
        Choice("SphereFace2", {"margin_type": "A"}),
    ),
    "SphereFace2C": (
        Choice("SphereFace2Loss", {"margin_type": "C"}),
        Choice("SphereFace2", {"margin_type": "C"}),
    ),
    "InterTopK": (Choice("SubCenterInterTopKLoss", {"centers_per_class": 3}), None),
    "Triplet": (Choice("TripletAngularMarginLoss", {}), None),
}


def measure(name: str, *, head: bool, options: argparse.Namespace) -> dict[str, Turn]:
    ours, theirs = LOSSES[name]
    sizes = {
        "head": head,
        "batch": options.batch,
        "classes": options.classes,
        "embedding_dim": options.embedding_dim,
        "repeats": REPEATS,
    }
    contestants = {
        OURS: Contestant(
            WORKERS / "losses_ours.py",
            "forward_backward",
            {**ours._asdict(), **sizes, "threads": options.threads},
        )
    }
    if theirs is not None:
        contestants |= ppvector_contestants(
            WORKERS / "losses_ppvector.py",
            "forward_backward",
            {**theirs._asdict(), **sizes},
            python=options.peer,
            threads=options.threads,
        )
    return take_turns(contestants, seconds=options.seconds, warm_up=2)


def report(name: str, part: str, figures: Mapping[str, Turn]) -> None:
    ours = figures[OURS]
    for contestant, turn in figures.items():
        cpu, wall = 1e3 * turn.cpu / REPEATS, 1e3 * turn.wall / REPEATS
        line = f"{name:12} {part:9} {contestant:22} {cpu:7.2f} {wall:7.2f} {turn.value:9.4f}"
        if contestant != OURS:
            line += f" {turn.cpu / ours.cpu:6.2f}x {turn.wall / ours.wall:6.2f}x"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3,
        help="seconds of measured turns per line, at least one round",
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=8388)
    parser.add_argument("--embedding_dim", type=int, default=192)
    options = parser.parse_args()
    print(
        f"batch {options.batch}, {options.classes} classes, embeddings of {options.embedding_dim}"
    )
    print(
        f"{'loss':12} {'part':9} {'contestant':22} {'CPU ms':>7} {'wall ms':>7} {'value':>9} "
        f"{'CPU':>7} "
        f"{'wall':>7}"
    )
    for name in options.losses:
        for part, head in (("alone", False), ("with head", True)):
            report(name, part, measure(name, head=head, options=options))


if __name__ == "__main__":
    main()
