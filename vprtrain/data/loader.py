"""Threads that load ahead of the consumer and keep the order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from vprtrain.errors import RunError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

WORKER_TIMEOUT = 600.0
"""Seconds that one recording may take to load: longer than a network drive needs to restart"""


def load_in_order(
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    *,
    workers: int = 2,
    prefetch: int = 64,
    timeout: float | None = None,
    describe: Callable[[_Task], str] = str,
) -> Generator[_Result, None, None]:
    """Yield ``function(task)`` for every task, in the order of the tasks.

    An exception of ``function`` is raised to the consumer at the position of its task, with the
    traceback of the thread. The generator may be closed at any time, also after an exception was
    raised in the waiting consumer: tasks that were not begun are dropped, and each thread ends
    after its current task. Threads are never joined, so a thread that hangs (a dead network drive)
    blocks neither the caller nor the exit of the interpreter;
    ``concurrent.futures.ThreadPoolExecutor`` would block both.

    Args:
        workers: threads; with 0 the caller computes everything.
        prefetch: results that are being computed or wait for the consumer, at most.
        timeout: seconds to wait for one result; ``None`` waits for ever. Not enforced with 0
            workers.
        describe: names a task in the message of the timeout.

    Raises:
        RunError: one result took longer than ``timeout``.
    """
    if workers == 0:
        yield from map(function, tasks)
        return

    queue: SimpleQueue[tuple[Future[_Result], _Task] | None] = SimpleQueue()

    def work() -> None:
        while (job := queue.get()) is not None:
            future, task = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(task))
                except BaseException as error:
                    future.set_exception(error)

    def oldest() -> _Result:
        """Wait for the result of the oldest task. All earlier ones are done, so a thread is working
        on it."""
        future, task = pending.popleft()
        try:
            return future.result(timeout)
        except futures.TimeoutError as error:
            if future.done():  # the task itself raised it
                raise
            raise RunError(
                f"{describe(task)}: not loaded after {timeout:g} s, so its drive seems to hang; "
                "check that the drive answers, or raise worker_timeout"
            ) from error

    for number in range(workers):
        threading.Thread(target=work, name=f"loader-{number}", daemon=True).start()
    pending: deque[tuple[Future[_Result], _Task]] = deque()
    try:
        for task in tasks:
            future: Future[_Result] = Future()
            queue.put((future, task))
            pending.append((future, task))
            if len(pending) >= prefetch:
                yield oldest()
        while pending:
            yield oldest()
    finally:
        for future, _ in pending:
            future.cancel()
        for _ in range(workers):
            queue.put(None)
