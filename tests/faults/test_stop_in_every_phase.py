"""G5: SIGTERM and SIGINT in every phase of a real process lead to one commit and an exit status,
and the resume loses no bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from gate import close_gate, open_gate
from json_process import PATIENCE, JsonProcess
from recovery import outcome

from vprtrain.checkpoint.state_file import open_checkpoint

NOTHING = None

PHASES = {
    "start-up": NOTHING,
    "rehearsal": NOTHING,
    "wait in the check of the validation": NOTHING,
    "wait for the first batch": NOTHING,
    "wait for a batch": (0, 8, 4, False),
    "wait for a micro-batch": (0, 8, 4, False),
    "batch start": (0, 8, 4, True),
    "before the update": (0, 8, 4, True),
    "batch end": (0, 10, 5, False),
    "log point": (0, 6, 3, False),
    "validation start": (0, 8, 4, True),
    "validation": (0, 8, 4, True),
    "wait for a validation batch": (0, 8, 4, True),
    "validation end": (0, 8, 4, False),
    "last validation": (1, 12, 12, True),
    "epoch end": (1, 0, 6, False),
    "epoch start": (1, 0, 6, False),
    "half written": (0, 6, 3, False),
    "renamed": (0, 6, 3, False),
    "linked": (0, 6, 3, False),
}
"""The position that a stop in a phase commits: completed epochs, batch, step, validation
pending."""


class Runs(JsonProcess):
    """The process of stoppable_runs.py, which forks the runs."""

    def __init__(self) -> None:
        super().__init__(Path(__file__).with_name("stoppable_runs.py"))

    def finish(self, run_dir: Path) -> None:
        """Run the same command to its end."""
        self.ask(run_dir=str(run_dir), phase=None)
        answer, log = self.answer()
        assert answer == {"status": 0}, log

    def stop(self, run_dir: Path, *signals: signal.Signals, phase: str) -> tuple[int, str]:
        """The exit status of a run that gets signals in a phase, and its log."""
        reached = self._reach(run_dir, phase)
        log = self.send(reached["pid"], signals, heard=phase != "start-up")
        if not reached["waits"]:
            open_gate(run_dir)
        return self._end(log)

    def stop_by_a_storm(self, run_dir: Path, phase: str) -> tuple[int, str]:
        """The same for SIGTERM every few milliseconds until the process is gone."""
        pid = self._reach(run_dir, phase)["pid"]
        open_gate(run_dir)
        deadline = time.monotonic() + PATIENCE
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(pid, signal.SIGTERM)
                time.sleep(0.005)
        return self._end("")

    def _reach(self, run_dir: Path, phase: str) -> dict[str, Any]:
        """Start a run; what it says when it is in the phase."""
        close_gate(run_dir)
        self.ask(run_dir=str(run_dir), phase=phase)
        reached, log = self.answer()
        assert reached.get("phase") == phase, log
        return reached

    def _end(self, log: str) -> tuple[int, str]:
        answer, rest = self.answer()
        return answer["status"], log + rest


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    assert made.close() == 0


@pytest.fixture(scope="module")
def straight(runs, tmp_path_factory) -> dict[str, Any]:
    """The outcome of a run without interruption."""
    run_dir = tmp_path_factory.mktemp("straight")
    runs.finish(run_dir)
    return outcome(run_dir)


def position(run_dir: Path) -> tuple[int, int, int, bool]:
    state = open_checkpoint(run_dir / "last_model").state.to_json()
    return state["last_epoch"], state["batch_in_epoch"], state["step"], state["validation_pending"]


def half_written(run_dir: Path) -> list[str]:
    return [path.name for path in run_dir.glob(".tmp-*")]


@pytest.mark.parametrize(
    ("phase", "signals"),
    [
        *[(phase, (signal.SIGTERM,) * 3) for phase in PHASES],
        *[
            (phase, (signal.SIGINT,))
            for phase in ("start-up", "wait for a batch", "validation", "half written")
        ],
    ],
    ids=lambda value: value if isinstance(value, str) else value[0].name,
)
def test_a_stop_in_any_phase_commits_the_position_and_loses_no_bit(
    runs, straight, tmp_path, phase, signals
):
    """G5: the run finishes at most the current step, validation batch or save. Paddle's launcher
    sends SIGTERM three times."""
    run_dir = tmp_path / "run"
    status, said = runs.stop(run_dir, *signals, phase=phase)
    assert status == 128 + signals[0], said
    assert said.count(f"{signals[0].name}: stopping after") == (phase != "start-up")
    if PHASES[phase] is NOTHING:
        assert not list(run_dir.glob("*_*"))
    else:
        assert position(run_dir) == PHASES[phase]
    assert not half_written(run_dir)
    runs.finish(run_dir)
    assert outcome(run_dir) == straight


@pytest.mark.parametrize("phase", ["validation", "last validation"])
def test_a_validation_cut_short_comes_first_after_the_resume(runs, tmp_path, phase):
    """G5: a second stop right after that validation finds the same step, now with its metrics."""
    runs.stop(tmp_path, signal.SIGTERM, phase=phase)
    stopped_at = position(tmp_path)[2]
    status, _ = runs.stop(tmp_path, signal.SIGTERM, phase="validation end")
    assert status == (0 if phase == "last validation" else 143)  # nothing was left to do
    state = open_checkpoint(tmp_path / "last_model").state.to_json()
    assert (state["step"], state["error_step"], state["validation_pending"]) == (
        stopped_at,
        stopped_at,
        False,
    )


@pytest.mark.parametrize(
    ("phase", "committed"), [("batch end", 4), ("validation", 3), ("half written", None)]
)
def test_a_second_interrupt_aborts_at_once(runs, straight, tmp_path, phase, committed):
    """G5: also during a save, which leaves nothing half-written; the run resumes from its last
    commit."""
    status, said = runs.stop(tmp_path, signal.SIGINT, signal.SIGINT, phase=phase)
    assert status == 130, said
    assert not half_written(tmp_path)
    assert [path.name for path in tmp_path.glob("last_model")] == (
        [] if committed is None else ["last_model"]
    )
    assert committed is None or position(tmp_path)[2] == committed
    runs.finish(tmp_path)
    assert outcome(tmp_path) == straight


@pytest.mark.parametrize("phase", ["wait for a batch", "batch start", "validation", "linked"])
def test_a_storm_of_signals_changes_nothing(runs, straight, tmp_path, phase):
    """G5: SIGTERM every few milliseconds until the process is gone, also during the commit and the
    interpreter's exit."""
    status, said = runs.stop_by_a_storm(tmp_path, phase)
    assert status == 143, said
    assert position(tmp_path) == PHASES[phase]
    assert not half_written(tmp_path)
    runs.finish(tmp_path)
    assert outcome(tmp_path) == straight


def test_stopped_again_and_again_in_one_run(runs, straight, tmp_path):
    """G5: several stops in one run directory, each in another phase."""
    for phase in (
        "rehearsal",
        "log point",
        "validation",
        "wait for a batch",
        "epoch end",
        "last validation",
    ):
        status, said = runs.stop(tmp_path, signal.SIGTERM, phase=phase)
        assert status == 143, said
        assert not half_written(tmp_path)
    runs.finish(tmp_path)
    assert outcome(tmp_path) == straight
