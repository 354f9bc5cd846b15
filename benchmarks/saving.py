"""A checkpoint of 100 million parameters with Adam (1.2 GB): how long a commit takes, and how much
memory.

The baseline, in the same run and with the same bytes, is the least that a durable and verifiable
file needs: a plain write, ``fsync`` and a SHA-256 of each array.

    python benchmarks/saving.py [--millions 100] [--rounds 3]

Medians over the rounds. ``copy`` is the time that training waits for the snapshot in memory. The
last line is a run of that size that gets SIGTERM after some steps: the time until its process has
ended, with a checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tables import print_head, print_row

from vprtrain import runtime

STEPS_BEFORE_SIGNAL = 5
LARGE_RUN = Path(__file__).parent / "workers" / "large_run.py"


def stop(folder: Path, millions: int) -> float:
    """The seconds from SIGTERM to the end of a run."""
    run = subprocess.Popen(
        [sys.executable, LARGE_RUN, folder, str(millions)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdout is not None
    for _ in range(STEPS_BEFORE_SIGNAL):
        run.stdout.readline()
    started = time.perf_counter()
    run.send_signal(signal.SIGTERM)
    run.communicate()
    if not (folder / "last_model").exists():
        raise RuntimeError(f"the run ended with status {run.returncode} and no checkpoint")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--millions", type=int, default=100, help="parameters, in millions")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runtime.prepare()
    runtime.keep_freed_memory()  # as the command fit does

    import paddle

    from vprtrain.callbacks.checkpoint import REHEARSED_BYTES
    from vprtrain.checkpoint.file_names import MODEL_FILE, OPTIMIZER_FILE
    from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays, optimizer_arrays
    from vprtrain.checkpoint.state import CheckpointState
    from vprtrain.checkpoint.state_file import open_checkpoint
    from vprtrain.checkpoint.store import Store

    side = 1000
    layers = paddle.nn.LayerList(
        paddle.nn.Linear(side, side, bias_attr=False) for _ in range(options.millions)
    )
    optimizer = paddle.optimizer.Adam(parameters=layers.parameters())
    paddle.add_n([layer.weight.sum() for layer in layers]).backward()
    optimizer.step()
    optimizer.clear_grad(set_to_zero=False)

    times: dict[str, list[float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        times.setdefault(name, []).append(time.perf_counter() - started)

    def take() -> Snapshot:
        return Snapshot(
            name="step_1",
            state=CheckpointState(step=1),
            arrays={
                MODEL_FILE: layer_arrays(layers),
                OPTIMIZER_FILE: optimizer_arrays(optimizer, layers),
            },
        )

    def rehearse(store: Store, snapshot: Snapshot) -> None:
        sample = snapshot.sample(REHEARSED_BYTES)
        store.rehearse(sample, reserve=snapshot.array_bytes - sample.array_bytes)

    def write_plainly(snapshot: Snapshot, path: Path) -> None:
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for arrays in snapshot.arrays.values():
                for array in arrays.values():
                    digest.update(array)
                    file.write(array.data)
            file.flush()
            os.fsync(file.fileno())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=".") as name:
            folder = Path(name)
            with timed("copy"):
                snapshot = take()
            store = Store(folder / "run")
            with store.locked():
                with timed("rehearsal"):
                    rehearse(store, snapshot)
                with timed("commit"):
                    store.commit(snapshot, best=False, keep=1)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with timed("plain write, fsync, SHA-256"):
                write_plainly(snapshot, folder / "plain")
            with timed("opening, all files verified"):
                open_checkpoint(folder / "run" / "step_1")
            size = snapshot.array_bytes
            del snapshot  # before the next one is taken
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=".") as name:
            times.setdefault("SIGTERM to the end of a run", []).append(
                stop(Path(name, "run"), options.millions)
            )
    medians = {name: statistics.median(values) for name, values in times.items()}
    plain = medians["plain write, fsync, SHA-256"]
    print(f"{size / 1e9:.2f} GB of arrays; median of {options.rounds} rounds")
    print(f"memory beyond the model and its optimizer, at most: {(peak - before) / 1e6:.2f} GB\n")
    print_head("", "seconds", "of plain")
    for name, seconds in medians.items():
        print_row(name, f"{seconds:.2f}", f"{seconds / plain:.2f}")


if __name__ == "__main__":
    main()
