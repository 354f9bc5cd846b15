"""The lock of a run directory, also on file systems without locks and beside forked processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from vprtrain.checkpoint import lock
from vprtrain.checkpoint.lock import HEARTBEAT_FILE, LOCK_FILE, locked
from vprtrain.errors import UsageError


@pytest.fixture
def without_locks(monkeypatch) -> None:
    """As on a network file system; heartbeats are fast, so that tests are."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "HEARTBEAT", 0.1)


def test_the_folder_is_made_and_has_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with locked(folder) as held:
        assert held.is_held()
        with (
            pytest.raises(UsageError, match=f"is in use by process {os.getpid()} on "),
            locked(folder),
        ):
            pass
        assert held.is_held()
    with locked(folder):
        pass


def test_a_removed_or_replaced_lock_is_no_longer_held(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        (tmp_path / LOCK_FILE).unlink()
        assert not held.is_held()
        (tmp_path / LOCK_FILE).touch()
        assert not held.is_held()


def test_a_forked_process_that_outlives_the_writer_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A SIGKILL of the writer leaves the children of its loader alive."""
    context = multiprocessing.get_context("fork")
    child_started, child_ends = context.Event(), context.Event()

    def child() -> None:
        child_started.set()
        child_ends.wait(60)

    def writer() -> None:
        with locked(tmp_path):
            context.Process(target=child).start()
            time.sleep(60)

    process = context.Process(target=writer)
    process.start()
    try:
        assert child_started.wait(60)
        with pytest.raises(UsageError, match="is in use by process"), locked(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)  # join() would wait for the child, which has the writer's pipe
        with locked(tmp_path) as held:
            assert held.is_held()
    finally:
        child_ends.set()
        process.kill()


def test_another_error_of_the_lock_is_one_line(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(UsageError, match=r"cannot be written to .*choose another save_dir"),
        locked(tmp_path),
    ):
        pass


def test_a_heartbeat_stands_for_the_lock(tmp_path: Path, without_locks, caplog) -> None:
    with locked(tmp_path) as held:
        assert "is on a file system without locks" in caplog.text
        assert held.is_held()
        first = (tmp_path / HEARTBEAT_FILE).stat().st_mtime_ns
        with (
            pytest.raises(UsageError, match=f"is in use by process {os.getpid()} on "),
            locked(tmp_path),
        ):
            pass
        assert (tmp_path / HEARTBEAT_FILE).stat().st_mtime_ns > first
        assert held.is_held()
    assert not (tmp_path / HEARTBEAT_FILE).exists()
    with locked(tmp_path):
        pass


def test_a_heartbeat_holds_against_a_machine_that_has_locks(
    tmp_path: Path, without_locks, monkeypatch
) -> None:
    with locked(tmp_path):
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        with pytest.raises(UsageError, match="is in use by process"), locked(tmp_path):
            pass


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
@pytest.mark.parametrize("has_locks", [True, False])
def test_a_heartbeat_that_stopped_is_abandoned(
    tmp_path: Path, without_locks, monkeypatch, caplog, host: str, has_locks: bool
) -> None:
    if has_locks:
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    (tmp_path / HEARTBEAT_FILE).write_text(f"process 4194305 on {host}\n0123")  # above pid_max
    with locked(tmp_path) as held:
        assert held.is_held()
    assert f"was left behind by process 4194305 on {host}, and is removed" in caplog.text


def test_an_empty_heartbeat_file_is_abandoned(tmp_path: Path, without_locks, caplog) -> None:
    """A kill between making and writing it leaves it."""
    (tmp_path / HEARTBEAT_FILE).touch()
    with locked(tmp_path) as held:
        assert held.is_held()
    assert "was left behind by another process, and is removed" in caplog.text


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for(
    tmp_path: Path, without_locks, monkeypatch
) -> None:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    owner = f"process {process.pid} on {socket.gethostname()}\nabc\n{lock._process_numbers()}"
    (tmp_path / HEARTBEAT_FILE).write_text(owner)
    monkeypatch.setattr(lock.time, "sleep", lambda _: pytest.fail("it waited"))
    with locked(tmp_path):
        pass


def test_a_link_in_the_locks_place_is_refused(tmp_path: Path) -> None:
    """A stranger's run directory must not change files elsewhere."""
    victim = tmp_path / "thesis.txt"
    victim.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK_FILE).symlink_to(victim)
    with pytest.raises(UsageError, match="cannot be written to"), locked(tmp_path / "run"):
        pass
    assert victim.read_text() == "mine"


def test_a_heartbeat_file_taken_over_by_another_is_no_longer_held(
    tmp_path: Path, without_locks
) -> None:
    """The writer was suspended for long, say."""
    with locked(tmp_path) as held:
        (tmp_path / HEARTBEAT_FILE).write_text("process 7 on elsewhere\nabc")
        assert not held.is_held()
    assert (tmp_path / HEARTBEAT_FILE).read_text() == "process 7 on elsewhere\nabc"
