"""Processes that compute a function for the threads of a loader: Python's lock lets only one thread
run at a time, and with several cores the augmentations wait for it.

A worker process does not import Paddle. The arrays of its results come through memory that both
processes share; everything else is pickled. A process gets several tasks at once, because every
message interrupts a core that computes.
"""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from multiprocessing.connection import Connection
from queue import Empty, LifoQueue
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from vprtrain.data.child_process import ChildProcess, CollectedMessages, named_status
from vprtrain.data.loader import load_in_order
from vprtrain.data.shared_bytes import SharedBytes
from vprtrain.errors import RunError, UsageError, cause

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_ATTEMPTS = 2
_TOGETHER = 8
"""Tasks that a process gets at once. Two cores loaded 6% less with one at a time, and no more with
16."""
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
        self._count = count
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
        return self._compute(_Group([task]))[0].result()

    def load_in_order(
        self, tasks: Iterable[_Task], *, prefetch: int = 64, timeout: float | None = None
    ) -> Generator[_Result, None, None]:
        """:func:`vprtrain.data.load_in_order` of the function with these processes.

        Each process gets up to 8 tasks at once, fewer if otherwise some would have none.

        Args:
            tasks: arguments of the function.
            prefetch: results that are being computed or wait for the consumer, at most.
            timeout: seconds to wait for the tasks that a process got at once; ``None`` waits for
                ever.

        Raises:
            Exception: as a call, at the position of its task.
            RunError: a process took longer than ``timeout``; the message names the task that it was
                at.
        """
        size = max(1, min(_TOGETHER, prefetch // (2 * self._count)))
        groups = load_in_order(
            self._compute,
            _grouped(tasks, size),
            workers=self._count,
            prefetch=prefetch // size,
            timeout=timeout,
            describe=lambda group: self._describe(group.current),
        )
        with closing(groups):
            for outcomes in groups:
                for outcome in outcomes:
                    yield outcome.result()

    def _compute(self, group: _Group[_Task]) -> list[_Outcome]:
        worker = self._idle.get()
        try:
            for _ in range(_ATTEMPTS):
                if worker is None or not worker.is_ours:
                    worker = None
                    worker = _Worker(self._function)
                try:
                    return worker.compute(group)
                except _EndedError as error:
                    worker, ended = None, error
                    log.warning("%s: %s", self._describe(group.current), error)
            raise RunError(
                f"{self._describe(group.current)}: {_ATTEMPTS} worker processes ended while they "
                f"loaded it ({ended}): is memory short? Try fewer workers, or leave this file out"
            )
        finally:
            self._idle.put(worker)


class _Group(Generic[_Task]):
    """Tasks that a process gets at once."""

    def __init__(self, tasks: Sequence[_Task]) -> None:
        self.tasks = tasks
        self.memory: SharedBytes | None = None
        """Of the worker that computes them"""

    @property
    def current(self) -> _Task:
        """The task that the worker is at."""
        done = 0 if self.memory is None else self.memory.counter
        return self.tasks[min(done, len(self.tasks) - 1)]


def _grouped(tasks: Iterable[_Task], size: int) -> Iterator[_Group[_Task]]:
    remaining = iter(tasks)
    while together := list(islice(remaining, size)):
        yield _Group(together)


class _Outcome(NamedTuple):
    """What came of a task."""

    succeeded: bool
    value: Any
    """The result; or the exception with its traceback as a text"""

    def result(self) -> Any:
        if self.succeeded:
            return self.value
        raised, trace = self.value
        raise raised from RuntimeError(f"in a worker process:\n{trace}")


class _EndedError(Exception):
    """A worker process ended before it replied."""


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        try:
            pickled = pickle.dumps(function, _PROTOCOL)
        except Exception as error:  # pickling can raise almost anything
            raise _refusal(error) from error
        self._memory = SharedBytes()
        self._child = ChildProcess(
            __name__,
            str(self._memory.descriptor),
            descriptors=[self._memory.descriptor],
            environment={"OMP_NUM_THREADS": "1"},
        )
        self._child.pipe.send_bytes(pickled)

    @property
    def is_ours(self) -> bool:
        return self._child.is_ours

    def end(self) -> None:
        self._child.end()
        self._memory.close()

    def compute(self, group: _Group[Any]) -> list[_Outcome]:
        self._memory.counter = 0
        group.memory = self._memory
        try:
            self._child.pipe.send_bytes(pickle.dumps(group.tasks, _PROTOCOL))
            replies, messages = pickle.loads(self._child.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            status = self._child.close()
            self._memory.close()
            raise _EndedError(f"a worker process ended ({named_status(status)})") from error
        outcomes = [
            _Outcome(*pickle.loads(reply, buffers=[self._memory.read(*each) for each in places]))
            for reply, places in replies
        ]
        for message in messages:
            log.warning("%s", message)
        return outcomes


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
            pipe.send_bytes(pickle.dumps((replies, collected.take()), _PROTOCOL))
    except EOFError:  # the owner has ended, or does not need this process
        return


def _reply(outcome: _Outcome, memory: SharedBytes) -> tuple[bytes, list[tuple[int, int]]]:
    """An outcome's pickle, and where in the memory its arrays are."""
    buffers: list[pickle.PickleBuffer] = []
    reply = pickle.dumps(tuple(outcome), _PROTOCOL, buffer_callback=buffers.append)
    return reply, [memory.append(buffer.raw()) for buffer in buffers]


def _unpickled(data: bytes) -> Callable[[Any], Any]:
    try:
        function: Callable[[Any], Any] = pickle.loads(data)
    except Exception as error:  # its module may raise anything
        refusal = _refusal(error)

        def function(task: Any) -> Any:
            raise refusal

    return function


def _outcome(function: Callable[[Any], Any], task: Any) -> _Outcome:
    try:
        return _Outcome(True, function(task))
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception of a library that cannot be pickled
            error = RunError(f"{type(error).__name__}: {error}")
        return _Outcome(False, (error, trace))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), SharedBytes(int(sys.argv[2])))
