"""G8: a run directory has one writer, and a killed writer leaves no lock."""

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
from json_process import script_environment
from probes import Watch
from recovery import content, fit, outcome
from toy import ToyData, ToyModule

from vprtrain.engine import Engine
from vprtrain.errors import UsageError

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def holder(tmp_path) -> Iterator[subprocess.Popen]:
    """Another process that trains in ``tmp_path / "run"`` and has committed one checkpoint."""
    command = [sys.executable, HOLDER, tmp_path / "run"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=script_environment(),
    ) as process:
        try:
            assert process.stdout.readline() == "committed\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(holder, tmp_path) -> None:
    """G8: the refused process changes nothing. After a SIGKILL the next one resumes, to the
    straight run's outcome."""
    run_dir = tmp_path / "run"
    (run_dir / ".tmp-step_99").mkdir()  # the other process may be writing it
    before = content(run_dir)
    host = re.escape(socket.gethostname())
    refused = rf"{re.escape(str(run_dir))} is in use by process {holder.pid} on {host}: wait"
    for resume in ("auto", "auto", "never", run_dir):
        with pytest.raises(UsageError, match=refused) as refusal:
            fit(run_dir, fit={"resume": resume})
        assert refusal.value.exit_status == 2
    assert content(run_dir) == before

    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=120)
    fit(run_dir)
    fit(tmp_path / "straight")
    assert outcome(run_dir) == outcome(tmp_path / "straight")
    assert not list(run_dir.glob(".tmp-*"))


def fit_without_callbacks(run_dir: Path) -> None:
    Engine(run_dir=run_dir, max_epochs=1).fit(ToyModule(), ToyData())


@pytest.mark.parametrize("fit_again", [fit, fit_without_callbacks])
def test_a_fit_within_a_fit_is_refused(tmp_path, fit_again) -> None:
    """G8: in one process, as in a notebook, and also for a run that saves nothing. The lock ends
    with the fit."""

    def second(run) -> str:
        with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on ") as refusal:
            fit_again(run.run_dir)
        return str(refusal.value)

    watch = Watch("on_validation_end", second)
    fit(tmp_path, watch)
    assert len(watch.seen) == 3
    fit(tmp_path)


def test_the_second_command_ends_with_status_2_and_one_line(command, recipe, recipe_here) -> None:
    """G8: two real command lines; the second names the first one, which goes on."""
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
    host = socket.gethostname()
    assert f"is in use by process {first.pid} on {host}: wait for it, stop it, or cho" in errors[0]
    third = recipe_here(*command("--engine.max_epochs=10000", "--engine.max_time=0.000001"))
    assert third.returncode == 0 and " resuming from " in third.stderr
