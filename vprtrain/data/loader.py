"""Work done ahead of its consumer, in order, by threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from vprtrain.errors import RunError

Task = TypeVar("Task")
Result = TypeVar("Result")

WORKER_TIMEOUT = 600.0
"""Seconds that one recording may take to load: more than a network drive is away while it
restarts"""


def load_in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int = 2,
    prefetch: int = 64,
    timeout: float | None = None,
    describe: Callable[[Task], str] = str,
) -> Generator[Result, None, None]:
    """Yield ``function(task)`` for every task, in the tasks' order, whatever the number of threads.

    At most ``prefetch`` results are under way or waiting. Without workers everything happens in the
    caller. An exception of ``function`` is raised to the consumer in its place, with the traceback
    of the thread. The generator may be closed at any time, also after an exception hit the waiting
    consumer: tasks not begun are dropped, and each thread ends with the task in its hands. Nobody
    waits for a thread, so one that hangs (a dead network drive) holds up neither the caller nor the
    interpreter's exit. (``concurrent.futures.ThreadPoolExecutor`` would.)

    Raises:
        RunError: the consumer waited ``timeout`` seconds for one result. It names the task by
            ``describe``. Without workers nobody is there to look at the clock.
    """
    if workers == 0:
        yield from map(function, tasks)
        return

    queue: SimpleQueue[tuple[Future[Result], Task] | None] = SimpleQueue()

    def work() -> None:
        while (job := queue.get()) is not None:
            future, task = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(task))
                except BaseException as error:
                    future.set_exception(error)

    def oldest() -> Result:
        """Wait for the oldest task's result. All before it are done, so some thread has it in its
        hands."""
        future, task = pending.popleft()
        try:
            return future.result(timeout)
        except futures.TimeoutError as error:
            if future.done():  # it is the task's own
                raise
            raise RunError(
                f"{describe(task)}: not loaded after {timeout:g} s, so whatever it is read from hangs; see whether "
                "its drive answers, or raise worker_timeout"
            ) from error

    for number in range(workers):
        threading.Thread(target=work, name=f"loader-{number}", daemon=True).start()
    pending: deque[tuple[Future[Result], Task]] = deque()
    try:
        for task in tasks:
            future: Future[Result] = Future()
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
