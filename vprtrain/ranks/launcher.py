"""Paddle's launcher, started again after a crash; the ranks go on from their last checkpoint by
themselves."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

from vprtrain.errors import RunError, UsageError
from vprtrain.ranks import rank_process
from vprtrain.ranks.rank_process import (
    STOPS,
    RankRecord,
    announced_run_dir,
    log_file,
    read_records,
    set_parent_death_signal,
)
from vprtrain.ranks.restarts import (
    Attempt,
    attempt_outcome,
    committed_position,
    describe_status,
    give_up_reason,
)

log = logging.getLogger(__name__)

_LAST_LINES = 20
_LAST_BYTES = 20_000
"""How much, at most, is shown of the log of a rank that failed."""
_POLL_SECONDS = 0.2
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


class LaunchError(RunError):
    """A launch was given up; ``exit_status`` is that of the rank that failed first."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


class Launch:
    """A command run by Paddle's launcher in one rank or more, and run again when it crashes.

    What the launcher writes, the environment of every rank among it, goes into a private temporary
    folder.

    Args:
        options: for ``paddle.distributed.launch``.
        command: the training script and its arguments.
        logs: where ``rank_<n>.log`` is kept; ``None`` for a temporary folder, removed where nothing
            failed.
    """

    def __init__(
        self,
        *,
        options: Sequence[str],
        command: Sequence[str],
        max_restarts: int,
        logs: Path | None = None,
    ) -> None:
        self._options = options
        self._command = command
        self._max_restarts = max_restarts
        self._logs = logs
        self._signals: list[int] = []
        self._run_dir: Path | None = None

    def run(self) -> int:
        """Launch until the command is through or is asked to stop; the exit status.

        Takes over SIGTERM and SIGINT, and adopts what its descendants leave behind, to kill it:
        this is for a process of its own.

        Raises:
            LaunchError: the command crashed, and is not started again.
            UsageError: there can be no such folder for the logs.
        """
        logs = self._logs or Path(tempfile.mkdtemp(prefix="vprtrain-logs-"))
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--log_dir {logs} cannot be made ({error.strerror}): name another folder"
            ) from error
        _prctl(_ADOPT_ORPHANS, 1)
        for number in STOPS:
            signal.signal(number, self._on_signal)
        attempts = [self._attempt(logs)]
        while attempts[-1].crashed:
            self._give_up_or_announce_restart(attempts, logs)
            attempts.append(self._attempt(logs))
        if self._logs is None:
            shutil.rmtree(logs)
        status = attempts[-1].status
        return 128 + self._signals[0] if status and self._signals else status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _give_up_or_announce_restart(self, attempts: Sequence[Attempt], logs: Path) -> None:
        last = attempts[-1]
        reason = (
            "it was asked to stop"
            if self._signals
            else give_up_reason(attempts, self._max_restarts)
        )
        if reason is not None:
            who = "the launch" if last.culprit is None else f"rank {last.culprit.rank}"
            raise LaunchError(
                f"{who} failed with status {last.status} and is not started again, as {reason}; the logs are in {logs}",
                last.status,
            )
        where = "the start" if last.position is None else f"step {last.position.step}"
        log.warning("restart %d of %d, from %s", len(attempts), self._max_restarts, where)

    def _attempt(self, folder: Path) -> Attempt:
        logs = _Logs(folder)
        with tempfile.TemporaryDirectory(prefix="vprtrain-launch-") as name:
            handshake = Path(name)
            launcher_log = handshake / "launcher.log"
            launcher_status = self._wait(
                self._start(handshake, folder, launcher_log), handshake, logs
            )
            records = read_records(handshake)
            status, culprit = attempt_outcome(records, launcher_status)
            # it may have ended too early to say so again
            self._run_dir = announced_run_dir(handshake) or self._run_dir
            position = None if self._run_dir is None else committed_position(self._run_dir)
            attempt = Attempt(status=status, culprit=culprit, position=position)
            if culprit is not None:  # what the first one said has been shown
                said = "" if culprit.local_rank == 0 else logs.end(culprit.rank)
                log.error("%s%s", _story(culprit, records), said)
            elif attempt.crashed:
                log.error(
                    "Paddle's launcher %s%s",
                    describe_status(launcher_status),
                    _end_of(launcher_log),
                )
            return attempt

    def _start(self, handshake: Path, logs: Path, launcher_log: Path) -> subprocess.Popen[bytes]:
        ranks = [rank_process.__file__, str(handshake), str(logs.resolve()), *self._command]
        with open(launcher_log, "wb") as output:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "paddle.distributed.launch",
                    f"--log_dir={handshake}",
                    *self._options,
                    *ranks,
                ],
                # What the environment says would override the option.
                env={name: value for name, value in os.environ.items() if name != "PADDLE_LOG_DIR"},
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on
                preexec_fn=partial(set_parent_death_signal, signal.SIGTERM),
            )

    def _wait(self, launcher: subprocess.Popen[bytes], handshake: Path, logs: _Logs) -> int:
        """Wait for the launcher, pass a signal on to it, show what the first rank says; the
        launcher's status.

        Nothing that the launcher started is left then.
        """
        passed_on = False
        try:
            while launcher.poll() is None:
                _show_first_rank(handshake, logs)
                if self._signals and not passed_on:
                    launcher.terminate()
                    passed_on = True
                if self._signals.count(signal.SIGINT) > 1:
                    return -signal.SIGINT
                time.sleep(_POLL_SECONDS)
            return launcher.returncode
        finally:
            launcher.kill()
            launcher.wait()
            _kill_children()
            _show_first_rank(handshake, logs)


class _Logs:
    """What the ranks of one attempt say; earlier attempts' output may stand in the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = {path: path.stat().st_size for path in folder.glob("rank_*.log")}
        self._shown = dict(self._sizes)

    def show(self, rank: int) -> None:
        """Copy to standard output what a rank has said since it was shown last."""
        path = log_file(self._folder, rank)
        with suppress(FileNotFoundError), open(path, "rb") as file:
            file.seek(self._shown.get(path, 0))
            # Ctrl-C ends the `tee` behind a pipe as well: the ranks still have to save
            try:
                sys.stdout.flush()
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._shown[path] = file.tell()

    def end(self, rank: int) -> str:
        """The last lines of a rank, for a message."""
        path = log_file(self._folder, rank)
        return _end_of(path, self._sizes.get(path, 0))


def _show_first_rank(handshake: Path, logs: _Logs) -> None:
    for record in read_records(handshake):
        if record.local_rank == 0:
            logs.show(record.rank)


def _story(culprit: RankRecord, records: Sequence[RankRecord]) -> str:
    """Which rank failed first, and what became of the others."""
    others = ", ".join(
        f"rank {each.rank} {describe_status(each.status)}" for each in records if each != culprit
    )
    return f"rank {culprit.rank} {describe_status(culprit.status)}" + (
        f", then {others}" if others else ""
    )


def _end_of(path: Path, start: int = 0) -> str:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(max(start, path.stat().st_size - _LAST_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        return "".join([f"; {path.name} ends with", *(f"\n  {line}" for line in lines)])
    return ""


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _kill_children() -> None:
    """Kill every child, and the children that they leave, which become this process's own."""
    with suppress(ChildProcessError):  # there is none any more
        while True:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                yield int(path.parent.name)
