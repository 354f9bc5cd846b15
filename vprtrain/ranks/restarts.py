"""Whether to restart a launch that ended. Only decisions; no processes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vprtrain.checkpoint.links import LAST, follow_link
from vprtrain.checkpoint.state_file import STATE_FILE, read_state
from vprtrain.errors import CheckpointError
from vprtrain.ranks.rank_process import STOPS, RankRecord

USAGE_ERROR = 2
"""The exit status of a command with a usage error, which a restart cannot mend."""


class Position(NamedTuple):
    """The progress of the newest checkpoint."""

    step: int
    epoch: int
    batch_in_epoch: int
    validation_pending: bool


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The outcome of one start of all ranks."""

    status: int
    """The exit status of the rank that failed first; 128 + signal if a signal ended it."""
    culprit: RankRecord | None = None
    """The rank that failed first; ``None`` if none failed or none had started."""
    position: Position | None = None
    """That of the newest checkpoint after the attempt; ``None`` if there is no checkpoint."""

    @property
    def crashed(self) -> bool:
        """Whether it neither completed nor was asked to stop."""
        return self.status not in (0, *(128 + number for number in STOPS))


def attempt_outcome(
    records: Sequence[RankRecord], launcher_status: int
) -> tuple[int, RankRecord | None]:
    """An attempt's exit status, and the rank that failed first, if one did.

    Args:
        records: what is known of each rank of this machine.
        launcher_status: the status of Paddle's launcher, negative for a signal. It counts if the
            records do not tell.
    """
    failed = [record for record in records if record.status not in (None, 0) and not record.stopped]
    if failed:
        first = min(failed, key=lambda record: record.at)
        return shell_status(first.status), first
    if launcher_status == 0 or (records and all(record.status == 0 for record in records)):
        return 0, None
    unseen = [record for record in records if record.status is None]
    if unseen and launcher_status > 0:  # the launcher killed a rank that took too long to stop
        return 128 + signal.SIGKILL, unseen[0]
    stopped = [record for record in records if record.stopped]
    return shell_status(stopped[0].status if stopped and not unseen else launcher_status), None


def give_up_reason(attempts: Sequence[Attempt], max_restarts: int) -> str | None:
    """Why not to restart after these crashed attempts; ``None`` if a restart is due."""
    *earlier, last = attempts
    if last.status == USAGE_ERROR:
        return "its command has an error"
    if earlier and earlier[-1].position == last.position:
        newest = (
            "there is no checkpoint yet"
            if last.position is None
            else f"step {last.position.step} is the newest"
        )
        return (
            f"it made no progress since the previous restart ({newest}): mend the cause that its "
            "log names, or save more often (--engine.commit_every)"
        )
    if len(earlier) >= max_restarts:
        return f"it was restarted {len(earlier)} times, the limit of --max_restarts"
    return None


def committed_position(run_dir: Path) -> Position | None:
    """The progress of a run directory's newest checkpoint; ``None`` without a readable one."""
    try:
        state = read_state(follow_link(run_dir / LAST) / STATE_FILE)
        return Position(
            state.step, state.last_epoch, state.batch_in_epoch, state.validation_pending
        )
    except CheckpointError:
        return None


def shell_status(status: int | None) -> int:
    """The exit status as a shell gives it: 128 + signal for a process killed by a signal.

    Args:
        status: negative for a signal; ``None`` if the end was not seen, which counts as SIGKILL.
    """
    if status is None:
        return 128 + signal.SIGKILL
    return status if status >= 0 else 128 - status


def describe_status(status: int | None) -> str:
    """A process's exit status in words; negative for a signal, ``None`` if unseen."""
    if status is None:
        return "was killed"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was killed by {names.get(-status, f'signal {-status}')}"
    return f"ended with status {status}"
