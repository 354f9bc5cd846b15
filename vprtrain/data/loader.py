"""Work done ahead of its consumer, in order, by threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def load_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int = 2, prefetch: int = 64
) -> Generator[Result, None, None]:
    """Yield ``function(task)`` for every task, in the tasks' order, whatever the number of threads.

    At most ``prefetch`` results are under way or waiting. Without workers everything happens in the caller.
    An exception of ``function`` is raised to the consumer in its place, with the traceback of the thread. The
    generator may be closed at any time, also after an exception hit the waiting consumer: tasks not begun are
    dropped, and each thread ends with the task in its hands. Nobody waits for a thread, so one that hangs (a
    dead network drive) holds up neither the caller nor the interpreter's exit.
    (``concurrent.futures.ThreadPoolExecutor`` would.)
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

    for number in range(workers):
        threading.Thread(target=work, name=f"loader-{number}", daemon=True).start()
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            future: Future[Result] = Future()
            queue.put((future, task))
            pending.append(future)
            if len(pending) >= prefetch:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for _ in range(workers):
            queue.put(None)
