"""Kills a training run by SIGKILL at random times, and compares its outcome with that of an
uninterrupted run.

    python benchmarks/chaos.py [--kills 100] [--seed 0] [CONFIG]

``CONFIG`` is a YAML file for ``recipes/cnceleb/run.py fit``. Without it, a compact network trains
on a small synthetic corpus, with gradient accumulation, clipping, averaged weights and validations
within an epoch. One run is uninterrupted. Further runs are killed and restarted until they are
complete, as many as the number of kills requires. The exit status is 1 if the weights, averaged
weights, optimizer state, best record or metrics (without times) of any run differ from those of the
uninterrupted run in a single bit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vprtrain import runtime
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.data.preparation import Preparation
from vprtrain.recipes.cnceleb.corpus import make_corpus
from vprtrain.recipes.cnceleb.prepare import prepare

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "cnceleb"
METRICS = "metrics.jsonl"
KILLED_AT_START = 0.1
"""The share of kills before training starts: during imports, opening the data, restoring."""
LOCK = ".lock"
"""This file in the run directory marks the end of start-up."""


@dataclass(kw_only=True)
class Tally:
    """The counts of one run. ``identical`` is ``None`` for the uninterrupted run."""

    name: str
    kills: int = 0
    starts: int = 0
    steps: int = 0
    replayed: int = 0
    seconds: float = 0.0
    identical: bool | None = None

    def row(self) -> str:
        verdict = {None: "-", True: "yes", False: "NO"}[self.identical]
        counts = f"{self.kills:>6} {self.starts:>7} {self.steps:>6} {self.replayed:>9}"
        return f"{self.name:<10} {counts} {self.seconds:>8.0f}  {verdict}"


class Trainer:
    """Starts ``fit`` repeatedly into the same folder, so that all configurations are identical.

    Args:
        launcher: arguments between the interpreter and the recipe.
    """

    def __init__(self, folder: Path, arguments: list[str], launcher: Sequence[str] = ()) -> None:
        self._save_dir = folder / "models"
        self._log = folder / "fit.log"
        # Every step is logged, to know how far a killed process came. Logging changes no weight.
        options = [f"--save_dir={self._save_dir}", "--engine.log_every=1"]
        self._command = [
            sys.executable,
            *launcher,
            str(RECIPE / "run.py"),
            "fit",
            *arguments,
            *options,
        ]

    @property
    def run_dir(self) -> Path | None:
        """``None`` until a process has created it."""
        lock = next(self._save_dir.glob(f"*/{LOCK}"), None)
        return None if lock is None else lock.parent

    def start(self) -> subprocess.Popen[bytes]:
        """Start a process. Call :meth:`check` if it ends without being killed."""
        with open(self._log, "ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    def check(self, status: int) -> None:
        """Exit with the end of the log if a process failed without being killed."""
        if status != 0:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            sys.exit(f"{' '.join(self._command)}\nended with status {status}:\n{tail}")

    def remove_run(self) -> None:
        """Remove the run directory; the next process starts a new run."""
        shutil.rmtree(self._save_dir)


def train_uninterrupted(trainer: Trainer, tally: Tally) -> float:
    """Train to the end. Returns the seconds of start-up."""
    started = time.monotonic()
    process = trainer.start()
    while trainer.run_dir is None and process.poll() is None:
        time.sleep(0.02)
    startup = time.monotonic() - started
    trainer.check(process.wait())
    tally.starts, tally.seconds = 1, time.monotonic() - started
    return startup


def train_with_kills(trainer: Trainer, tally: Tally, lifetimes: list[float]) -> None:
    """Train to the end. Each lifetime (seconds) that a process outlasts is removed from the list,
    and the process is killed."""
    started = time.monotonic()
    finished = False
    while not finished:
        started_at = time.time()
        process = trainer.start()
        tally.starts += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=lifetimes[-1] if lifetimes else None)
        finished = process.poll() is not None
        if finished:
            trainer.check(process.returncode)
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
            lifetimes.pop()
            tally.kills += 1
            tally.replayed += steps_lost(trainer.run_dir, since=started_at)
    tally.seconds = time.monotonic() - started


def draw_lifetimes(rng: random.Random, kills: int, startup: float, training: float) -> list[float]:
    """The seconds from the start of a process to each kill: some during start-up, the others at a
    constant rate afterwards.

    The rate spreads the kills over one run, but gives a process at least one second of training on
    average.
    """
    mean = max(1.0, training / kills)
    return [
        rng.uniform(0, startup)
        if rng.random() < KILLED_AT_START
        else startup + rng.expovariate(1 / mean)
        for _ in range(kills)
    ]


def steps_lost(run_dir: Path | None, *, since: float) -> int:
    """The steps of a killed process, started at ``since``, that the next process must repeat."""
    if (
        run_dir is None
        or not (run_dir / METRICS).exists()
        or (run_dir / METRICS).stat().st_mtime < since
    ):
        return 0  # it has not logged yet: the file is from an earlier process
    reached = [line["step"] for line in read_metrics(run_dir)]
    link = run_dir / "last_model"
    committed = open_checkpoint(link).state.step if link.exists() else 0
    return max(0, max(reached, default=0) - committed)


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The complete lines of the log without times; none without a log."""
    if not (run_dir / METRICS).exists():
        return []
    lines = (run_dir / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
    parsed = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value for name, value in line.items() if name != "time"} for line in parsed]


