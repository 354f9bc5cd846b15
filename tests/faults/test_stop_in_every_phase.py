"""G5: SIGTERM and SIGINT in every phase of a real process end in one commit, an exit status, and no
lost bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from json_process import JsonProcess
from recovery import outcome

from vprtrain.checkpoint.state_file import open_checkpoint

SOON = 20.0
"""Seconds from the first signal to the process's end; where it waits for a minute, it must have
been woken."""

NOTHING = None

PHASES = {
    "start-up": NOTHING,
    "rehearsal": NOTHING,
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
"""Where a run that is stopped in a phase stands: completed epochs, batch, step, whether a
validation is pending."""


class Runs(JsonProcess):
    """The process of stoppable_runs.py."""

    def __init__(self) -> None:
        super().__init__(Path(__file__).with_name("stoppable_runs.py"))

    def finish(self, run_dir: Path) -> None:
        """Run the same command to its end."""
        self.ask(run_dir=str(run_dir), phase=None)
        answer, said = self.answer()
        assert answer == {"status": 0}, said

    def stop(
        self, run_dir: Path, *signals: signal.Signals, phase: str, pause: float = 0.15
    ) -> tuple[int, str]:
        """The exit status of a run that gets signals in a phase, and what it said."""
        self.ask(run_dir=str(run_dir), phase=phase)
        reached, before = self.answer()
        assert reached.get("phase") == phase, before
        started = time.monotonic()
        with suppress(ProcessLookupError):  # it has ended
            for number in signals:
                os.kill(reached["pid"], number)
                time.sleep(pause)
        answer, said = self.answer()
        assert time.monotonic() - started < SOON
        return answer["status"], said


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    assert made.close() == 0


@pytest.fixture(scope="module")
def straight(runs, tmp_path_factory) -> dict[str, Any]:
    """The outcome of the run that nothing stopped."""
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
    """G5: at most the step, the validation batch or the save under way; Paddle's launcher sends
    SIGTERM three times."""
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
    """G5: stopped once more right after that validation, the run stands at the same step, now with
    its metrics."""
    runs.stop(tmp_path, signal.SIGTERM, phase=phase)
    stopped_at = position(tmp_path)[2]
    status, _ = runs.stop(tmp_path, signal.SIGTERM, phase="validation end")
    assert status == (0 if phase == "last validation" else 143)  # that was all there was left to do
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
    """G5: also in the midst of a save, which leaves nothing half-written; the run goes on from its
    last commit."""
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
def test_signals_that_never_cease_change_nothing(runs, straight, tmp_path, phase):
    """G5: SIGTERM every few milliseconds until the process is gone, in the commit and in the
    interpreter's end too."""
    status, said = runs.stop(tmp_path, *[signal.SIGTERM] * 400, phase=phase, pause=0.005)
    assert status == 143, said
    assert position(tmp_path) == PHASES[phase]
    assert not half_written(tmp_path)
    runs.finish(tmp_path)
    assert outcome(tmp_path) == straight


def test_stopped_again_and_again_in_one_run(runs, straight, tmp_path):
    """G5: every phase in turn, in one run directory."""
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
