"""Python processes that work for this one, each at the other end of a pipe."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection


class ChildProcess:
    """A process that runs a module, and the pipe to it.

    The module's first argument is the descriptor of its end of the pipe. It should end when it
    reads the pipe's end: the pipe closes when this process ends, even by a SIGKILL. Ctrl-C does not
    reach the child.

    Args:
        module: the name of an importable module.
        arguments: further ones of the module.
        descriptors: further open files for the child.
        environment: variables to set for the child.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno(), *descriptors],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **(environment or {}),
                },
                start_new_session=True,
            )
            self.pipe = Connection(ours.detach())
        self._owner = os.getpid()

    @property
    def is_ours(self) -> bool:
        """False in a process that was forked from the one that started the child: replies are not
        for it."""
        return self._owner == os.getpid()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end(self) -> None:
        """End the process. In a forked process, close its copy of the pipe only."""
        if self.is_ours:
            self.close()
        else:
            self.pipe.close()

    def close(self) -> int:
        """End the process.

        Returns:
            Its exit status; the negative number of a signal that ended it.
        """
        self.pipe.close()
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def named_status(status: int) -> str:
    """An exit status for a message: the name of the signal, or the number."""
    return signal.Signals(-status).name if status < 0 else str(status)


class CollectedMessages(logging.Handler):
    """Keeps the messages of a call in a child, for the log of the caller."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def take(self) -> list[str]:
        """The messages since the last call."""
        taken, self.messages = self.messages, []
        return taken
