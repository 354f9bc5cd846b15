"""G8: a run directory has one writer, and a killed one leaves no lock behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probes import Watch
from recovery import content, fit, outcome

from vprtrain.errors import UsageError

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def holder(tmp_path) -> Iterator[subprocess.Popen]:
    """Another process in the midst of its run in ``tmp_path / "run"``, with one checkpoint
    committed."""
    environment = os.environ | {"PYTHONPATH": str(HOLDER.parents[1])}
    command = [sys.executable, HOLDER, tmp_path / "run"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout.readline() == "committed\n"
            yield process
        finally:
            process.kill()


def test_the_second_process_names_the_first_until_that_is_killed(holder, tmp_path) -> None:
    """G8: the refused one changes nothing; after a SIGKILL the next goes on, to what a straight run
    gives."""
    run_dir = tmp_path / "run"
    (run_dir / ".tmp-step_99").mkdir()  # as the other may be writing right now
    before = content(run_dir)
    place, host = re.escape(str(run_dir)), re.escape(socket.gethostname())
    whom = rf"{place} is in use by process {holder.pid} on {host}: wait"
    for resume in ("auto", "auto", "never", run_dir):
        with pytest.raises(UsageError, match=whom) as refusal:
            fit(run_dir, fit={"resume": resume})
        assert refusal.value.exit_status == 2
    assert content(run_dir) == before

    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=30)
    fit(run_dir)
    fit(tmp_path / "straight")
    assert outcome(run_dir) == outcome(tmp_path / "straight")
    assert not list(run_dir.glob(".tmp-*"))


def test_the_same_process_is_held_to_it_too(tmp_path) -> None:
    """G8: a fit inside of a fit, as in a notebook; and the lock goes with the fit that held it."""

    def second(run) -> str:
        with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on ") as refusal:
            fit(run.run_dir)
        return str(refusal.value)

    watch = Watch("on_validation_end", second)
    fit(tmp_path, watch)
    assert len(watch.seen) == 3
    fit(tmp_path)


def test_the_second_command_ends_with_status_2_and_one_line(command, recipe) -> None:
    """G8: two real command lines; the second says whom it found, and the first goes on unharmed."""
    first = subprocess.Popen(
        command("--engine.max_epochs=10000"), stderr=subprocess.PIPE, text=True
    )
    try:
        for line in first.stderr:
            if " saved " in line:
                break
        second = recipe(*command("--engine.max_epochs=10000"))
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    errors = [line for line in second.stderr.splitlines() if line.startswith("error: ")]
    assert errors == second.stderr.splitlines()[-1:]
    assert (
        f"is in use by process {first.pid} on {socket.gethostname()}: wait for it, stop it, or "
        "choose" in errors[0]
    )
    third = recipe(*command("--engine.max_epochs=10000", "--engine.max_time=0.000001"))
    assert third.returncode == 0 and " resuming from " in third.stderr
