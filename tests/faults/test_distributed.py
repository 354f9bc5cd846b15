"""G9 on real ranks: 1, 2 and 4 train the same; a stop, crash or kill of one ends all; resumes are
exact."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_processes import Processes, launch, spawn
from recovery import outcome

from vprtrain.checkpoint.file_names import MODEL_FILE, OPTIMIZER_FILE
from vprtrain.checkpoint.state_file import open_checkpoint

pytestmark = pytest.mark.distributed

SCRIPT = str(Path(__file__).with_name("rank_runs.py"))
LIMIT = 240.0
"""Seconds for a whole run, most of them to import Paddle; far more than is needed."""
SOON = 60.0
"""Seconds from a fault of one rank to the end of all; far more than is needed."""


def ranks(run_dir: Path, *options: str, size: int = 2) -> Processes:
    return spawn([SCRIPT, str(run_dir), *options], size, run_dir.with_name(f"{run_dir.name}.logs"))


def finish(run_dir: Path, *options: str, size: int = 2) -> str:
    """Start or resume, train to the end, and return the output of rank 0."""
    with ranks(run_dir, *options, size=size) as processes:
        assert processes.wait(LIMIT) == [0] * size, "\n".join(
            processes.said(each) for each in range(size)
        )
        return processes.said()


def state(run_dir: Path) -> dict[str, Any]:
    return open_checkpoint(run_dir / "last_model").state.to_json()


def ended_at(processes: Processes) -> set[str]:
    """The steps at which the ranks left the loop."""
    return {
        line for each in range(2) for line in re.findall("ended at step .*", processes.said(each))
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, Any]:
    """The outcome of two ranks without a fault, with dropout and batch normalisation."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    finish(run_dir)
    return outcome(run_dir)


def test_the_same_global_batch_gives_the_same_update_on_1_2_and_4_ranks(tmp_path) -> None:
    """G9: unequal parts of a batch, accumulation, clipping, a layer that no rank uses and one that
    only rank 0 uses."""
    for size in (1, 2, 4):
        finish(tmp_path / str(size), "plain=yes", size=size)
    one, *others = (open_checkpoint(tmp_path / str(size) / "last_model") for size in (1, 2, 4))
    for other in others:
        for file in (MODEL_FILE, OPTIMIZER_FILE):
            ours, theirs = one.arrays(file), other.arrays(file)
            assert ours.keys() == theirs.keys()
            for name, array in ours.items():
                np.testing.assert_allclose(array, theirs[name], atol=1e-6, err_msg=name)
    first, *logs = (_numbers(tmp_path / str(size) / "metrics.jsonl") for size in (1, 2, 4))
    assert len(first) > 40
    for log in logs:  # they hold the loss and accuracy of all ranks
        np.testing.assert_allclose(first, log, rtol=1e-4)


