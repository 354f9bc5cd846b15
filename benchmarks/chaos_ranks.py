"""Kills random ranks and Paddle's launcher under ``vprtrain launch``, and compares the outcome with
that of an uninterrupted launch.

    python benchmarks/chaos_ranks.py [--kills 20] [--ranks 2] [--seed 0] [CONFIG]

Like ``benchmarks/chaos.py``, but with several ranks that train one run over gloo. SIGKILL is sent
at random times to one of the ranks or to the launcher that started them, never to ``vprtrain
launch``, which must restart them. ``vprtrain launch`` gives up after a kill before the first
checkpoint since a restart; it is then started again, as a user would do. The exit status is 1 if
the outcome of any run differs from the uninterrupted one in a single bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from chaos import Tally, Trainer, built_in, draw_lifetimes, outcome, steps_lost, train_uninterrupted

from vprtrain import runtime


class Killer:
    """Kills one process of each launch after a lifetime (seconds), taken from the list."""

    def __init__(self, rng: random.Random, lifetimes: list[float], ranks: int) -> None:
        self.hits: Counter[str] = Counter()
        self.lifetimes = lifetimes
        self._rng = rng
        self._ranks = ranks

    def train(self, trainer: Trainer, tally: Tally) -> None:
        """Train to the end. Start ``vprtrain launch`` again when it gives up."""
        started = time.monotonic()
        status = 1
        while status != 0:
            command = trainer.start()
            kills = tally.kills
            status = self._watch(command, trainer, tally)
            if tally.kills == kills:
                trainer.check(status)
        tally.seconds = time.monotonic() - started

    def _watch(self, command: subprocess.Popen[bytes], trainer: Trainer, tally: Tally) -> int:
        """Kill once in every launch that the command makes. Returns its exit status."""
        launcher, started_at = None, 0.0
        while command.poll() is None:
            time.sleep(0.01)
            # The orphans of a killed launcher are also children of the command for a moment.
            now = [
                pid
                for pid in children(command.pid)
                if b"paddle.distributed.launch" in command_line(pid)
            ]
            if now and now[0] != launcher:
                launcher, started_at = now[0], time.time()
                tally.starts += 1
            if (
                launcher is not None
                and self.lifetimes
                and started_at
                and time.time() > started_at + self.lifetimes[-1]
            ):
                self._kill(launcher)
                self.lifetimes.pop()
                tally.kills += 1
                tally.replayed += steps_lost(trainer.run_dir, since=started_at)
                started_at = 0.0  # one kill per launch
        return command.returncode

    def _kill(self, launcher: int) -> None:
        """Kill a rank or the launcher; the launcher if there are no ranks yet."""
        trained = [rank for keeper in children(launcher) for rank in children(keeper)]
        target = self._rng.randrange(self._ranks + 1)
        name, pid = (
            ("launcher", launcher)
            if target >= len(trained)
            else (f"rank {target}", trained[target])
        )
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, signal.SIGKILL)
        self.hits[name] += 1


def children(pid: int) -> list[int]:
    """The child processes, oldest first; none if the process has ended."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "config", nargs="?", help="for recipes/cnceleb/run.py fit; default: a small built-in run"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the times and targets of the kills")
    options = parser.parse_args()
    if options.kills < 1 or options.ranks < 2:
        parser.error(
            f"--kills is {options.kills} and --ranks {options.ranks}: expected at least 1 and 2"
        )
    runtime.set_environment()
    rng = random.Random(options.seed)
    launch = [
        "-m",
        "vprtrain",
        "launch",
        f"--nprocs={options.ranks}",
        f"--max-restarts={options.kills}",
        "--",
    ]

    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        os.environ["TMPDIR"] = name  # for what a command keeps after giving up
        arguments = [f"--config={options.config}"] if options.config else built_in(folder)
        trainer = Trainer(folder, arguments, launch)
        print("run         kills  starts  steps  replayed  seconds  identical", flush=True)
        reference = Tally(name="reference")
        startup = train_uninterrupted(trainer, reference)
        assert trainer.run_dir is not None
        expected = outcome(trainer.run_dir)
        reference.steps = expected["last_model: step"]
        print(reference.row(), flush=True)

        killer = Killer(
            rng,
            draw_lifetimes(rng, options.kills, startup, reference.seconds - startup),
            options.ranks,
        )
        killed: list[Tally] = []
        while killer.lifetimes:
            trainer.remove_run()
            tally = Tally(name=f"killed {len(killed) + 1}")
            killer.train(trainer, tally)
            found = outcome(trainer.run_dir)
            tally.steps, tally.identical = found["last_model: step"], found == expected
            killed.append(tally)
            print(tally.row(), flush=True)
            for key in sorted(expected.keys() | found.keys()):
                if found.get(key) != expected.get(key):
                    print(f"  differs: {key}", flush=True)

    different = sum(not tally.identical for tally in killed)
    hits = ", ".join(f"{name} {count}" for name, count in sorted(killer.hits.items()))
    print(
        f"{options.kills} kills ({hits}), {different} of {len(killed)} runs differ from the "
        "uninterrupted one"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
