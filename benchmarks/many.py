"""The start of a command, and the embeddings of many recordings on several cores, in ONNX Runtime.

    python benchmarks/many.py [--model CAMPPlus] [--recordings 200] [--cores 2]

The weights are untrained. The first table is the CPU time of ``vprtrain contrast`` with the
checkpoint and with its two exports, two embeddings included, and beside them the imports that it
cannot do without, and the same export opened and run twice by ONNX Runtime alone. The second table
is ``vprtrain embed`` on recordings of 2 to 8 s of noise: wall-clock time on one core, then on
``--cores``, in turn; and whether the embeddings are the same to the last bit. Only an idle machine
gives a fair ratio: the share of the cores that the process got stands beside it. Python keeps what
it compiles, as an installation does.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tables import print_head, print_row

ROUNDS = 3
IMPORTS = {
    "python": "",
    "numpy": "import numpy",
    "onnxruntime": "import onnxruntime",
    "paddle": "import paddle",
}
RUNTIME_ALONE = """
import sys, numpy, onnxruntime, soundfile
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
for path in sys.argv[2:]:
    waveform = soundfile.read(path, dtype="float32")[0]
    session.run(None, {"waveforms": waveform[None], "lengths": numpy.array([len(waveform)])})
"""
_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


class Spent(NamedTuple):
    cpu: float
    wall: float


def spent(command: Sequence[str], cores: int = 1) -> Spent:
    """The seconds of a child process that may use this number of cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        check=True,
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        env=_ENVIRONMENT,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def vprtrain(*arguments: object) -> list[str]:
    return ["-m", "vprtrain", *map(str, arguments)]


def prepare(folder: Path, model: str, recordings: int) -> None:
    """An untrained checkpoint, its exports, and recordings of noise."""
    saving = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import inference_ours; "
        "inference_ours.save_untrained(pathlib.Path(sys.argv[2]), sys.argv[3], {})"
    )
    workers = Path(__file__).parent / "workers"
    spent(["-c", saving, str(workers), str(folder / "checkpoint"), model])
    for format in ("paddle", "onnx"):
        out = ("--out", folder / format, "--format", format)
        spent(vprtrain("export", "--checkpoint", folder / "checkpoint", *out))
    rng = np.random.default_rng(0)
    names = [f"{number}.wav" for number in range(recordings)]
    for name in names:
        noise = 0.1 * rng.standard_normal(int(16000 * rng.uniform(2, 8)))
        soundfile.write(folder / name, noise, 16000)
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in names))


def report_start(folder: Path) -> None:
    pair = (str(folder / "0.wav"), str(folder / "1.wav"))
    commands = {name: ["-c", code] for name, code in IMPORTS.items()}
    model = str(folder / "onnx" / "inference.onnx")
    commands["onnxruntime alone"] = ["-c", RUNTIME_ALONE, model, *pair]
    for form in ("checkpoint", "paddle", "onnx"):
        commands[f"contrast, {form}"] = vprtrain("contrast", *pair, "--checkpoint", folder / form)
    rounds = [
        {name: spent(command).cpu for name, command in commands.items()} for _ in range(ROUNDS + 1)
    ][1:]
    print_head("start", "CPU s", "from", "to")
    for name in commands:
        times = sorted(each[name] for each in rounds)
        shown = (statistics.median(times), times[0], times[-1])
        print_row(name, *(f"{seconds:.2f}" for seconds in shown))


def report_many(folder: Path, cores: int) -> None:
    def embed(cores: int) -> Spent:
        files = ("--list", folder / "list.txt", "--out", folder / f"{cores}.npz")
        return spent(vprtrain("embed", *files, "--checkpoint", folder / "onnx"), cores)

    rounds = [(embed(1), embed(cores)) for _ in range(ROUNDS)]
    one, several = (
        Spent(*(statistics.median(values) for values in zip(*turns, strict=True)))
        for turns in zip(*rounds, strict=True)
    )
    print()
    print_head("cores", "s", "CPU s", "of the cores")
    for count, found in ((1, one), (cores, several)):
        share = found.cpu / found.wall / count
        print_row(count, f"{found.wall:.2f}", f"{found.cpu:.2f}", f"{share:.0%}")
    with np.load(folder / "1.npz") as ours, np.load(folder / f"{cores}.npz") as theirs:
        same = np.array_equal(ours["embeddings"], theirs["embeddings"])
    print(f"\nspeed-up {one.wall / several.wall:.2f}; the same bits: {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="CAMPPlus", help="a class of vprtrain.models")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.model, options.recordings)
        report_start(Path(folder))
        report_many(Path(folder), options.cores)


if __name__ == "__main__":
    main()
