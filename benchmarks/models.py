"""The cost of a training step on the CPU: vprtrain's models, and the same ones of others.

A step is forward, AAM loss over the classes of CN-Celeb with threefold speed perturbation,
backward and Adam, on given features: 16 x 3 s of 80 mels. Every contestant is a process of its own,
and they take turns. Ours has the callback FastConvolutions, as in the recipes. ppvector runs twice:
unchanged, and with the switch that lets its MKL use AVX2 on an AMD processor, which vprtrain sets
by itself. PyTorch runs twice too: with its default memory layout, and with channels last.
ERes2NetV2 is measured with some stages recomputed too.

    python benchmarks/models.py [--peer PYTHON] [--torch PYTHON --toolkits FOLDER]
    [--models TDNN CAMPPlus ...] [--threads N] [--seconds S]

The first PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``, the
second one with PyTorch and what SpeechBrain imports (``pip install speechbrain``); FOLDER has
checkouts of ``wespeaker``, ``3D-Speaker`` and ``speechbrain``, whose own networks are used. Without
them only ours are measured. The table shows medians of CPU seconds (all threads) and wall-clock
seconds, the process's peak memory, and the last loss. A ratio is the other's figure divided by
ours. Only ppvector's losses begin from the same distribution.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peer import OURS, Contestant, Turn, ppvector_contestants, take_turns

WORKERS = Path(__file__).parent / "workers"
TORCH, CHANNELS_LAST = "PyTorch", "PyTorch channels last"
PPVECTOR_MODELS = ("TDNN", "Res2Net", "EcapaTdnn", "CAMPPlus", "ERes2Net", "ResNetSE")
TORCH_MODELS = ("EcapaTdnn", "CAMPPlus", "ERes2Net", "ERes2NetV2", "ResNet34", "ResNetTDNN")
# Each with our class and the options that make it the others' architecture.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "TDNN": (
        "TDNN",
        {
            "embedding_dim": 192,
            "pooled_channels": 512,
            "pooling": "ASP",
            "affine": True,
            "norm_after_pooling": True,
        },
    ),
    "Res2Net": ("PPVectorRes2Net", {}),
    "EcapaTdnn": ("EcapaTdnn", {}),
    "CAMPPlus": ("CAMPPlus", {}),
    "ERes2Net": ("ERes2Net", {}),
    "ResNetSE": ("ResNetSE", {}),
    "ERes2NetV2": ("ERes2NetV2", {}),
    "ResNet34": ("ResNet34", {"embedding_dim": 192}),
    "ResNetTDNN": ("ResNetTDNN", {"embedding_dim": 192}),
}
RECOMPUTED = {"ERes2NetV2": 2}
"""Models that are measured with recomputation too, and the number of stages."""


def measure(model: str, options: argparse.Namespace) -> dict[str, Turn]:
    our_model, arguments = MODELS[model]
    sizes = {"batch": options.batch, "frames": options.frames, "classes": options.classes}
    our_options = {"model": our_model, "arguments": arguments, "threads": options.threads, **sizes}
    ours = {OURS: our_options}
    if stages := RECOMPUTED.get(model):
        again = {**our_options, "arguments": {**arguments, "recompute": stages}}
        ours[f"{OURS}, recompute={stages}"] = again
    contestants = {
        name: Contestant(WORKERS / "models_ours.py", "training_step", each)
        for name, each in ours.items()
    }
    if model in PPVECTOR_MODELS:
        contestants |= ppvector_contestants(
            WORKERS / "models_ppvector.py",
            "training_step",
            {"model": model, **sizes},
            python=options.peer,
            threads=options.threads,
        )
    if model in TORCH_MODELS and options.torch is not None:
        theirs = {"model": model, "toolkits": str(options.toolkits), **sizes}
        contestants |= {
            name: Contestant(
                WORKERS / "models_torch.py",
                "training_step",
                {**theirs, "channels_last": channels_last, "threads": options.threads},
                python=options.torch,
                environment={"OMP_NUM_THREADS": str(options.threads)},
            )
            for name, channels_last in ((TORCH, False), (CHANNELS_LAST, True))
        }
    return take_turns(contestants, seconds=options.seconds)


def report(model: str, figures: Mapping[str, Turn]) -> None:
    ours = figures[OURS]
    for name, turn in figures.items():
        line = f"{model:10} {name:22} {turn.cpu:6.2f} {turn.wall:6.2f}"
        line += f" {turn.peak_mb:6.0f} {turn.value:7.3f}"
        if name != OURS:
            line += f" {turn.cpu / ours.cpu:7.2f}x {turn.wall / ours.wall:6.2f}x"
            line += f" {turn.peak_mb / ours.peak_mb:6.2f}x"
        print(line, flush=True)


def add_toolkits(parser: argparse.ArgumentParser) -> None:
    """The options of the toolkits that published the networks."""
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument(
        "--toolkits",
        type=Path,
        metavar="FOLDER",
        help="checkouts of wespeaker, 3D-Speaker and speechbrain; needed by --torch",
    )


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of the command line, those of the toolkits both or neither."""
    options = parser.parse_args()
    if options.torch is not None and options.toolkits is None:
        parser.error("--torch needs --toolkits")
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    add_toolkits(parser)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant")
    parser.add_argument(
        "--seconds",
        type=float,
        default=40,
        help="seconds of turns per model; the first round is not counted if there are more",
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=298)
    parser.add_argument("--classes", type=int, default=8388)
    options = parse(parser)
    print(
        f"batch {options.batch} x {options.frames} frames, {options.classes} classes, "
        f"{options.threads} "
        "thread(s)"
    )
    ratios = f"{'CPU':>8} {'wall':>7} {'MB':>7}"
    print(
        f"{'model':10} {'contestant':22} {'CPU s':>6} {'wall s':>6} {'MB':>6} {'loss':>7} {ratios}"
    )
    for model in options.models:
        report(model, measure(model, options))


if __name__ == "__main__":
    main()