def _numbers(path: Path) -> list[float]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [value for line in lines for value in line.values() if isinstance(value, int | float)]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all_at_the_same_step_with_one_commit(
    straight, tmp_path, rank
) -> None:
    """G9: at the next step that is a multiple of ``agree_every``. The resume gives the straight
    run's bits."""
    run_dir = tmp_path / "run"
    never = ("commit_every=never", "validate_every=never")
    with ranks(run_dir, "do=SIGTERM", f"rank={rank}", "at=2", *never) as processes:
        assert processes.wait(LIMIT) == [143, 143]
        assert ended_at(processes) == {"ended at step 4"}
        assert processes.said().count(" saved ") == 1
    assert state(run_dir)["step"] == 4 and state(run_dir)["world_size"] == 2
    finish(run_dir, "accept_changes=yes")
    assert outcome(run_dir)["last"]["files"] == straight["last"]["files"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_cuts_the_validation_of_all(straight, tmp_path, rank) -> None:
    """G9: rank 0 has finished its part and waits for rank 1. The resume starts with the
    validation."""
    run_dir = tmp_path / "run"
    with ranks(run_dir, "validation_seconds=120") as processes:
        processes.wait_for("validating after step 4", number=1)
        os.kill(processes.processes[rank].pid, signal.SIGTERM)
        assert processes.wait(SOON) == [143, 143]
    assert (state(run_dir)["step"], state(run_dir)["validation_pending"]) == (4, True)
    finish(run_dir)
    assert outcome(run_dir) == straight


def test_a_signal_to_the_launcher_stops_all(straight, tmp_path) -> None:
    """G9: the launcher sends SIGTERM three times to each rank in turn, and ends with its own
    status."""
    run_dir = tmp_path / "run"
    with launch([SCRIPT, str(run_dir), "seconds=0.5"], 2, tmp_path / "logs") as processes:
        log = tmp_path / "logs" / "ranks" / "workerlog.0"
        _wait_for(lambda: log.exists() and "step 2 done" in log.read_text())
        processes.processes[0].send_signal(signal.SIGTERM)
        processes.wait(SOON)
        logs = [log.with_name(f"workerlog.{each}").read_text() for each in range(2)]
    ended = [re.findall("ended at step (.*)", text) for text in logs]
    assert ended[0] == ended[1] == [str(state(run_dir)["step"])] and int(ended[0][0]) < 12
    finish(run_dir)
    assert outcome(run_dir) == straight


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_all_and_the_resume_is_exact(straight, tmp_path, rank) -> None:
    """G1 and G9: the surviving rank names the other. The resume gives the straight run's bits."""
    run_dir = tmp_path / "run"
    with ranks(run_dir, "do=SIGKILL", f"rank={rank}", "at=7") as processes:
        statuses = processes.wait(LIMIT)
        assert statuses[rank] == -9 and statuses[1 - rank] == 1
        assert f"rank {rank} failed: it ended without giving a reason" in processes.said(1 - rank)
    assert state(run_dir)["step"] == 6
    finish(run_dir)
    assert outcome(run_dir) == straight


def test_a_rank_killed_while_the_other_validates_ends_it(tmp_path) -> None:
    """G9: also outside of a collective, where only the closed connection tells."""
    with ranks(tmp_path / "run", "validation_seconds=120") as processes:
        processes.wait_for("validating after step 4", number=1)
        processes.processes[0].kill()
        assert processes.wait(SOON) == [-9, 1]
        assert "rank 0 failed: it ended without giving a reason" in processes.said(1)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_on_one_rank_ends_all_and_is_shown_by_all(tmp_path, rank) -> None:
    """G9: an exception in a callback: both logs name the rank and show its traceback, and
    ``last_model`` stays valid."""
    run_dir = tmp_path / "run"
    with ranks(run_dir, "do=raise", f"rank={rank}", "at=5") as processes:
        assert processes.wait(LIMIT) == [1, 1]
        for each in range(2):
            said = processes.said(each)
            assert f"rank {rank} failed: " in said
            assert re.search(r'rank_runs\.py", line \d+, in on_train_batch_end', said)
            assert "ZeroDivisionError: as the test wants it" in said
        assert f"error: rank {rank} failed: ZeroDivisionError('as the test wants it')" in (
            processes.said(1 - rank)
        )
    assert state(run_dir)["step"] == 4


def test_what_is_not_finite_on_one_rank_ends_all_by_the_same_reason(tmp_path) -> None:
    """G9: it reaches every rank's gradients before a rank checks them. Nothing of it is saved."""
    run_dir = tmp_path / "run"
    with ranks(run_dir, "do=nan", "rank=1", "at=4") as processes:
        assert processes.wait(LIMIT) == [1, 1]
        for each in range(2):
            assert "error: the loss is nan at step 6" in processes.said(each)
    assert state(run_dir)["step"] == 4


def test_a_rank_that_waits_long_for_its_data_is_waited_for(straight, tmp_path) -> None:
    """G9: gloo's collectives time out after 30 s; a network drive may be away for longer."""
    with ranks(tmp_path / "run", "do=wait", "rank=1", "at=5") as processes:
        assert processes.wait(35 + LIMIT) == [0, 0], processes.said()
    assert outcome(tmp_path / "run") == straight


def test_no_rank_outlives_its_launcher(tmp_path) -> None:
    """G9: the launcher is killed and cannot pass on a signal."""
    log = tmp_path / "logs" / "ranks" / "workerlog.0"
    with launch([SCRIPT, str(tmp_path / "run"), "seconds=8"], 2, tmp_path / "logs") as processes:
        logs = [log.with_name(f"workerlog.{each}") for each in range(2)]
        _wait_for(lambda: all(path.exists() and "step 2 done" in path.read_text() for path in logs))
        pids = [int(re.findall("done by (.*)", path.read_text())[0]) for path in logs]
        processes.processes[0].kill()
        _wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds=SOON)


def test_another_number_of_ranks_is_refused_or_accepted(tmp_path) -> None:
    """G7 and G9: after ``accept_changes`` the run resumes with the same global batches."""
    for name in ("one", "changed"):
        with ranks(tmp_path / name, "plain=yes", "do=SIGTERM", "at=4", size=1) as processes:
            processes.wait(LIMIT)
    with ranks(tmp_path / "changed", "plain=yes") as processes:
        first, second = processes.wait(LIMIT)
        assert first == 2 and second in (1, 2)  # the refusal on rank 0 may end a slow rank 1
        assert "config.world_size was 1, is 2. Undo the change" in processes.said()
    assert "with changes: config.world_size was 1, is 2" in finish(
        tmp_path / "changed", "plain=yes", "accept_changes=yes"
    )
    finish(tmp_path / "one", "plain=yes", size=1)
    one, changed = (open_checkpoint(tmp_path / name / "last_model") for name in ("one", "changed"))
    assert changed.state.world_size == 2 and changed.state.step == 12
    for name, array in one.arrays(MODEL_FILE).items():
        np.testing.assert_allclose(array, changed.arrays(MODEL_FILE)[name], atol=1e-6, err_msg=name)


def test_a_rank_that_validates_a_minute_longer_is_waited_for(tmp_path) -> None:
    """G9: gloo's collectives time out after 30 s."""
    started = time.monotonic()
    with ranks(tmp_path / "run", "validation_seconds=61", "validate_every=12 steps") as processes:
        assert processes.wait(61 + LIMIT) == [0, 0]
    assert time.monotonic() - started > 61
    assert state(tmp_path / "run")["error_step"] == 12


def _wait_for(condition: Any, seconds: float = LIMIT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
