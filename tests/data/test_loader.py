from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.data.loader import load_in_order
from vprtrain.errors import RunError


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader-")]


def wait_until_gone(seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while loader_threads():
        assert time.monotonic() < deadline, "loader threads are still there"
        time.sleep(0.005)


@settings(max_examples=30, deadline=None)
@given(
    delays=st.lists(st.integers(0, 2), max_size=30),
    workers=st.sampled_from([0, 1, 2, 4]),
    prefetch=st.integers(1, 9),
)
def test_results_come_in_the_order_of_the_tasks(
    delays: list[int], workers: int, prefetch: int
) -> None:
    def slow(task: int) -> tuple[int, int]:
        time.sleep(delays[task] / 1000)
        return task, delays[task]

    loaded = list(load_in_order(slow, range(len(delays)), workers=workers, prefetch=prefetch))
    assert loaded == list(enumerate(delays))
    wait_until_gone()


def test_no_more_than_prefetch_is_begun() -> None:
    begun: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(100):
            begun.append(task)
            yield task

    loader = load_in_order(lambda task: task, tasks(), workers=2, prefetch=5)
    assert [next(loader) for _ in range(10)] == list(range(10))
    assert len(begun) <= 10 + 5
    loader.close()
    wait_until_gone()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_exception_of_a_task_reaches_its_place_with_its_traceback(workers: int) -> None:
    class UnpicklableError(Exception):
        def __init__(self, task: int, lock: object) -> None:
            super().__init__(f"task {task}")
            self.lock = lock

    def fail_at_seven(task: int) -> int:
        if task == 7:
            raise UnpicklableError(task, threading.Lock())
        return task

    loader = load_in_order(fail_at_seven, range(20), workers=workers, prefetch=4)
    assert [next(loader) for _ in range(7)] == list(range(7))
    with pytest.raises(UnpicklableError, match="task 7") as caught:
        next(loader)
    assert "fail_at_seven" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert list(loader) == []
    wait_until_gone()


def test_close_drops_what_has_not_begun() -> None:
    done: list[int] = []
    gate = threading.Event()

    def wait(task: int) -> int:
        if task:
            gate.wait(60)
        done.append(task)
        return task

    loader = load_in_order(wait, range(100), workers=2, prefetch=50)
    assert next(loader) == 0
    loader.close()
    assert done == [0], "close() waited for the tasks in hand"
    gate.set()
    wait_until_gone()
    assert len(done) <= 3


def test_a_signal_while_waiting_leaves_it_closable() -> None:
    gate = threading.Event()
    loader = load_in_order(lambda task: gate.wait(60), range(4), workers=2, prefetch=2)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(loader)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    loader.close()
    gate.set()
    wait_until_gone()


@pytest.mark.parametrize("stuck", [0, 3])
def test_a_task_that_hangs_is_named_after_the_time_limit(stuck: int) -> None:
    gate = threading.Event()
    loader = load_in_order(
        lambda task: task == stuck and gate.wait(60),
        range(9),
        workers=2,
        prefetch=5,
        timeout=1.5,
        describe=lambda task: f"number{task}.wav",
    )
    for _ in range(stuck):
        next(loader)
    with pytest.raises(RunError, match=rf"number{stuck}\.wav: not loaded after 1\.5 s"):
        next(loader)
    gate.set()
    wait_until_gone()


def test_slow_tasks_behind_one_another_are_within_the_limit() -> None:
    loader = load_in_order(
        lambda task: time.sleep(0.2), range(12), workers=1, prefetch=12, timeout=1.5
    )
    assert len(list(loader)) == 12


def test_a_tasks_own_timeout_is_not_taken_for_the_loaders() -> None:
    def time_out(task: int) -> None:
        raise TimeoutError("the server did not answer")

    with pytest.raises(TimeoutError, match="the server did not answer"):
        next(load_in_order(time_out, range(3), workers=2, timeout=60))


def test_threads_end_with_a_loader_that_is_forgotten() -> None:
    loader = load_in_order(lambda task: task, range(100), workers=2, prefetch=4)
    next(loader)
    assert loader_threads()
    del loader
    wait_until_gone()


def test_a_thread_that_hangs_does_not_hold_up_the_interpreters_exit() -> None:
    code = (
        "import time; from vprtrain.data.loader import load_in_order\n"
        "sleep = lambda task: task and time.sleep(600)\n"
        "loader = load_in_order(sleep, range(9), workers=2, prefetch=9)\n"
        "next(loader); time.sleep(0.1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


@pytest.mark.parametrize("attempt", range(4))
def test_a_loader_that_is_open_at_exit_does_not_abort_the_process(attempt: int) -> None:
    """Its threads are inside of extensions in C++, which Python cannot end."""
    script = """
import numpy as np
import scipy.fft
from vprtrain.data.loader import load_in_order

waves = np.ones((2, 16000), "float32")
loader = load_in_order(lambda task: scipy.fft.rfft(waves), range(10**6), workers=4)
print(len([next(loader) for _ in range(5)]), flush=True)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
