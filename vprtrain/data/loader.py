"""Threads that load ahead of the consumer and keep the order."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from vprtrain.errors import RunError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

WORKER_TIMEOUT = 600.0
"""Seconds that one recording may take to load: longer than a network drive needs to restart"""
_EXIT_PATIENCE = 2.0
"""Seconds that the exit of the interpreter waits for threads that are at work"""

_running: WeakKeyDictionary[threading.Thread, SimpleQueue[Any]] = WeakKeyDictionary()
"""All threads, each with its queue."""
_leaving = threading.Event()


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
    after its current task. A thread that hangs (a dead network drive) does not block the caller,
    and the exit of the interpreter for two seconds only; ``concurrent.futures.ThreadPoolExecutor``
    would block both.

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
        while (job := queue.get()) is not None and not _leaving.is_set():
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

    atexit.unregister(_end_threads)  # so that it is called once, and before older functions
    atexit.register(_end_threads)
    for number in range(workers):
        thread = threading.Thread(target=work, name=f"loader-{number}", daemon=True)
        _running[thread] = queue
        thread.start()
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


def _end_threads() -> None:
    """End the threads of loaders that are open at the exit of the interpreter.

    Otherwise Python ends a thread when it asks for the interpreter's lock again. Inside of an
    extension in C++ (SciPy's Fourier transform, soxr, ONNX Runtime) this aborts the process.
    """
    _leaving.set()
    running = list(_running.items())
    for _, queue in running:
        queue.put(None)
    deadline = time.monotonic() + _EXIT_PATIENCE
    for thread, _ in running:
        thread.join(max(0.0, deadline - time.monotonic()))
