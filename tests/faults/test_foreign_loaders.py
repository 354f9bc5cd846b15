"""Runs whose data comes from processes of the user's own: killed, stopped, resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recovery
from processes import wait_until
from run_server import RunServer, run_server

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import killpoints

SCRIPT = Path(__file__).with_name("foreign_runs.py")
KILLED = -signal.SIGKILL
LOADERS = ("process", "pool", "dataloader")


class Runs:
    """Starts runs of ``foreign_runs.py``, each in its own process."""

    def __init__(self, folder: Path, server: RunServer) -> None:
        self.folder = folder
        self.server = server

    def begin(
        self,
        run_dir: Path,
        loader: str,
        *,
        kill_at: str | None = None,
        slow: bool = False,
        freeze: bool = False,
    ) -> int:
        """Start a run, and return its process number."""
        self.server.ask(run_dir=run_dir, loader=loader, kill_at=kill_at, slow=slow, freeze=freeze)
        return self.server.number()

    def status(self) -> int:
        """Wait for the run's end, and return its exit status."""
        return self.server.number()

    def finish(self, run_dir: Path, loader: str, **options: Any) -> dict[str, Any]:
        """Train to the end, and return the outcome."""
        self.begin(run_dir, loader, **options)
        assert self.status() == 0, run_dir.with_suffix(".log").read_text()
        return recovery.outcome(run_dir)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("runs")
    with run_server(SCRIPT) as server:
        yield Runs(folder, server)


@pytest.fixture(scope="module")
def expected(runs) -> dict[str, Any]:
    return runs.finish(runs.folder / "straight", "process")


@pytest.mark.parametrize("loader", LOADERS)
def test_all_loaders_give_the_same_run(runs, expected, loader) -> None:
    """G1: and it ends, although each epoch ends processes of its own."""
    assert runs.finish(runs.folder / f"whole-{loader}", loader) == expected


def check_kill(runs, expected, loader: str, kill_at: str) -> None:
    run_dir = runs.folder / f"{loader}-{kill_at}".replace(":", "-")
    runs.begin(run_dir, loader, kill_at=kill_at)
    assert runs.status() in (KILLED, 0)
    # At once: the loader's processes may still be there, but they do not hold the lock.
    assert runs.finish(run_dir, loader) == expected


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("kill_at", ["fetch:4", "update:7", "after_rename:3"])
def test_killed_and_resumed_equals_straight(runs, expected, loader, kill_at) -> None:
    """G1: a branch that some steps use, draws of Python and NumPy, foreign loaders."""
    check_kill(runs, expected, loader, kill_at)


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("point", killpoints.POINTS)
def test_killed_at_any_point_and_resumed_equals_straight(runs, expected, loader, point) -> None:
    """G1: the same for the first passings of every point."""
    for number in (1, 2, 5):
        check_kill(runs, expected, loader, f"{point}:{number}")


@pytest.fixture(scope="module")
def thawed(runs, expected) -> dict[str, Any]:
    """The outcome of a run whose first layers are frozen for 6 of its 12 steps."""
    outcome = runs.finish(runs.folder / "thawed", "process", freeze=True)
    assert outcome["last"]["files"] != expected["last"]["files"]
    return outcome


@pytest.mark.parametrize(
    "kill_ats",
    [
        ("update:4",),  # frozen
        ("advance:6",),  # the last step before the change, not committed
        ("update:7",),  # the first step after it
        ("after_rename:4", "fetch:2"),  # in both phases
    ],
)
def test_freezing_and_thawing_survive_a_kill(runs, thawed, kill_ats) -> None:
    """G1: what is frozen is a function of the position."""
    run_dir = runs.folder / f"frozen-{kill_ats[0]}".replace(":", "-")
    for kill_at in kill_ats:
        runs.begin(run_dir, "process", kill_at=kill_at, freeze=True)
        assert runs.status() == KILLED
    assert runs.finish(run_dir, "process", freeze=True) == thawed


@pytest.mark.parametrize("loader", LOADERS)
def test_a_sigterm_while_a_loader_feeds_the_run_commits_once(runs, expected, loader) -> None:
    """G5: status 143 and one commit, no hang, also while the run waits for data."""
    run_dir = runs.folder / f"stopped-{loader}"
    process = runs.begin(run_dir, loader, slow=True)
    log = run_dir.with_suffix(".log")
    wait_until(lambda: log.exists() and "step 1/12" in log.read_text())
    os.kill(process, signal.SIGTERM)
    assert runs.status() == 128 + signal.SIGTERM
    text = log.read_text()
    assert text.count("SIGTERM: stopping after the current step") == 1
    generations = [path for path in run_dir.glob("step_*") if path.is_dir()]
    assert len(generations) == 1
    assert 1 <= open_checkpoint(run_dir / "last_model").state.step <= 3
    assert runs.finish(run_dir, loader) == expected
