"""Real runs that a test stops by signals, each in its own process.

For each line of JSON on standard input, ``{"run_dir": .., "phase": PHASE or null}``, a process is
forked that starts or resumes the small run of recovery.py, as a command line would. When it reaches
the phase it prints ``{"pid": .., "phase": PHASE, "waits": ..}`` and stays there until the test
opens the gate (``gate.py``). A phase that "waits" stands for a blocking wait: the test leaves the
gate closed, and a signal has to end it. The server prints ``{"status": ..}`` when the process has
ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gate import stay_at_gate
from quick_disk import do_not_wait_for_the_disk
from recovery import fit
from toy import ToyData

from vprtrain import files, runtime
from vprtrain.callbacks import GracefulStop
from vprtrain.commands import program
from vprtrain.commands.training import exit_status
from vprtrain.engine import Callback, Run, ValidationRun

STEP = 4
"""The phases of the training loop are before or after this step, which a validation follows."""

WAITED_FOR = (
    "start-up",
    "wait in the check of the validation",
    "wait for the first batch",
    "wait for a batch",
    "wait for a micro-batch",
    "wait for a validation batch",
)
WORKED_IN = (
    "rehearsal",
    "batch start",
    "before the update",
    "batch end",
    "log point",
    "validation start",
    "validation",
    "validation end",
    "last validation",
    "epoch end",
    "epoch start",
    "half written",
    "renamed",
    "linked",
)


class Phases(Callback):
    """Stays in one phase, the first time that the run reaches it."""

    def __init__(self, run_dir: Path, phase: str | None) -> None:
        assert phase is None or phase in WAITED_FOR + WORKED_IN
        self._run_dir = run_dir
        self._phase = phase

    def at(self, phase: str, *, when: bool = True) -> None:
        if phase == self._phase and when:
            self._phase = None
            say(pid=os.getpid(), phase=phase, waits=phase in WAITED_FOR)
            stay_at_gate(self._run_dir)

    def on_train_epoch_start(self, run: Run) -> None:
        self.at("epoch start", when=run.progress.epoch == 1)

    def on_train_batch_start(self, run: Run) -> None:
        self.at("batch start", when=run.progress.step == STEP - 1)

    def on_before_optimizer_step(self, run: Run) -> None:
        self.at("before the update", when=run.progress.step == STEP - 1)

    def on_train_batch_end(self, run: Run) -> None:
        self.at("batch end", when=run.progress.step == STEP + 1)

    def on_log(self, run: Run) -> None:
        self.at("log point", when=run.progress.step == 3)

    def on_validation_start(self, run: ValidationRun) -> None:
        self.at("validation start")

    def on_validation_batch_end(self, run: ValidationRun) -> None:
        self.at("validation")
        self.at("last validation", when=run.progress.step == run.live.max_steps)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        self.at("validation end")

    def on_train_epoch_end(self, run: Run) -> None:
        self.at("epoch end")

    def on_file(self, point: str) -> None:
        """Called as ``files.watch``. The rehearsal has the first rename and the first link."""
        self.renamed += point == "after_rename"
        self.linked += point == "after_link"
        self.at("rehearsal", when=point == "half_written")
        self.at("half written", when=point == "half_written" and self.renamed == 1)
        self.at("renamed", when=point == "after_rename" and self.renamed == 2)
        self.at("linked", when=point == "after_link" and self.linked == 2)

    renamed = linked = 0


class Data(ToyData):
    def __init__(self, phases: Phases) -> None:
        super().__init__(batches=12)
        self._phases = phases
        self._validations = 0

    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        for number, batch in enumerate(super().train_batches(epoch, start), start):
            self._phases.at("wait for the first batch")
            self._phases.at("wait for a batch", when=number == 2 * STEP)
            self._phases.at("wait for a micro-batch", when=number == 2 * STEP + 1)
            yield batch

    def validation_batches(self) -> Iterator[Any]:
        first, second = super().validation_batches()
        yield first
        self._validations += 1  # the first one of a new run is the check before training
        self._phases.at("wait in the check of the validation")
        self._phases.at("wait for a validation batch", when=self._validations > 1)
        yield second


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def run(run_dir: Path, phase: str | None) -> int:
    phases = Phases(run_dir, phase)
    files.watch = phases.on_file
    phases.at("start-up")
    return exit_status(fit(run_dir, GracefulStop(), phases, data=Data(phases)).result)


def main() -> None:
    do_not_wait_for_the_disk()
    runtime.prepare()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            runtime.prepare()  # a forked process has no handlers of the one before
            program.run(lambda _: run(Path(request["run_dir"]), request["phase"]), [])  # noqa: B023 - called at once
        say(status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
