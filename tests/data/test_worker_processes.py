"""Worker processes compute what the function computes, survive what happens to them, and end with
their owner."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_tasks
from processes import is_alive, wait_until

from vprtrain.data.worker_processes import WorkerProcesses
from vprtrain.errors import RunError, UsageError


def computed(work: WorkerProcesses[Any, Any], task: object) -> Any:
    """The result of one task."""
    (result,) = work.load_in_order([task])
    return result


def test_results_are_those_of_the_function_in_the_order_of_the_tasks() -> None:
    work = WorkerProcesses(worker_tasks.make, count=2)
    made = list(work.load_in_order(range(200), prefetch=8))
    for number, (result, expected) in enumerate(
        zip(made, map(worker_tasks.make, range(200)), strict=True)
    ):
        assert result.number == number
        np.testing.assert_array_equal(result.array, expected.array)
        assert result.array.dtype == np.float32 and result.array.flags.writeable
        for other, same in zip(result.others, expected.others, strict=True):
            np.testing.assert_array_equal(other, same)
    pids = {result.pid for result in made}
    assert len(pids) == 2 and os.getpid() not in pids


def test_a_worker_does_without_paddle() -> None:
    assert computed(WorkerProcesses(worker_tasks.imported, count=1), "paddle") is False


def test_exceptions_and_warnings_are_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    work = WorkerProcesses(worker_tasks.fail, count=1)
    with pytest.raises(KeyError) as failure:
        computed(work, 1)
    assert "worker_tasks.py" in str(failure.value.__cause__)
    with pytest.raises(RunError, match="UnpicklableError: two words"):
        computed(work, 2)
    with caplog.at_level(logging.WARNING):
        computed(work, 3)
    assert caplog.messages == ["task 3"]


def test_a_killed_worker_is_replaced_and_its_task_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = WorkerProcesses(worker_tasks.die_once, count=1, describe=lambda path: Path(path).name)
    with caplog.at_level(logging.WARNING):
        pid = computed(work, str(tmp_path / "a"))
    assert caplog.messages == ["a: a worker process ended (SIGKILL)"]
    assert computed(work, str(tmp_path / "a")) == pid  # the replacement stays


def test_a_task_that_ends_two_workers_is_named() -> None:
    work = WorkerProcesses(worker_tasks.die, count=1)
    with pytest.raises(RunError, match=r"^x\.wav: 2 worker processes ended .*SIGKILL.*short"):
        computed(work, "x.wav")


def test_work_that_cannot_be_handed_over_is_refused() -> None:
    with pytest.raises(UsageError, match=r"put classes of your own into a module .* in threads"):
        computed(WorkerProcesses(lambda task: task, count=1), 1)


def test_work_of_a_module_that_a_worker_cannot_import_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_work.py").write_text("def double(number):\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    import own_work  # type: ignore[import-not-found]  # written above

    work = WorkerProcesses(own_work.double, count=1)
    assert computed(work, 4) == 8
    (tmp_path / "own_work.py").unlink()
    with pytest.raises(UsageError, match="No module named 'own_work'"):
        computed(WorkerProcesses(own_work.double, count=1), 4)


def test_a_worker_that_hangs_is_found_by_the_loader(tmp_path: Path) -> None:
    work = WorkerProcesses(worker_tasks.wait_for, count=1)
    tasks = work.load_in_order([str(tmp_path / "gate")], timeout=0.2)
    with pytest.raises(RunError, match=r"gate: not loaded after 0.2 s"):
        next(tasks)
    (tmp_path / "gate").touch()  # lets the loader's thread end


def test_a_process_gets_several_tasks_at_once() -> None:
    work = WorkerProcesses(worker_tasks.make, count=2)
    numbers = range(0, 30000, 200)  # arrays of up to 240 kB, so the shared memory grows
    for _ in range(2):
        made = list(work.load_in_order(numbers, prefetch=40))
        for result, expected in zip(made, map(worker_tasks.make, numbers), strict=True):
            assert result.number == expected.number
            np.testing.assert_array_equal(result.others[0], expected.others[0])
        pids = [result.pid for result in made]
        assert len(set(pids)) == 2
        assert pids[:8] == pids[:1] * 8
        closed = work.load_in_order(numbers, prefetch=40)
        next(closed)
        closed.close()  # what is still computed does not come later


def test_a_process_gets_few_tasks_at_once_where_few_may_be_loaded_ahead() -> None:
    work = WorkerProcesses(worker_tasks.make, count=2)
    assert [result.number for result in work.load_in_order(range(7), prefetch=1)] == list(range(7))
    pids = [result.pid for result in work.load_in_order(range(40), prefetch=8)]
    assert all(pids[place] == pids[place + 1] for place in range(0, 40, 2))


def test_an_exception_comes_at_the_position_of_its_task() -> None:
    work = WorkerProcesses(worker_tasks.fail, count=1)
    results = work.load_in_order([0, 0, 1, 0])
    assert [next(results), next(results)] == [None, None]
    with pytest.raises(KeyError):
        next(results)


def test_the_task_that_kills_or_holds_up_a_process_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [str(tmp_path / name) for name in "abcd"]
    for path in (paths[0], paths[1], paths[3]):
        Path(path).touch()
    die = WorkerProcesses(worker_tasks.die_once, count=1, describe=lambda path: Path(path).name)
    with caplog.at_level(logging.WARNING):
        assert len(set(die.load_in_order(paths))) == 1  # the second process did all again
    assert caplog.messages == ["c: a worker process ended (SIGKILL)"]
    wait = WorkerProcesses(worker_tasks.wait_for, count=1)
    list(wait.load_in_order([os.devnull]))  # the process has started
    with pytest.raises(RunError, match=r"gate: not loaded after 0\.5 s"):
        list(wait.load_in_order([*paths, str(tmp_path / "gate"), os.devnull], timeout=0.5))
    (tmp_path / "gate").touch()  # lets the loader's thread end


def test_each_task_of_a_process_has_two_attempts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = WorkerProcesses(worker_tasks.die_once, count=1, describe=lambda path: Path(path).name)
    with caplog.at_level(logging.WARNING):
        assert len(list(work.load_in_order([str(tmp_path / name) for name in "abc"]))) == 3
    assert caplog.messages == [f"{name}: a worker process ended (SIGKILL)" for name in "abc"]


def test_workers_end_with_the_object() -> None:
    work = WorkerProcesses(worker_tasks.wait_for, count=1)
    pid = computed(work, os.devnull)
    assert is_alive(pid)
    del work
    gc.collect()
    wait_until(lambda: not is_alive(pid))


OWNER = """
import time, worker_tasks
from vprtrain.data.worker_processes import WorkerProcesses
work = WorkerProcesses(worker_tasks.wait_for, count=1)
print(*work.load_in_order(["/dev/null"]), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_owner(signum: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signum)
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not is_alive(pid))


STOPPED = """
import worker_tasks
from vprtrain.data.worker_processes import WorkerProcesses
from vprtrain.errors import RunError
work = WorkerProcesses(worker_tasks.wait_for, count=1)
print(*work.load_in_order(["/dev/null"]), flush=True)
try:
    list(work.load_in_order(["/nowhere/at/all"], timeout=0.2))
except RunError as error:
    print(error)
"""


def test_a_worker_that_does_not_answer_ends_with_its_owner() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    owner = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    said, _ = owner.communicate()
    assert "not loaded after 0.2 s" in said
    wait_until(lambda: not is_alive(pid))
