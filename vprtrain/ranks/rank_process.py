"""One rank under ``vprtrain launch``: a process between Paddle's launcher and the training script.

Paddle's launcher does not report which rank failed first or with which status: its own exit status
is that of a rank that it killed itself. So this process keeps the rank's output, exit status and
time of the end. The launcher starts it by path: ``rank_process.py HANDSHAKE LOGS SCRIPT
[ARGUMENTS]``. It imports only the standard library.

HANDSHAKE is a folder in which the ranks of this machine leave files for ``vprtrain launch``:
``run_dir``, ``rank.<n>.json`` (:class:`RankRecord`) and ``failed.<n>`` (a time). It leaves them
``secret``, the secret of the run, which this process puts into the script's environment: Paddle's
launcher writes its own environment to files, and may print it.
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
"""The environment variable that gives a training process the handshake folder, if it was launched
by ``vprtrain launch``."""
SECRET = "VPRTRAIN_SECRET"
"""The environment variable that gives a training process the secret of the run, which its ranks
prove to each other. It is never printed or logged."""
SECRET_FILE = "secret"
"""The file of the handshake folder with the secret."""
STOPS = (signal.SIGTERM, signal.SIGINT)

_RUN_DIR_FILE = "run_dir"
_FAILED_FILE = "failed"
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """What is known of one rank of this machine."""

    rank: int
    """Its number among all ranks of all machines."""
    local_rank: int
    """Its number among the ranks of this machine."""
    status: int | None
    """The exit status, negative for a signal as in :mod:`subprocess`; ``None`` if the end was not
    seen."""
    at: int
    """When it failed or ended: nanoseconds of :func:`time.monotonic_ns`, a clock that all processes
    of a machine share."""

    @property
    def stopped(self) -> bool:
        """Whether it ended because it was asked to."""
        return self.status in [end for number in STOPS for end in (128 + number, -number)]


def set_parent_death_signal(number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends for any reason. Linux only."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(number))


def announce_run_dir(run_dir: Path) -> None:
    """Tell ``vprtrain launch``, if it runs, the run directory of this process."""
    _write_handshake(_RUN_DIR_FILE, str(run_dir.resolve()))


def announce_failure() -> None:
    """Tell ``vprtrain launch``, if it runs, that this rank fails by itself.

    Other ranks fail because of it, and may end earlier.
    """
    _write_handshake(
        f"{_FAILED_FILE}.{os.environ.get('PADDLE_TRAINER_ID')}", str(time.monotonic_ns())
    )


def _write_handshake(name: str, text: str) -> None:
    if HANDSHAKE in os.environ:
        with suppress(FileNotFoundError):  # vprtrain launch has ended before this process
            _write(Path(os.environ[HANDSHAKE]) / name, text)


def announced_run_dir(handshake: Path) -> Path | None:
    """The run directory that a rank has announced; ``None`` if none has."""
    path = handshake / _RUN_DIR_FILE
    return Path(path.read_text()) if path.exists() else None


def read_records(handshake: Path) -> list[RankRecord]:
    """The records of all ranks of this machine that were started."""
    records = []
    for path in sorted(handshake.glob("rank.*.json")):
        record = RankRecord(**json.loads(path.read_text()))
        failed = handshake / f"{_FAILED_FILE}.{record.rank}"
        records.append(replace(record, at=int(failed.read_text())) if failed.exists() else record)
    return records


def log_file(logs: Path, rank: int) -> Path:
    """The file with a rank's standard output and standard error."""
    return logs / f"rank_{rank}.log"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def run_script(handshake: Path, logs: Path, command: list[str]) -> int:
    """Run the script as this rank, and record how it ends.

    Args:
        handshake: the folder for the record.
        logs: the folder for the output.
        command: the script and its arguments.

    Returns:
        The script's exit status; 128 + signal if a signal ended it.
    """
    set_parent_death_signal(signal.SIGKILL)
    stops: list[int] = []
    for number in STOPS:
        # The launcher signals the whole process group, so the script gets the signal itself. It is
        # caught here rather than ignored, because the script would inherit the ignoring.
        signal.signal(number, lambda number, frame: stops.append(number))
    rank, local_rank = int(os.environ["PADDLE_TRAINER_ID"]), int(os.environ["PADDLE_LOCAL_RANK"])

    def record(status: int | None) -> None:
        found = RankRecord(rank=rank, local_rank=local_rank, status=status, at=time.monotonic_ns())
        _write(handshake / f"rank.{rank}.json", json.dumps(asdict(found)))

    secret = os.fsdecode((handshake / SECRET_FILE).read_bytes())
    record(None)
    if stops:
        record(128 + stops[0])
        return 128 + stops[0]
    with open(log_file(logs, rank), "ab") as log:
        script = subprocess.Popen(
            [sys.executable, "-u", *command],
            stdout=log,
            stderr=log,
            env={**os.environ, HANDSHAKE: str(handshake), SECRET: secret},
            preexec_fn=partial(set_parent_death_signal, signal.SIGKILL),
        )
    status = script.wait()
    record(status)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    _, handshake_name, logs_name, *script_command = sys.argv
    sys.exit(run_script(Path(handshake_name), Path(logs_name), script_command))
