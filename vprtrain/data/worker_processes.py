"""Processes that compute a function for the threads of a loader: Python's lock lets only one thread
run at a time, and with several cores the augmentations wait for it.

A worker process does not import Paddle. The arrays of its results come through memory that both
processes share; everything else is pickled.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, LifoQueue
from typing import Any, Generic, TypeAlias, TypeVar

from vprtrain.data.child_process import ChildProcess, CollectedMessages, named_status
from vprtrain.errors import RunError, UsageError, cause

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_ATTEMPTS = 2
_PROTOCOL = 5  # with buffers beside the pickle

log = logging.getLogger(__name__)


class WorkerProcesses(Generic[_Task, _Result]):
    """A function of one argument, computed in processes. Threads may share the object.

    Each process is started when it is needed first and keeps the function. If one is killed (by the
    system when memory is short, say), another one repeats its task. All of them end with this
    process, even if a SIGKILL ends it.

    Args:
        function: can be pickled, and so can its arguments, results and exceptions. It gives the
            same result in every process.
        count: processes. A call waits for a free one.
        describe: names a task in messages.

    """

    def __init__(
        self,
        function: Callable[[_Task], _Result],
        *,
        count: int,
        describe: Callable[[_Task], str] = str,
    ) -> None:
        self._function = function
        self._describe = describe
        self._idle: _Idle = LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        weakref.finalize(self, _end, self._idle)

    def __call__(self, task: _Task) -> _Result:
        """``function(task)``.

        Raises:
            Exception: what the function raised.
            UsageError: the function cannot be pickled, or its module cannot be imported.
            RunError: two processes in turn ended while they computed it.
        """
        worker = self._idle.get()
        try:
            for _ in range(_ATTEMPTS):
                if worker is None or not worker.is_ours:
                    worker = None
                    worker = _Worker(self._function)
                try:
                    result: _Result = worker.call(task)
                    return result
                except _EndedError as error:
                    worker, ended = None, error
                    log.warning("%s: %s", self._describe(task), error)
            raise RunError(
                f"{self._describe(task)}: {_ATTEMPTS} worker processes ended while they loaded it "
                f"({ended}): is memory short? Try fewer workers, or leave this file out"
            )
        finally:
            self._idle.put(worker)


class _EndedError(Exception):
    """A worker process ended before it replied."""


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        try:
            pickled = pickle.dumps(function, _PROTOCOL)
        except Exception as error:  # pickling can raise almost anything
            raise _refusal(error) from error
        self._memory = os.memfd_create("vprtrain-worker")
        self._child = ChildProcess(
            __name__,
            str(self._memory),
            descriptors=[self._memory],
            environment={"OMP_NUM_THREADS": "1"},
        )
        self._child.pipe.send_bytes(pickled)

    @property
    def is_ours(self) -> bool:
        return self._child.is_ours

    def end(self) -> None:
        self._child.end()
        os.close(self._memory)

    def call(self, task: Any) -> Any:
        try:
            self._child.pipe.send_bytes(pickle.dumps(task, _PROTOCOL))
            sizes, messages, reply = pickle.loads(self._child.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            status = self._child.close()
            os.close(self._memory)
            raise _EndedError(f"a worker process ended ({named_status(status)})") from error
        buffers = [bytearray(size) for size in sizes]
        os.preadv(self._memory, buffers, 0)
        succeeded, value = pickle.loads(reply, buffers=buffers)
        for message in messages:
            log.warning("%s", message)
        if not succeeded:
            raised, trace = value
            raise raised from RuntimeError(f"in a worker process:\n{trace}")
        return value


_Idle: TypeAlias = "LifoQueue[_Worker | None]"


def _end(idle: _Idle) -> None:
    with suppress(Empty):
        while True:
            if (worker := idle.get_nowait()) is not None:
                worker.end()


def _refusal(error: Exception) -> UsageError:
    return UsageError(
        f"worker processes cannot take the loader's work ({cause(error)}): put classes of your own "
        "into a module that can be imported, or read in threads (worker_processes: false)"
    )


def _serve(pipe: Connection, memory: int) -> None:
    collected = CollectedMessages()
    logging.getLogger().addHandler(collected)
    try:
        function = _unpickled(pipe.recv_bytes())
        while True:
            outcome = _outcome(function, pickle.loads(pipe.recv_bytes()))
            buffers: list[pickle.PickleBuffer] = []
            reply = pickle.dumps(outcome, _PROTOCOL, buffer_callback=buffers.append)
            views = [buffer.raw() for buffer in buffers]
            os.lseek(memory, 0, os.SEEK_SET)
            for view in views:
                _write(memory, view)
            said = ([view.nbytes for view in views], collected.take(), reply)
            pipe.send_bytes(pickle.dumps(said, _PROTOCOL))
    except EOFError:  # the owner has ended, or does not need this process
        return


def _unpickled(data: bytes) -> Callable[[Any], Any]:
    try:
        function: Callable[[Any], Any] = pickle.loads(data)
    except Exception as error:  # its module may raise anything
        refusal = _refusal(error)

        def function(task: Any) -> Any:
            raise refusal

    return function


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[bool, Any]:
    """Whether the function succeeded, and its result or its exception with the traceback."""
    try:
        return True, function(task)
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception of a library that cannot be pickled
            error = RunError(f"{type(error).__name__}: {error}")
        return False, (error, trace)


def _write(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
