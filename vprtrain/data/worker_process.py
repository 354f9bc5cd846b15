"""The process at the other end of :class:`vprtrain.data.worker_processes.WorkerProcesses`."""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from vprtrain.data.child_process import CollectedMessages
from vprtrain.data.shared_bytes import SharedBytes
from vprtrain.errors import RunError, UsageError, cause

PROTOCOL = 5  # with buffers beside the pickle


class Outcome(NamedTuple):
    """What came of a task."""

    succeeded: bool
    value: Any
    """The result; or the exception with its traceback as a text"""

    def result(self) -> Any:
        """The result, or the exception is raised."""
        if self.succeeded:
            return self.value
        raised, trace = self.value
        raise raised from RuntimeError(f"in a worker process:\n{trace}")


def refusal(error: Exception) -> UsageError:
    """Why the function could not be pickled, or not be made from its pickle."""
    return UsageError(
        f"worker processes cannot take the loader's work ({cause(error)}): put classes of your own "
        "into a module that can be imported, or read in threads (worker_processes: false)"
    )


def _serve(pipe: Connection, memory: SharedBytes) -> None:
    collected = CollectedMessages()
    logging.getLogger().addHandler(collected)
    try:
        function = _unpickled(pipe.recv_bytes())
        while True:
            tasks = pickle.loads(pipe.recv_bytes())
            memory.clear()
            replies = []
            for done, task in enumerate(tasks):
                memory.counter = done
                replies.append(_reply(_outcome(function, task), memory))
            pipe.send_bytes(pickle.dumps((replies, collected.take()), PROTOCOL))
    except EOFError:  # the owner has ended, or does not need this process
        return


def _reply(outcome: Outcome, memory: SharedBytes) -> tuple[bytes, list[tuple[int, int]]]:
    """An outcome's pickle, and where in the memory its arrays are."""
    buffers: list[pickle.PickleBuffer] = []
    reply = pickle.dumps(tuple(outcome), PROTOCOL, buffer_callback=buffers.append)
    return reply, [memory.append(buffer.raw()) for buffer in buffers]


def _unpickled(data: bytes) -> Callable[[Any], Any]:
    try:
        function: Callable[[Any], Any] = pickle.loads(data)
    except Exception as error:  # its module may raise anything
        refused = refusal(error)

        def function(task: Any) -> Any:
            raise refused

    return function


def _outcome(function: Callable[[Any], Any], task: Any) -> Outcome:
    try:
        return Outcome(True, function(task))
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception of a library that cannot be pickled
            error = RunError(f"{type(error).__name__}: {error}")
        return Outcome(False, (error, trace))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), SharedBytes(int(sys.argv[2])))
