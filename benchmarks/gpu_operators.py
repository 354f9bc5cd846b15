"""Whether Paddle has a GPU kernel for everything that a training step computes.

    python benchmarks/gpu_operators.py [--models TDNN ...] [--registry PYTHON]

One step of every model (features, encoder, AAM loss, backward, clipping, Adam), one with every
loss, and every feature are run once, and the kernels that Paddle chose are read from its log. Each
kernel with its type is looked up in the registry of PYTHON's Paddle (default: this interpreter's).
PYTHON needs ``paddlepaddle-gpu``; the registry can be read on a machine without a GPU. A kernel
without a GPU version would run on the CPU in every step, with two copies and a wait. The status is
1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vprtrain import models

WORKER = Path(__file__).parent / "workers" / "operators_ours.py"
MODELS = [name for name in models.__all__ if name != "SpeakerEncoder"]
REGISTRY = """
import json
from paddle.base import core
print(json.dumps(core._get_registered_phi_kernels()))
"""
# Two lines of Paddle's log for each call: the operator with its place, layout and type, and the
# kernel that was chosen for it.
_KEY = re.compile(r" API kernel key: \[\w+, [^,]+, (\w+)\]")
_KERNEL = re.compile(r"\] (\w+) kernel: \{")
_LOG = {"GLOG_vmodule": "*api*=6", "GLOG_minloglevel": "0"}

Kernels = set[tuple[str, str]]
"""Names of kernels, each with the type of its numbers."""


def worker_environment() -> dict[str, str]:
    """An environment in which a worker can import the modules beside this file."""
    paths = [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def used_kernels(names: Sequence[str]) -> dict[str, Kernels]:
    """The kernels of every part: steps of the models, steps with the losses, and features."""
    parts: dict[str, Kernels] = {}
    current: Kernels | None = None
    key = ""
    with subprocess.Popen(
        [sys.executable, str(WORKER), *names],
        env=worker_environment() | _LOG,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as worker:
        assert worker.stderr is not None
        last = ""
        for line in worker.stderr:
            if line.startswith("part"):
                name = line.removeprefix("part").strip()
                current = parts.setdefault(name, set()) if name else None
            elif found := _KEY.search(line):
                key = found[1]
            elif current is not None and (found := _KERNEL.search(line)):
                current.add((found[1], key))
            last = line
    if worker.returncode:
        raise RuntimeError(f"{WORKER.name} ended with status {worker.returncode}: {last.strip()}")
    return parts


def gpu_kernels(python: str = sys.executable) -> Kernels:
    """The registered GPU kernels of an interpreter's Paddle; empty for the CPU's wheel."""
    done = subprocess.run([python, "-c", REGISTRY], stdout=subprocess.PIPE, text=True, check=True)
    registry: Mapping[str, Sequence[str]] = json.loads(done.stdout.splitlines()[-1])
    return {
        (name, key.strip("()").split(", ")[-1])
        for name, keys in registry.items()
        for key in keys
        if key.startswith("(GPU")
    }


def without_gpu(parts: Mapping[str, Kernels], on_gpu: Kernels) -> dict[str, list[str]]:
    """The kernels of each part that no GPU has, with the type that is missing."""
    missing = {
        part: sorted(f"{name} {dtype}" for name, dtype in used - on_gpu)
        for part, used in parts.items()
    }
    return {part: names for part, names in missing.items() if names}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument(
        "--registry", metavar="PYTHON", default=sys.executable, help="has paddlepaddle-gpu"
    )
    options = parser.parse_args()
    on_gpu = gpu_kernels(options.registry)
    if not on_gpu:
        parser.error(f"{options.registry}: its Paddle has no GPU kernels: give --registry PYTHON")
    parts = used_kernels(options.models)
    missing = without_gpu(parts, on_gpu)
    print(f"{'part':40} {'kernels':>8}  without a GPU kernel")
    for part, kernels in parts.items():
        print(f"{part:40} {len(kernels):>8}  {', '.join(missing.get(part, [])) or '-'}")
    every = sorted(set().union(*parts.values()))
    print(f"{'all':40} {len(every):>8}  {sum(map(len, missing.values())) or '-'}")
    print(", ".join(sorted({name for name, _ in every})))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