def outcome(run_dir: Path) -> dict[str, Any]:
    """What must not depend on kills. ``model.state`` holds the digests of weights, averages and
    optimizer state."""
    result: dict[str, Any] = {METRICS: read_metrics(run_dir)}
    for link in ("last_model", "best_model"):
        if not (run_dir / link).exists():  # best_model, without validation
            continue
        saved = open_checkpoint(run_dir / link)
        # The offset counts bytes of METRICS, including times.
        result |= {
            f"{link}: {name}": value
            for name, value in saved.state.to_json().items()
            if name != "metrics_offset"
        }
        result[link] = saved.folder.name
    return result


def built_in(folder: Path) -> list[str]:
    """The arguments of a fit with 300 steps, which takes half a minute on one core."""
    root = make_corpus(folder / "corpus", speakers=8, unseen=6, utterances=10, seconds=2.0)
    manifests = folder / "manifests"
    prepare(Preparation(out_dir=manifests), root)
    return [
        "--config=demo",
        f"--data.train_manifest={manifests / 'train.tsv'}",
        f"--data.eval_manifest={manifests / 'eval.tsv'}",
        f"--data.trials={manifests / 'trials.txt'}",
        f"--data.enroll={manifests / 'enroll.map'}",
        "--data.batch_size=8",
        "--data.crop_seconds=1.5",
        "--model.init_args.channels=64",
        "--model.init_args.pooled_channels=96",
        "--model.init_args.embedding_dim=32",
        "--engine.accumulate=2",
        "--engine.max_epochs=60",
        "--engine.validate_every=17 steps",
        "--engine.commit_every=4 steps",
        "--callbacks+=vprtrain.callbacks.EMA",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "config", nargs="?", help="for recipes/cnceleb/run.py fit; default: a small built-in run"
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error(f"--kills is {options.kills}: expected at least 1")
    runtime.set_environment()

    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        trainer = Trainer(
            folder, [f"--config={options.config}"] if options.config else built_in(folder)
        )
        print("run         kills  starts  steps  replayed  seconds  identical", flush=True)
        reference = Tally(name="reference")
        startup = train_uninterrupted(trainer, reference)
        assert trainer.run_dir is not None
        expected = outcome(trainer.run_dir)
        reference.steps = expected["last_model: step"]
        print(reference.row(), flush=True)

        lifetimes = draw_lifetimes(
            random.Random(options.seed), options.kills, startup, reference.seconds - startup
        )
        killed: list[Tally] = []
        while lifetimes:
            trainer.remove_run()
            tally = Tally(name=f"killed {len(killed) + 1}")
            train_with_kills(trainer, tally, lifetimes)
            found = outcome(trainer.run_dir)
            tally.steps, tally.identical = found["last_model: step"], found == expected
            killed.append(tally)
            print(tally.row(), flush=True)
            for key in sorted(expected.keys() | found.keys()):
                if found.get(key) != expected.get(key):
                    print(f"  differs: {key}", flush=True)

    different = sum(not tally.identical for tally in killed)
    replayed, steps = sum(tally.replayed for tally in killed), sum(tally.steps for tally in killed)
    print(
        f"{options.kills} kills, {replayed} steps replayed in {steps}, {different} of "
        f"{len(killed)} runs differ from the uninterrupted run"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
