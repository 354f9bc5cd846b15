"""A run that SIGKILL ends at any point, and that is started again, ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recovery
from hypothesis import given, settings
from hypothesis import strategies as st
from json_process import script_environment
from run_server import RunServer, run_server

from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine import killpoints

SCRIPT = Path(__file__).with_name("runs.py")
KILLED = -signal.SIGKILL
STOPPED = 128 + signal.SIGTERM


class Runs:
    """Starts runs of ``runs.py``, each in its own process."""

    def __init__(self, folder: Path, server: RunServer) -> None:
        self.folder = folder
        self.server = server
        self.count = 0

    def new(self) -> Path:
        """A new run directory."""
        self.count += 1
        return self.folder / f"run{self.count}"

    def start(
        self,
        run_dir: Path,
        *,
        kill_at: str | None = None,
        stop_at: int | None = None,
        asynchronous: bool = False,
    ) -> int:
        """Train until the end, a kill point, or a SIGTERM in the validation after step ``stop_at``.

        Args:
            asynchronous: save beside training.

        Returns:
            The exit status.
        """
        self.server.ask(
            run_dir=run_dir, kill_at=kill_at, stop_at=stop_at, asynchronous=asynchronous
        )
        return self.server.number()

    def finish(self, run_dir: Path, *, asynchronous: bool = False) -> dict[str, Any]:
        """Train to the end, and return the :func:`outcome`."""
        status = self.start(run_dir, asynchronous=asynchronous)
        assert status == 0, run_dir.with_suffix(".log").read_text()
        return outcome(run_dir)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("runs")
    with run_server(SCRIPT, folder / "corpus") as server:
        yield Runs(folder, server)


@pytest.fixture(scope="module")
def straight(runs) -> Path:
    """The directory of a run without interruption."""
    run_dir = runs.new()
    runs.finish(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def expected(straight) -> dict[str, Any]:
    return outcome(straight)


@pytest.fixture(scope="module")
def passed(straight) -> dict[str, int]:
    """How often the straight run passed each kill point, by the point's name."""
    return json.loads(straight.with_suffix(".passed").read_text())


def outcome(run_dir: Path) -> dict[str, Any]:
    """Everything in a finished run that must not depend on how often it was killed."""
    before = open_checkpoint(Store(run_dir).generations()[-2])
    return recovery.outcome(run_dir) | {
        "links": {link: os.readlink(run_dir / link) for link in ("last_model", "best_model")},
        # The offset depends on the digits of the time fields.
        "one before": {**before.state.to_json(), "metrics_offset": None},
        "bad audio": (run_dir / "bad_audio.tsv").read_text(),
        "left over": [path.name for path in run_dir.rglob(".tmp-*")],
    }


def test_everything_is_on_in_the_swept_run(expected, passed):
    """G1: the run has what the sweep is about, and without interruption it passes every kill
    point."""
    last, best, before = expected["last"], expected["best"], expected["one before"]
    assert passed.keys() == set(killpoints.POINTS)
    assert last["files"].keys() == {"model.pdparams", "ema.pdparams", "optimizer.pdopt"}
    assert (last["step"], last["last_epoch"], last["eer_step"]) == (12, 4, 12)
    assert (best["step"], best["batch_in_epoch"]) == (4, 3)  # in the middle of an epoch
    assert (before["step"], before["batch_in_epoch"], before["eer_step"]) == (10, 3, 8)
    kinds = [line["kind"] for line in expected["log"]]
    assert (kinds.count("train"), kinds.count("validation")) == (5, 3)
    bad = [line.split("\t")[0] for line in expected["bad audio"].splitlines()]
    assert sorted(os.path.basename(path) for path in bad) == ["2-3.wav", "no-such.wav"]
    assert not expected["left over"]


@pytest.mark.parametrize("point", killpoints.POINTS)
def test_killed_at_any_point_and_resumed_equals_straight(runs, expected, passed, point):
    """G1, G4: weights, optimizer, averages, best record, state and metrics.jsonl after a kill, half
    way through the run, at every point."""
    number = (passed[point] + 1) // 2
    run_dir = runs.new()
    assert runs.start(run_dir, kill_at=f"{point}:{number}") == KILLED
    assert runs.finish(run_dir) == expected


