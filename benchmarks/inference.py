"""The time to embed a recording: with a checkpoint in Paddle and in the runtime that is chosen for
it, with a static Paddle model, ONNX, the same file in ONNX Runtime alone, ppvector, and the
toolkits that published the networks.

Every contestant embeds the same noise from memory, from waveform to embedding, on one thread; the
toolkits' networks, in PyTorch and as PyTorch exports them to ONNX Runtime, are given features. Each
runs in a process of its own, and they take turns. The weights are untrained, so only the embeddings
of vprtrain's formats are equal in the last column. ppvector is measured twice: as installed,
and with the environment variable that lets its MKL use AVX2 on an AMD processor, which vprtrain
sets itself.

    python benchmarks/inference.py [--peer PYTHON] [--torch PYTHON --toolkits FOLDER]
    [--models TDNN CAMPPlus ...] [--audio S] [--seconds S]

The first PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``, the
second one with ``torch onnx onnxruntime``; without them only vprtrain is measured. The table shows
medians of CPU seconds, and the real-time factor, which is wall-clock time for a second of audio.
The ratios are the speeds by CPU seconds relative to the checkpoint in Paddle and to ppvector with
the environment variable.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import models
from peer import SWITCHED, Contestant, Turn, ppvector_contestants, take_turns
from tables import print_head, print_row

WORKERS = Path(__file__).parent / "workers"
# Our class -> its arguments, and the same model's name in ppvector.
MODELS: dict[str, tuple[dict[str, Any], str | None]] = {
    **{models.MODELS[name][0]: (models.MODELS[name][1], name) for name in models.PPVECTOR_MODELS},
    **dict.fromkeys(("ERes2NetV2", "Res2Net", "ResNet34"), ({}, None)),
}
CHECKPOINT, CHOSEN, STATIC, ONNX = "checkpoint", "checkpoint, auto", "static", "ONNX"
ALONE = "ONNX Runtime alone"
TOOLKIT = {"PyTorch, features": False, "ONNX Runtime, features": True}
"""The contestants of the toolkits, and whether they run an export"""
# The format of the export and the runtime.
FORMATS = {
    CHECKPOINT: (None, "paddle"),
    CHOSEN: (None, "auto"),
    STATIC: ("paddle", "paddle"),
    ONNX: ("onnx", "onnx"),
}


def measure(model: str, options: argparse.Namespace) -> dict[str, Turn]:
    arguments, peer_model = MODELS[model]
    same = {"model": model, "arguments": arguments, "seconds": options.audio}
    contestants = {
        name: Contestant(
            WORKERS / "inference_ours.py",
            "embedding",
            {**same, "format": format, "runtime": runtime},
        )
        for name, (format, runtime) in FORMATS.items()
    }
    contestants[ALONE] = Contestant(WORKERS / "inference_ours.py", "onnxruntime_alone", same)
    if peer_model:
        contestants |= ppvector_contestants(
            WORKERS / "inference_ppvector.py",
            "embedding",
            {"model": peer_model, "seconds": options.audio},
            python=options.peer,
            threads=1,
        )
    if model in models.TORCH_MODELS and options.torch is not None:
        theirs = {"model": model, "toolkits": str(options.toolkits), "threads": 1}
        contestants |= {
            name: Contestant(
                WORKERS / "models_torch.py",
                "embedding",
                {**theirs, "onnx": onnx, "frames": int(options.audio * 100) - 2},
                python=options.torch,
                environment={"OMP_NUM_THREADS": "1"},
            )
            for name, onnx in TOOLKIT.items()
        }
    return take_turns(contestants, seconds=options.seconds)


def report(model: str, figures: Mapping[str, Turn], audio: float) -> None:
    for name, turn in figures.items():
        ratios = [
            f"{figures[other].cpu / turn.cpu:.2f}x" if other in figures else "-"
            for other in (CHECKPOINT, SWITCHED)
        ]
        spent = (f"{turn.cpu:.4f}", f"{turn.wall / audio:.4f}")
        print_row(model, name, *spent, *ratios, f"{turn.value:.5g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    models.add_toolkits(parser)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--audio", type=float, default=5, help="seconds of the recording")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of turns for each model, without the first round"
    )
    options = models.parse(parser)
    print(f"{options.audio:g} s of audio, from waveform to embedding, one thread")
    print()
    print_head("model", "contestant", "CPU s", "RTF", "checkpoint", "ppvector", "embedding")
    for model in options.models:
        report(model, measure(model, options), options.audio)


if __name__ == "__main__":
    main()
