"""One rank under ``vprtrain launch``: the process that stands between Paddle's launcher and the
training script.

Paddle's launcher does not say which rank failed first, nor with what: its exit status is that of a
rank that it killed itself. So each rank's output and end are kept here, with the time. Started by
path, as the launcher wants it, with the standard library alone: ``rank_process.py HANDSHAKE LOGS
SCRIPT [ARGUMENTS]``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

HANDSHAKE = "VPRTRAIN_LAUNCH_HANDSHAKE"
"""The environment variable by which a training process knows that it was launched, and where to say
what it does."""
STOPS = (signal.SIGTERM, signal.SIGINT)

_RUN_DIR = "run_dir"
_FAILED = "failed"
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """What this machine knows of one of its ranks."""

    rank: int
    """Among all ranks of all machines."""
    local_rank: int
    """Among those of this machine."""
    status: int | None
    """The exit status, negative for a signal as in :mod:`subprocess`; ``None`` where no end was
    seen."""
    at: int
    """When it failed or ended, in nanoseconds of the clock that all processes of a machine
    share."""

    @property
    def stopped(self) -> bool:
        """Whether it ended because it was asked to."""
        return self.status in [end for number in STOPS for end in (128 + number, -number)]


def set_parent_death_signal(number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent is gone, however that came.
    Linux."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(number))


def announce_run_dir(run_dir: Path) -> None:
    """Tell ``vprtrain launch``, where there is one, which run directory this process trains in."""
    _tell(_RUN_DIR, str(run_dir.resolve()))


def announce_failure() -> None:
    """Tell ``vprtrain launch`` that this rank fails by itself, and not as others did, who may still
    be gone earlier."""
    _tell(f"{_FAILED}.{os.environ.get('PADDLE_TRAINER_ID')}", str(time.monotonic_ns()))


def _tell(name: str, text: str) -> None:
    if HANDSHAKE in os.environ:
        with suppress(FileNotFoundError):  # the command has ended before this process
            _write(Path(os.environ[HANDSHAKE]) / name, text)


def announced_run_dir(handshake: Path) -> Path | None:
    """The run directory that a rank has announced."""
    path = handshake / _RUN_DIR
    return Path(path.read_text()) if path.exists() else None


def read_records(handshake: Path) -> list[RankRecord]:
    """All ranks of this machine that were started."""
    records = []
    for path in sorted(handshake.glob("rank.*.json")):
        record = RankRecord(**json.loads(path.read_text()))
        failed = handshake / f"{_FAILED}.{record.rank}"
        records.append(replace(record, at=int(failed.read_text())) if failed.exists() else record)
    return records


def log_file(logs: Path, rank: int) -> Path:
    """What a rank says on standard output and standard error."""
    return logs / f"rank_{rank}.log"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def run_script(handshake: Path, logs: Path, command: list[str]) -> int:
    """Run the script as this rank; its exit status."""
    set_parent_death_signal(signal.SIGKILL)
    stops: list[int] = []
    for number in STOPS:
        # The launcher's signals go to the whole process group, so the script has had them. They are
        # caught and not ignored, as the script would inherit that.
        signal.signal(number, lambda number, frame: stops.append(number))
    rank, local_rank = int(os.environ["PADDLE_TRAINER_ID"]), int(os.environ["PADDLE_LOCAL_RANK"])

    def record(status: int | None) -> None:
        found = RankRecord(rank=rank, local_rank=local_rank, status=status, at=time.monotonic_ns())
        _write(handshake / f"rank.{rank}.json", json.dumps(asdict(found)))

    record(None)
    if stops:
        record(128 + stops[0])
        return 128 + stops[0]
    with open(log_file(logs, rank), "ab") as log:
        script = subprocess.Popen(
            [sys.executable, "-u", *command],
            stdout=log,
            stderr=log,
            env={**os.environ, HANDSHAKE: str(handshake)},
            preexec_fn=partial(set_parent_death_signal, signal.SIGKILL),
        )
    status = script.wait()
    record(status)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    _, handshake_name, logs_name, *script_command = sys.argv
    sys.exit(run_script(Path(handshake_name), Path(logs_name), script_command))
