"""When a launch is restarted, and with which status it ends: only the decisions."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.checkpoint.links import LAST
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import STATE_FILE, encode_state
from vprtrain.ranks.rank_process import RankRecord
from vprtrain.ranks.restarts import (
    Attempt,
    Position,
    attempt_outcome,
    committed_position,
    describe_status,
    give_up_reason,
)

AT_START = None
STATUSES = st.sampled_from([None, 0, 1, 2, 3, 130, 143, -2, -6, -9, -11, -15])


def ranks(*statuses: int | None) -> list[RankRecord]:
    """Records of ranks 0, 1, ... that ended in this order."""
    return [
        RankRecord(rank=i, local_rank=i, status=status, at=i) for i, status in enumerate(statuses)
    ]


def at(step: int) -> Position:
    return Position(step=step, epoch=0, batch_in_epoch=step, validation_pending=False)


def crashed(position: Position | None, status: int = 1) -> Attempt:
    return Attempt(status=status, position=position)


@pytest.mark.parametrize(
    ("records", "launcher", "status", "culprit"),
    [
        (ranks(0, 0), 0, 0, None),
        (ranks(0, 0), 15, 0, None),  # all had completed when the signal came
        (ranks(143, 143), 15, 143, None),
        (ranks(0, 143), 15, 143, None),
        (ranks(143, -15), 15, 143, None),
        (ranks(130, 130), 2, 130, None),
        (ranks(3, -9), 247, 3, 0),
        (ranks(143, 3), 241, 3, 1),
        (ranks(-9, 1), 247, 137, 0),
        (ranks(-11, -15), 241, 139, 0),
        (ranks(2, 2), 2, 2, 0),
        (ranks(143, None), 15, 137, 1),  # it took too long to stop
        (ranks(None, None), -9, 137, None),  # the launcher was killed and its ranks died with it
        ([], 1, 1, None),
        ([], -15, 143, None),
    ],
)
def test_the_status_is_that_of_the_rank_that_failed_first(
    records: list[RankRecord], launcher: int, status: int, culprit: int | None
) -> None:
    found, who = attempt_outcome(records, launcher)
    assert (found, None if who is None else who.rank) == (status, culprit)


def test_first_is_a_matter_of_time_not_of_rank() -> None:
    late, early = (
        RankRecord(rank=0, local_rank=0, status=1, at=20),
        RankRecord(rank=1, local_rank=1, status=3, at=10),
    )
    assert attempt_outcome([late, early], 241) == (3, early)


@given(st.lists(STATUSES, min_size=1, max_size=4), st.sampled_from([0, 1, 15, 241, -9, -15]))
def test_status_0_is_only_given_for_success(statuses: list[int | None], launcher: int) -> None:
    status, _ = attempt_outcome(ranks(*statuses), launcher)
    assert 0 <= status < 256
    if any(each not in (0, None) for each in statuses) and launcher != 0:
        assert status != 0
    if all(each == 0 for each in statuses):
        assert status == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, False),
        (130, False),
        (143, False),
        (1, True),
        (2, True),
        (137, True),
        (139, True),
        (241, True),
    ],
)
def test_a_crash_is_neither_an_end_nor_a_stop(status: int, expected: bool) -> None:
    assert Attempt(status=status).crashed is expected


def test_a_crash_is_followed_by_a_restart_while_checkpoints_move_on() -> None:
    attempts = [crashed(at(step)) for step in (10, 20, 30)]
    assert all(give_up_reason(attempts[:count], 3) is None for count in (1, 2, 3))


def test_a_first_crash_before_any_checkpoint_is_given_another_chance() -> None:
    assert give_up_reason([crashed(AT_START)], 1) is None
    assert give_up_reason([crashed(AT_START), crashed(at(4))], 2) is None


@pytest.mark.parametrize(
    ("position", "message"),
    [(AT_START, "there is no checkpoint yet"), (at(7), "step 7 is the new")],
)
def test_no_progress_between_two_restarts_is_the_end(
    position: Position | None, message: str
) -> None:
    reason = give_up_reason([crashed(at(3)), crashed(position), crashed(position)], 99)
    assert reason is not None and message in reason and "commit_every" in reason


def test_a_completed_pending_validation_is_progress() -> None:
    pending = at(7)._replace(validation_pending=True)
    assert give_up_reason([crashed(pending), crashed(at(7))], 9) is None


@given(st.integers(0, 5), st.integers(1, 7))
def test_no_more_restarts_than_allowed(allowed: int, crashes: int) -> None:
    attempts = [crashed(at(step)) for step in range(crashes)]
    reasons = [give_up_reason(attempts[: count + 1], allowed) for count in range(crashes)]
    restarts = len(list(itertools.takewhile(lambda reason: reason is None, reasons)))
    assert restarts == min(allowed, crashes)


def test_an_error_in_the_command_is_not_tried_again() -> None:
    assert give_up_reason([crashed(AT_START, status=2)], 5) is not None


def test_the_position_is_read_from_the_newest_checkpoint(tmp_path: Path) -> None:
    assert committed_position(tmp_path) is None
    (tmp_path / LAST).mkdir()
    state = CheckpointState(step=8, last_epoch=1, batch_in_epoch=2, validation_pending=True)
    (tmp_path / LAST / STATE_FILE).write_bytes(encode_state(state.to_json()))
    assert committed_position(tmp_path) == Position(
        step=8, epoch=1, batch_in_epoch=2, validation_pending=True
    )
    (tmp_path / LAST / STATE_FILE).write_text("torn")
    assert committed_position(tmp_path) is None


def test_a_status_is_described_in_words() -> None:
    assert describe_status(3) == "ended with status 3"
    assert describe_status(-signal.SIGKILL) == "was killed by SIGKILL"
    assert describe_status(-40) == "was killed by signal 40"
    assert describe_status(None) == "was killed"
