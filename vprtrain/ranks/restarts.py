"""Whether a launch that ended is to be started again: decisions alone, no processes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vprtrain.checkpoint.state_file import STATE_FILE, read_state
from vprtrain.checkpoint.store import LAST
from vprtrain.errors import CheckpointError
from vprtrain.ranks.rank_process import STOPS, RankRecord

USAGE_ERROR = 2
"""The exit status of a command that cannot become right by itself."""


class Position(NamedTuple):
    """Where the newest checkpoint stands."""

    step: int
    epoch: int
    batch_in_epoch: int
    validation_pending: bool


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one start of all ranks came to."""

    status: int
    """As an exit status: of the rank that failed first; 128 + signal where a signal ended it."""
    culprit: RankRecord | None = None
    """The rank that failed first; ``None`` where none did, or none had been started."""
    position: Position | None = None
    """Of the newest checkpoint when it had ended; ``None`` where there is none."""

    @property
    def crashed(self) -> bool:
        """Whether it neither came to its end nor was asked to stop."""
        return self.status not in (0, *(128 + number for number in STOPS))


def attempt_outcome(
    records: Sequence[RankRecord], launcher_status: int
) -> tuple[int, RankRecord | None]:
    """An attempt's exit status, and the rank that it is due to.

    Args:
        launcher_status: of Paddle's launcher, negative for a signal; it counts where the ranks say
            nothing.
    """
    failed = [record for record in records if record.status not in (None, 0) and not record.stopped]
    if failed:
        first = min(failed, key=lambda record: record.at)
        return shell_status(first.status), first
    if launcher_status == 0 or (records and all(record.status == 0 for record in records)):
        return 0, None
    unseen = [record for record in records if record.status is None]
    if unseen and launcher_status > 0:  # the launcher itself killed it, as it took too long to stop
        return 128 + signal.SIGKILL, unseen[0]
    stopped = [record for record in records if record.stopped]
    return shell_status(stopped[0].status if stopped and not unseen else launcher_status), None


def give_up_reason(attempts: Sequence[Attempt], max_restarts: int) -> str | None:
    """Why the newest of some crashed attempts is the last; ``None`` where another is due."""
    *earlier, last = attempts
    if last.status == USAGE_ERROR:
        return "that is an error in the command"
    if earlier and earlier[-1].position == last.position:
        newest = (
            "there is no checkpoint yet"
            if last.position is None
            else f"step {last.position.step} is the newest"
        )
        return (
            f"it came no further than the time before ({newest}): mend what its log names, or save more often "
            "(--engine.commit_every)"
        )
    if len(earlier) >= max_restarts:
        return f"it was restarted {len(earlier)} times, which is all that --max_restarts allows"
    return None


def committed_position(run_dir: Path) -> Position | None:
    """Where a run directory's newest checkpoint stands; ``None`` where there is none, or it cannot
    be read."""
    try:
        state = read_state(run_dir / LAST / STATE_FILE)
        return Position(
            state["step"], state["last_epoch"], state["batch_in_epoch"], state["validation_pending"]
        )
    except (CheckpointError, KeyError):
        return None


def shell_status(status: int | None) -> int:
    """As a shell shows it: 128 + signal for a process that a signal killed, or that was seen no
    more."""
    if status is None:
        return 128 + signal.SIGKILL
    return status if status >= 0 else 128 - status


def describe_status(status: int | None) -> str:
    """A process's exit status, negative for a signal, in words."""
    if status is None:
        return "was killed"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was killed by {names.get(-status, f'signal {-status}')}"
    return f"ended with status {status}"
