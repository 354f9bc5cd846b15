"""Run Paddle's launcher, and restart it after a crash. The ranks themselves resume."""

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
from vprtrain.ranks.rank_logs import RankLogs, log_lines, log_tail
from vprtrain.ranks.rank_process import (
    SECRET,
    STOPS,
    RankRecord,
    announced_run_dir,
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
from vprtrain.ranks.secret import new_secret, write_secret

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


class LaunchError(RunError):
    """A launch crashed and is not restarted.

    ``exit_status`` is that of the rank that failed first.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


class Launch:
    """A command that Paddle's launcher runs in one or more ranks, restarted after a crash.

    The files that Paddle's launcher writes go into a private temporary folder: they contain the
    environment of every rank.

    Args:
        options: command line options of ``paddle.distributed.launch``.
        command: the training script and its arguments.
        secret: the secret of the run; ``None`` for a new one at each start.
        max_restarts: how often the command is restarted at most.
        logs: the folder for ``rank_<n>.log``; ``None`` for a temporary folder, which is removed if
            nothing failed.
    """

    def __init__(
        self,
        *,
        options: Sequence[str],
        command: Sequence[str],
        secret: bytes | None,
        max_restarts: int,
        logs: Path | None = None,
    ) -> None:
        self._options = options
        self._command = command
        self._secret = secret
        self._max_restarts = max_restarts
        self._logs = logs
        self._signals: list[int] = []
        self._run_dir: Path | None = None

    def run(self) -> int:
        """Launch until the command ends or is asked to stop.

        Needs a process of its own: it takes over SIGTERM and SIGINT, and adopts orphaned
        descendants in order to kill them.

        Returns:
            The command's exit status; 128 + signal if it was asked to stop.

        Raises:
            LaunchError: the command crashed and is not restarted.
            UsageError: the folder for the logs cannot be made.
        """
        logs = self._logs or Path(tempfile.mkdtemp(prefix="vprtrain-logs-"))
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--log_dir {logs} cannot be made ({error.strerror}): name another folder"
            ) from error
        _adopt_orphans()
        for number in STOPS:
            signal.signal(number, self._on_signal)
        attempts = [self._attempt(logs)]
        while attempts[-1].crashed:
            self._require_restart(attempts, logs)
            attempts.append(self._attempt(logs))
        if self._logs is None:
            shutil.rmtree(logs)
        status = attempts[-1].status
        return 128 + self._signals[0] if status and self._signals else status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _require_restart(self, attempts: Sequence[Attempt], logs: Path) -> None:
        """Log that the command is restarted, or raise :class:`LaunchError`."""
        last = attempts[-1]
        reason = (
            "it was asked to stop"
            if self._signals
            else give_up_reason(attempts, self._max_restarts)
        )
        if reason is not None:
            who = "the launch" if last.culprit is None else f"rank {last.culprit.rank}"
            raise LaunchError(
                f"{who} failed with status {last.status} and is not restarted: {reason}; the logs "
                f"are in {logs}",
                last.status,
            )
        where = "the start" if last.position is None else f"step {last.position.step}"
        log.warning("restart %d of %d, from %s", len(attempts), self._max_restarts, where)

    def _attempt(self, folder: Path) -> Attempt:
        """Run the command once, and log how it failed if it did."""
        logs = RankLogs(folder)
        with tempfile.TemporaryDirectory(prefix="vprtrain-launch-") as name:
            handshake = Path(name)
            launcher_log = handshake / "launcher.log"
            launcher = self._start(handshake, folder, launcher_log)
            launcher_status = self._wait(launcher, handshake, logs)
            records = read_records(handshake)
            status, culprit = attempt_outcome(records, launcher_status)
            # An attempt may end before it announces the run directory: keep the earlier one.
            self._run_dir = announced_run_dir(handshake) or self._run_dir
            position = None if self._run_dir is None else committed_position(self._run_dir)
            attempt = Attempt(status=status, culprit=culprit, position=position)
            if culprit is not None:
                # The output of local rank 0 has been shown already.
                tail = "" if culprit.local_rank == 0 else logs.tail(culprit.rank)
                log_lines(_describe_failure(culprit, records) + tail)
            elif attempt.crashed:
                status_text = describe_status(launcher_status)
                log_lines(f"Paddle's launcher {status_text}{log_tail(launcher_log)}")
            return attempt

    def _start(self, handshake: Path, logs: Path, launcher_log: Path) -> subprocess.Popen[bytes]:
        write_secret(handshake, self._secret or new_secret())
        # PADDLE_LOG_DIR would override --log_dir. Paddle's launcher writes its environment to
        # files, where the secret does not belong.
        hidden = ("PADDLE_LOG_DIR", SECRET)
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
                env={name: value for name, value in os.environ.items() if name not in hidden},
                stdout=output,
                stderr=output,
                start_new_session=True,  # only this process receives Ctrl-C, and passes it on
                preexec_fn=partial(set_parent_death_signal, signal.SIGTERM),
            )

    def _wait(self, launcher: subprocess.Popen[bytes], handshake: Path, logs: RankLogs) -> int:
        """Wait for the launcher, pass a signal on to it, and show the output of local rank 0.

        On return, every process that the launcher started is gone.

        Returns:
            The launcher's status, negative for a signal.
        """
        passed_on = False
        try:
            while launcher.poll() is None:
                _show_local_rank_0(handshake, logs)
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
            _show_local_rank_0(handshake, logs)


def _show_local_rank_0(handshake: Path, logs: RankLogs) -> None:
    for record in read_records(handshake):
        if record.local_rank == 0:
            logs.show(record.rank)


def _describe_failure(culprit: RankRecord, records: Sequence[RankRecord]) -> str:
    """Which rank failed first and how, and how the others ended."""
    others = ", ".join(
        f"rank {each.rank} {describe_status(each.status)}" for each in records if each != culprit
    )
    return f"rank {culprit.rank} {describe_status(culprit.status)}" + (
        f", then {others}" if others else ""
    )


def _adopt_orphans() -> None:
    """Let the kernel make this process the parent of its descendants' orphans. Linux only."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def _kill_children() -> None:
    """Kill every child, then the orphans that this process thereby adopts, until none is left."""
    with suppress(ChildProcessError):  # no child is left
        while True:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended in the meantime
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                yield int(path.parent.name)
