"""Processes that compute a function for the threads of a loader: Python's lock lets only one thread
run at a time, and with several cores the augmentations wait for it.

A worker process does not import Paddle. The arrays of its results come through memory that both
processes share; everything else is pickled. A process gets several tasks at once, because every
message interrupts a core that computes.
"""

from __future__ import annotations

import logging
import pickle
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from queue import Empty, LifoQueue
from typing import Any, Generic, TypeAlias, TypeVar

from vprtrain.data import worker_process
from vprtrain.data.child_process import ChildProcess, named_status
from vprtrain.data.loader import load_in_order
from vprtrain.data.shared_bytes import SharedBytes
from vprtrain.data.worker_process import PROTOCOL, Outcome, refusal
from vprtrain.errors import RunError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_ATTEMPTS = 2
_TOGETHER = 8
"""Tasks that a process gets at once. Two cores loaded 6% less with one at a time, and no more with
16."""

log = logging.getLogger(__name__)


class WorkerProcesses(Generic[_Task, _Result]):
    """A function of one argument, computed in processes. Threads may share the object.

    Each process is started when it is needed first and keeps the function. If one is killed (by the
    system when memory is short, say), another one repeats its tasks. All of them end with this
    process, even if a SIGKILL ends it.

    Args:
        function: can be pickled, and so can its arguments, results and exceptions. It gives the
            same result in every process.
        count: processes.
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
        self._workers: set[_Worker] = set()
        weakref.finalize(self, _end, self._idle, self._workers)

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
            Exception: what the function raised, at the position of its task.
            UsageError: the function cannot be pickled, or its module cannot be imported.
            RunError: two processes in turn ended while they computed a task, or a process took
                longer than ``timeout``; the message names the task that it was at.
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

    def _compute(self, group: _Group[_Task]) -> list[Outcome]:
        worker = self._idle.get()
        ended: Counter[int] = Counter()
        try:
            while True:
                if worker is None or not worker.is_ours:
                    worker = None
                    worker = _Worker(self._function)
                    self._workers.add(worker)
                try:
                    return worker.compute(group)
                except _EndedError as error:
                    self._workers.discard(worker)
                    worker, name = None, self._describe(group.current)
                    log.warning("%s: %s", name, error)
                    ended[group.place] += 1
                    if ended[group.place] == _ATTEMPTS:
                        raise RunError(
                            f"{name}: {_ATTEMPTS} worker processes ended while they loaded it "
                            f"({error}): is memory short? Try fewer workers, or leave this file out"
                        ) from error
        finally:
            self._idle.put(worker)


class _Group(Generic[_Task]):
    """Tasks that a process gets at once."""

    def __init__(self, tasks: Sequence[_Task]) -> None:
        self.tasks = tasks
        self.memory: SharedBytes | None = None
        """Of the worker that computes them"""

    @property
    def place(self) -> int:
        """Of the task that the worker is at."""
        done = 0 if self.memory is None else self.memory.counter
        return min(done, len(self.tasks) - 1)

    @property
    def current(self) -> _Task:
        """The task that the worker is at."""
        return self.tasks[self.place]


def _grouped(tasks: Iterable[_Task], size: int) -> Iterator[_Group[_Task]]:
    remaining = iter(tasks)
    while together := list(islice(remaining, size)):
        yield _Group(together)


class _EndedError(Exception):
    """A worker process ended before it replied."""


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        try:
            pickled = pickle.dumps(function, PROTOCOL)
        except Exception as error:  # pickling can raise almost anything
            raise refusal(error) from error
        self._memory = SharedBytes()
        self._child = ChildProcess(
            worker_process.__name__,
            str(self._memory.descriptor),
            descriptors=[self._memory.descriptor],
            environment={"OMP_NUM_THREADS": "1"},
        )
        self._child.pipe.send_bytes(pickled)

    @property
    def is_ours(self) -> bool:
        return self._child.is_ours

    def kill(self) -> None:
        """End a process that is at work. The thread that waits for it cleans up."""
        if self.is_ours:
            self._child.kill()

    def end(self) -> None:
        self._child.end()
        self._memory.close()

    def compute(self, group: _Group[Any]) -> list[Outcome]:
        self._memory.counter = 0
        group.memory = self._memory
        try:
            self._child.pipe.send_bytes(pickle.dumps(group.tasks, PROTOCOL))
            replies, messages = pickle.loads(self._child.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            status = self._child.close()
            self._memory.close()
            raise _EndedError(f"a worker process ended ({named_status(status)})") from error
        outcomes = [
            Outcome(*pickle.loads(reply, buffers=[self._memory.read(*each) for each in places]))
            for reply, places in replies
        ]
        for message in messages:
            log.warning("%s", message)
        return outcomes


_Idle: TypeAlias = "LifoQueue[_Worker | None]"


def _end(idle: _Idle, workers: set[_Worker]) -> None:
    with suppress(Empty):
        while True:
            if (worker := idle.get_nowait()) is not None:
                workers.discard(worker)
                worker.end()
    for worker in [*workers]:
        worker.kill()
