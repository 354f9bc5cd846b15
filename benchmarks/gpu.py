"""Everything about a GPU that a machine without one cannot show, from one command.

    python benchmarks/gpu.py [--device cpu] [--models TDNN ...] [--lines WORD ...] [--out FILE]

Each line has a verdict: pass, fail with what was found, or skipped with the reason. All lines, the
machine and the versions go into one JSON file. The lines are:

- features and embeddings on the device, against the CPU;
- the losses of steps in half precision, against float32;
- kernels that a step needs and that Paddle has only for the CPU;
- values that are fetched from the device between log points;
- NCCL ranks and SyncBatchNorm, against one process;
- throughput and peak memory of training steps and of embedding.

On a GPU Paddle may compute float32 products in TF32. ``NVIDIA_TF32_OVERRIDE=0`` in the environment
turns that off.

``--device cpu`` runs every line that a CPU can, at a small size. The status is 1 if a line failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gpu_checks
import paddle
from gpu_checks import VERDICTS, Line, Options, SkippedError
from speaker_step import MODELS

from vprtrain import features, runtime
from vprtrain.features import FeatureExtractor


def checks(options: Options) -> Iterator[tuple[str, Callable[[], Line]]]:
    """The name of every line, and what measures it."""
    for kind in (getattr(features, name) for name in features.__all__):
        if issubclass(kind, FeatureExtractor) and kind is not FeatureExtractor:
            yield f"parity of {kind.__name__}", partial(gpu_checks.feature_parity, kind, options)
    for model in options.models:
        yield f"parity of {model}", partial(gpu_checks.embedding_parity, model, options)
    for model in options.models:
        for dtype in ("bfloat16", "float16"):
            yield f"{dtype} of {model}", partial(gpu_checks.half_precision, model, dtype, options)
    yield "kernels", partial(gpu_checks.kernels, options)
    for model in options.models:
        yield f"fetches of {model}", partial(gpu_checks.fetches, model, options)
    yield "ranks", partial(gpu_checks.ranks, options)
    yield "SyncBatchNorm", partial(gpu_checks.synchronised_batch_norm, options)
    for model in options.models:
        for dtype in ("float32", "bfloat16", "float16"):
            yield f"steps of {model} {dtype}", partial(gpu_checks.steps, model, dtype, options)
        yield f"embedding by {model}", partial(gpu_checks.embedding, model, options)


def judged(check: Callable[[], Line], unavailable: str) -> Line:
    """The line of a check. An error is a failure of this line, and the others go on."""
    if unavailable:
        return Line("skipped", {}, unavailable)
    try:
        return check()
    except SkippedError as skipped:
        return Line("skipped", {}, str(skipped))
    except Exception as error:
        return Line("fail", {}, f"{type(error).__name__}: {error}".partition("\n")[0])


def machine(device: str) -> dict[str, str]:
    found = {
        "device": device,
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "NVIDIA_TF32_OVERRIDE": os.environ.get("NVIDIA_TF32_OVERRIDE", ""),
    }
    if device != "cpu":
        found["name"] = paddle.device.cuda.get_device_name()
        found["GPUs"] = str(paddle.device.cuda.device_count())
        found["CUDA"], found["cuDNN"] = paddle.version.cuda(), paddle.version.cudnn()
    return found


def why_unavailable(device: str) -> str:
    """The reason why this device cannot be used; empty if it can."""
    if device == "cpu":
        return ""
    if not paddle.is_compiled_with_cuda():
        return f"Paddle {paddle.__version__} here is the CPU's: install paddlepaddle-gpu"
    if not paddle.device.cuda.device_count():
        return "this machine has no GPU that Paddle sees"
    return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--lines", nargs="+", metavar="WORD", help="only lines with such a word")
    parser.add_argument("--batch", type=int, help="utterances, 64 by default and 4 on a CPU")
    parser.add_argument("--seconds", type=float, help="of each, 3 by default and 1 on a CPU")
    parser.add_argument("--steps", type=int, help="that are timed, 20 by default and 1 on a CPU")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON file")
    given = parser.parse_args(arguments)
    small = given.device == "cpu"
    unavailable = why_unavailable(given.device)
    paddle.set_device("cpu" if unavailable else given.device)
    options = Options(
        device=given.device,
        models=given.models,
        batch=given.batch or (4 if small else 64),
        seconds=given.seconds or (1.0 if small else 3.0),
        steps=given.steps or (1 if small else 20),
    )
    lines: dict[str, Line] = {}
    for name, check in checks(options):
        if given.lines and not set(given.lines) & set(name.split()):
            continue
        lines[name] = line = judged(check, unavailable)
        figures = "  ".join(f"{key} {value:.4g}" for key, value in line.values.items())
        print(f"{line.verdict:8} {name:36} {figures or line.reason}", flush=True)
    found = {
        "machine": machine("cpu" if unavailable else given.device),
        "lines": [{"name": name, **line._asdict()} for name, line in lines.items()],
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    verdicts = [line.verdict for line in lines.values()]
    print(", ".join(f"{verdicts.count(each)} {each}" for each in VERDICTS) + f": {given.out}")
    return 1 if "fail" in verdicts else 0


if __name__ == "__main__":
    runtime.prepare()
    sys.exit(main())