@pytest.mark.parametrize(
    "point",
    [
        *("half_written", "after_rename"),
        *(
            pytest.param(point, marks=pytest.mark.slow)
            for point in killpoints.POINTS
            if point not in ("half_written", "after_rename")
        ),
    ],
)
def test_killed_while_it_saves_beside_training(runs, expected, passed, point):
    """G1, G6: asynchronous saving ends with the same bits, killed or not."""
    run_dir = runs.new()
    kill_at = f"{point}:{(passed[point] + 1) // 2}"
    assert runs.start(run_dir, kill_at=kill_at, asynchronous=True) == KILLED
    assert runs.finish(run_dir, asynchronous=True) == expected


@pytest.mark.slow
@pytest.mark.parametrize("point", killpoints.POINTS)
def test_killed_at_any_passing_of_a_point(runs, expected, passed, point):
    """G1, G4: the same for every passing of every point, the first and the last included."""
    for number in range(1, passed[point] + 1):
        run_dir = runs.new()
        assert runs.start(run_dir, kill_at=f"{point}:{number}") == KILLED
        assert runs.finish(run_dir) == expected, f"{point}:{number}"


def check_several_kills(runs, expected, passed, data):
    """Kill a run several times, the later kills counted from the resume, and compare its end."""
    kills = st.sampled_from(killpoints.POINTS).flatmap(
        lambda point: st.integers(1, max(1, passed[point] // 2)).map(
            lambda number: f"{point}:{number}"
        )
    )
    run_dir = runs.new()
    for kill in data.draw(st.lists(kills, min_size=2, max_size=5)):
        # 0: the rest of the run passed the point less often.
        assert runs.start(run_dir, kill_at=kill) in (KILLED, 0)
    assert runs.finish(run_dir) == expected


@settings(max_examples=3, deadline=None)
@given(st.data())
def test_killed_several_times(runs, expected, passed, data):
    """G1, G4: any sequence of kills."""
    check_several_kills(runs, expected, passed, data)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_killed_several_times_in_many_ways(runs, expected, passed, data):
    """G1, G4: the same for more sequences."""
    check_several_kills(runs, expected, passed, data)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_killed_while_a_resume_puts_the_links_right(runs, expected, number):
    """G1: killed between a generation and its links, then before and after a link that the resume
    sets."""
    run_dir = runs.new()
    assert runs.start(run_dir, kill_at=f"after_rename:{number}") == KILLED
    for point in ("before_link", "after_link"):
        assert runs.start(run_dir, kill_at=f"{point}:1") == KILLED
    assert runs.finish(run_dir) == expected


@pytest.mark.parametrize(
    "kill", ["validation:1", "before_rename:1", "before_rename:2", "after_rename:2"]
)
def test_killed_while_a_pending_validation_is_made_up_for(runs, expected, kill):
    """G1: stopped in a validation, then killed in the validation that the resume starts with, or
    while its result is written."""
    run_dir = runs.new()
    assert runs.start(run_dir, stop_at=4) == STOPPED
    assert open_checkpoint(run_dir / "last_model").state.validation_pending
    assert runs.start(run_dir, kill_at=kill) == KILLED
    assert runs.finish(run_dir) == expected


@pytest.mark.parametrize("kill", ["fetch:4", "advance:10"])
def test_metrics_beyond_the_commit_are_cut_off(runs, expected, kill):
    """G4: the file holds what a killed run logged after its last commit; the resume writes these
    lines again."""
    run_dir = runs.new()
    assert runs.start(run_dir, kill_at=kill) == KILLED
    committed = open_checkpoint(run_dir / "last_model").state.metrics_offset
    killed = (run_dir / "metrics.jsonl").read_bytes()
    assert len(killed) > committed
    assert runs.finish(run_dir) == expected
    resumed = (run_dir / "metrics.jsonl").read_bytes()
    assert resumed[:committed] == killed[:committed]
    positions = [(line["step"], line["kind"]) for line in map(json.loads, resumed.splitlines())]
    assert positions == sorted(set(positions))


def test_a_new_process_computes_what_a_forked_one_does(runs, expected):
    """G1: killed and resumed without the fork server: the result does not depend on it."""
    run_dir = runs.new()
    arguments = [sys.executable, str(SCRIPT), str(runs.folder / "corpus"), str(run_dir)]

    def status(**environment: str) -> int:
        variables = script_environment(**environment)
        return subprocess.run(arguments, env=variables, stderr=subprocess.DEVNULL).returncode

    assert status(**{killpoints.VARIABLE: "update:6"}) == KILLED
    assert status() == 0
    assert outcome(run_dir) == expected
