"""Kills random ranks, and Paddle's launcher, under ``vprtrain launch``, and compares with a launch
left in peace.

    python benchmarks/chaos_ranks.py [--kills 20] [--ranks 2] [--seed 0] [CONFIG]

As ``benchmarks/chaos.py``, with several processes that train one run over gloo. A SIGKILL hits one
of the ranks or the launcher that started them, at a random instant of wall-clock time; ``vprtrain
launch`` itself, which is to start them again, is spared. Where it gives up, as it does after a kill
before the first checkpoint since a restart, it is started again as a person would do. The exit
status is 1 where a run differs in a single bit from the one in peace.
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

from chaos import Tally, Trainer, built_in, draw_lives, outcome, steps_lost, train_in_peace

from vprtrain import runtime


class Fire:
    """Kills one process of each launch after a life (seconds, used up from the list)."""

    def __init__(self, rng: random.Random, lives: list[float], ranks: int) -> None:
        self.hits: Counter[str] = Counter()
        self.lives = lives
        self._rng = rng
        self._ranks = ranks

    def train(self, trainer: Trainer, tally: Tally) -> None:
        """Train to the end, starting ``vprtrain launch`` again where it gives up."""
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
        """Kill once in every launch that the command makes; its exit status."""
        launcher, born = None, 0.0
        while command.poll() is None:
            time.sleep(0.01)
            # What a killed launcher leaves behind becomes the command's children, too, for a
            # moment.
            now = [
                pid
                for pid in children(command.pid)
                if b"paddle.distributed.launch" in command_line(pid)
            ]
            if now and now[0] != launcher:
                launcher, born = now[0], time.time()
                tally.starts += 1
            if launcher is not None and self.lives and born and time.time() > born + self.lives[-1]:
                self._kill(launcher)
                self.lives.pop()
                tally.kills += 1
                tally.replayed += steps_lost(trainer.run_dir, since=born)
                born = 0.0  # one kill a launch
        return command.returncode

    def _kill(self, launcher: int) -> None:
        """One rank, or the launcher; the launcher where there are no ranks yet."""
        trained = [rank for keeper in children(launcher) for rank in children(keeper)]
        target = self._rng.randrange(self._ranks + 1)
        name, pid = (
            ("launcher", launcher)
            if target >= len(trained)
            else (f"rank {target}", trained[target])
        )
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, signal.SIGKILL)
        self.hits[name] += 1


def children(pid: int) -> list[int]:
    """The child processes, oldest first; none of a process that has ended."""
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "config", nargs="?", help="for recipes/cnceleb/run.py fit; none: a small run, built in"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the kills' instants and targets")
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
        os.environ["TMPDIR"] = name  # for what a command that gave up keeps
        arguments = [f"--config={options.config}"] if options.config else built_in(folder)
        trainer = Trainer(folder, arguments, launch)
        print("run         kills  starts  steps  replayed  seconds  identical", flush=True)
        peace = Tally(name="in peace")
        startup = train_in_peace(trainer, peace)
        assert trainer.run_dir is not None
        expected = outcome(trainer.run_dir)
        peace.steps = expected["last_model: step"]
        print(peace.row(), flush=True)

        fire = Fire(
            rng, draw_lives(rng, options.kills, startup, peace.seconds - startup), options.ranks
        )
        killed: list[Tally] = []
        while fire.lives:
            trainer.forget()
            tally = Tally(name=f"killed {len(killed) + 1}")
            fire.train(trainer, tally)
            found = outcome(trainer.run_dir)
            tally.steps, tally.identical = found["last_model: step"], found == expected
            killed.append(tally)
            print(tally.row(), flush=True)
            for key in sorted(expected.keys() | found.keys()):
                if found.get(key) != expected.get(key):
                    print(f"  differs: {key}", flush=True)

    different = sum(not tally.identical for tally in killed)
    hits = ", ".join(f"{name} {count}" for name, count in sorted(fire.hits.items()))
    print(
        f"{options.kills} kills ({hits}), {different} of {len(killed)} runs differ from the one "
        "in "
        "peace"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
