"""A process that a test stops by signals: it fits the toy module once for each line of JSON on
standard input.

Input: ``{"run_dir": .., "block": PLACE}``. It prints a line when it blocks there, until the test
opens the gate (``gate.py``) or a signal ends the wait, and a line when fit ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gate import stay_at_gate
from probes import train
from quick_disk import do_not_wait_for_the_disk
from toy import ToyData, ToyModule

from vprtrain.callbacks import GracefulStop

PLACES = ("first fetch", "fetch", "step", "validation", "validation fetch")


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Blocks:
    """Blocks at one place, once, until the gate is open."""

    def __init__(self, place: str, run_dir: Path) -> None:
        assert place in PLACES
        self.place: str | None = place
        self.run_dir = run_dir

    def at(self, place: str, *, when: bool = True) -> None:
        if place == self.place and when:
            self.place = None
            say(blocks=place)
            stay_at_gate(self.run_dir)


class Module(ToyModule):
    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks, self.steps = blocks, 0

    def training_step(self, batch):
        self.steps += 1
        self.blocks.at("step", when=self.steps == 4)
        return super().training_step(batch)

    def validation_step(self, batch) -> None:
        self.blocks.at("validation")
        super().validation_step(batch)


class Data(ToyData):
    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def train_batches(self, epoch, start) -> Iterator[Any]:
        for number, batch in enumerate(super().train_batches(epoch, start), start):
            self.blocks.at("first fetch")
            self.blocks.at("fetch", when=number == 3)
            yield batch

    def validation_batches(self) -> Iterator[Any]:
        first, second = super().validation_batches()
        yield first
        self.blocks.at("validation fetch")
        yield second


@contextmanager
def standard_error_without_reader() -> Iterator[None]:
    kept, (reader, writer) = os.dup(2), os.pipe()
    os.close(reader)
    os.dup2(writer, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writer)


def fit(stop: GracefulStop, *, run_dir: Path, block: str) -> None:
    def before(number, frame):
        say(handled_by="the handler from before")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, before)
    blocks = Blocks(block, run_dir)
    outcome: dict[str, Any] = {}
    try:
        run = train(
            stop,
            module=lambda: Module(blocks),
            data=Data(blocks),
            run_dir=run_dir,
            commit_every="2 steps",
            sanity_batches=0,  # the validations of the training are meant
        )
        outcome = {"stopped_by": run.result.stopped_by, "step": run.result.step}
    except KeyboardInterrupt:
        outcome = {"stopped_by": "KeyboardInterrupt"}
    restored = all(signal.getsignal(number) is before for number in (signal.SIGTERM, signal.SIGINT))
    say(**outcome, restored=restored)


def main() -> int:
    do_not_wait_for_the_disk()
    stop = GracefulStop()
    say(ready=os.getpid())
    for line in sys.stdin:
        options = json.loads(line)
        options["run_dir"] = Path(options["run_dir"])
        if options.pop("broken_stderr", False):
            with standard_error_without_reader():
                fit(stop, **options)
        else:
            fit(stop, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
