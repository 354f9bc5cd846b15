"""G2: a torn, changed or half-copied checkpoint is never loaded. The newest whole generation is
loaded, and the log says which were skipped."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from probes import Scored, StopAfter
from recovery import DAMAGES, content, fit, outcome
from toy import ToyData

from vprtrain.callbacks import Checkpoint
from vprtrain.checkpoint.links import resolve_checkpoint
from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint, open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine import Callback, Run
from vprtrain.errors import CheckpointError

FILES = ("model.pdparams", "ema.pdparams", "optimizer.pdopt", "config.yaml", STATE_FILE)
GENERATIONS = ("epoch_1", "step_8", "step_9", "step_11")


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, Any]:
    """The outcome of a run without any fault."""
    run_dir = tmp_path_factory.mktemp("straight")
    assert fit(run_dir).result.step == 12
    return outcome(run_dir)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """The directory of a run stopped after step 11, with several generations."""
    run_dir = tmp_path_factory.mktemp("stopped")
    fit(run_dir, StopAfter(11))
    assert [path.name for path in Store(run_dir).generations()] == list(GENERATIONS)
    assert sorted(path.name for path in (run_dir / "step_11").iterdir()) == sorted(FILES)
    return run_dir


@pytest.fixture
def run_dir(stopped, tmp_path) -> Path:
    """A copy of that run, for the test to damage."""
    return Path(shutil.copytree(stopped, tmp_path / "run", symlinks=True))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_costs_one_generation(run_dir, straight, caplog, file, damage) -> None:
    """G2: for each file of the newest checkpoint and each kind of damage."""
    DAMAGES[damage](run_dir / "step_11" / file)
    caplog.set_level(logging.INFO)
    assert fit(run_dir).result.step == 12
    skipped = [
        message
        for message in caplog.messages
        if message.startswith("skipped a damaged checkpoint: ")
    ]
    assert len(skipped) == 1 and str(run_dir / "step_11" / file) in skipped[0]
    assert any(
        message.startswith(f"resuming from {run_dir / 'step_9'} at step 9 of 12")
        for message in caplog.messages
    )
    assert outcome(run_dir) == straight
    assert (run_dir / "step_11.aside1").is_dir()  # kept for inspection


DAMAGED = st.none() | st.tuples(st.sampled_from(FILES), st.sampled_from(sorted(DAMAGES)))


@given(st.fixed_dictionaries(dict.fromkeys(GENERATIONS, DAMAGED)))
@example(dict.fromkeys(GENERATIONS, ("model.pdparams", "emptied")))
@example(dict.fromkeys(GENERATIONS, (STATE_FILE, "removed")))
@settings(max_examples=25, deadline=None)
def test_the_newest_whole_generation_is_taken_or_none(
    stopped, straight, tmp_path_factory, damaged
) -> None:
    """G2: for any set of damaged generations. If none is whole, no run starts and no file
    changes."""
    run_dir = Path(
        shutil.copytree(stopped, tmp_path_factory.mktemp("damaged") / "run", symlinks=True)
    )
    for name, damage in damaged.items():
        if damage is not None:
            DAMAGES[damage[1]](run_dir / name / damage[0])
    before = content(run_dir)
    whole = [name for name in damaged if damaged[name] is None]
    if whole:
        assert fit(run_dir).result.step == 12
        assert {**outcome(run_dir), "best": None} == {**straight, "best": None}
    else:
        with pytest.raises(
            CheckpointError, match=r"^no checkpoint of .* is intact \(.*\): restore one, or"
        ) as refusal:
            fit(run_dir)
        assert all(str(run_dir / name) in str(refusal.value) for name in damaged)
        assert content(run_dir) == before


@pytest.mark.parametrize("loss", ["folders removed", "folders replaced by files", "states removed"])
def test_a_run_whose_checkpoints_are_lost_does_not_start_from_scratch(run_dir, loss) -> None:
    """G2: last_model alone shows that there was a run."""
    for folder in Store(run_dir).generations():
        if loss == "states removed":
            (folder / STATE_FILE).unlink()
            continue
        shutil.rmtree(folder)
        if loss == "folders replaced by files":
            folder.write_bytes(b"")
    before = content(run_dir)
    with pytest.raises(CheckpointError, match=f"no checkpoint of {run_dir} is intact .*step_11"):
        fit(run_dir)
    assert content(run_dir) == before


@pytest.mark.parametrize("later", [3.0, 0.5], ids=["no better one follows", "a better one follows"])
def test_a_damaged_best_checkpoint_never_gets_its_link_back(tmp_path, caplog, later) -> None:
    """G2: the run keeps its record; best_model is absent until a validation beats it."""
    straight = fit(tmp_path / "straight", module=lambda: Scored(5.0, 1.0, later))
    run_dir = tmp_path / "run"
    fit(run_dir, StopAfter(9), module=lambda: Scored(5.0, 1.0))
    assert (
        os.readlink(run_dir / "best_model") == "step_8"
        and os.readlink(run_dir / "last_model") == "step_9"
    )
    DAMAGES["a bit flipped in the second half"](run_dir / "best_model" / "ema.pdparams")
    with pytest.raises(CheckpointError, match=r"step_8/ema\.pdparams is not what was saved"):
        straight.engine.validate(straight.module, ToyData(), run_dir)
    fit(run_dir, module=lambda: Scored(later))
    assert any(
        "best checkpoint so far, of step 8, is missing or damaged" in message
        for message in caplog.messages
    )
    expected = outcome(tmp_path / "straight")
    assert outcome(run_dir) == ({**expected, "best": None} if later > 1.0 else expected)
    assert resolve_checkpoint(run_dir, prefer="best_model").state.step == 12


COPY = """
import json, shutil, sys, time
from contextlib import suppress
from pathlib import Path
source, target = map(Path, sys.argv[1:])
for line in sys.stdin:
    name, copy, links, pause = json.loads(line)
    def slowly(*names):  # so that the run commits in the middle of the copy
        time.sleep(pause)
        shutil.copyfile(*names)
    with suppress(OSError):  # files that were pruned meanwhile are left out of the copy
        shutil.copytree(source / name, target / copy, links, copy_function=slowly)
    print("copied", flush=True)
"""


class CopyUntil(Callback):
    """Has a process make copies of the run while it goes on, and stops the run when ``enough`` of
    them are whole and ``enough`` are torn.

    The pause between two files of a copy is adapted: longer after a whole copy, else shorter. So
    both kinds come about however fast the machine commits and copies.
    """

    def __init__(self, copier: subprocess.Popen, copies: Path, enough: int) -> None:
        self.copier, self.copies, self.enough = copier, copies, enough
        self.whole: list[SavedCheckpoint] = []
        self.torn = 0
        self._number, self._pause = 0, 0.004
        self._deadline = time.monotonic() + 120
        os.set_blocking(copier.stdout.fileno(), False)

    def on_train_batch_end(self, run: Run) -> None:
        if run.progress.step == 2:
            self._ask()
        elif run.progress.step > 2 and self.copier.stdout.read():
            self._judge(self.copies / str(self._number))
            if min(len(self.whole), self.torn) >= self.enough or time.monotonic() > self._deadline:
                run.request_stop("enough")
            else:
                self._ask()

    def _ask(self) -> None:
        self._number += 1
        what = ("last_model", "best_model", ".")[self._number % 3]
        request = (what, str(self._number), what == ".", self._pause)
        self.copier.stdin.write(json.dumps(request).encode() + b"\n")

    def _judge(self, copy: Path) -> None:
        whole = len(self.whole)
        for folder in [copy, *Store(copy).generations(), copy / "last_model", copy / "best_model"]:
            if (folder / STATE_FILE).exists():
                try:
                    self.whole.append(open_checkpoint(folder))
                except CheckpointError:
                    self.torn += 1
        self._pause *= 2 if len(self.whole) > whole else 0.5


def test_a_copy_made_while_the_run_commits_opens_whole_or_not_at_all(tmp_path) -> None:
    """G2: another process copies the links' folders and the whole run, again and again."""
    run_dir, copies = tmp_path / "run", tmp_path / "copies"
    copies.mkdir()
    digests: dict[int, dict[str, str]] = {}

    class Note(Checkpoint):
        def on_commit(self, run, snapshot) -> None:
            super().on_commit(run, snapshot)
            saved = open_checkpoint(run_dir / "last_model")
            digests[saved.state.step] = saved.state.files

    command = [sys.executable, "-S", "-c", COPY, run_dir, copies]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as copier:
        copying = CopyUntil(copier, copies, enough=6)
        run = fit(
            run_dir,
            Note(keep=1),
            copying,
            commit_every="1 steps",
            validate_every="2 steps",
            max_epochs=100_000,
        )
        copier.stdin.close()
    assert run.result.stopped_by == "enough"
    assert min(len(copying.whole), copying.torn) >= 6
    for saved in copying.whole:
        assert saved.state.files == digests[saved.state.step]
        assert saved.arrays("model.pdparams").keys() == run.weights.keys()


def test_the_command_skips_what_is_damaged_and_stops_where_nothing_is_whole(
    command, recipe_here, straight_outcome, cli_killed
) -> None:
    """G2: as a user sees it. If no generation is whole: exit status 1, one line, no file
    changed."""
    run_dir = cli_killed
    newest = open_checkpoint(run_dir / "last_model").folder
    DAMAGES["cut in the middle"](newest / "optimizer.pdopt")
    resumed = recipe_here(*command())
    assert resumed.returncode == 0, resumed.stderr
    assert (
        f"skipped a damaged checkpoint: {newest / 'optimizer.pdopt'} is not what was saved"
        in resumed.stderr
    )
    assert outcome(run_dir) == straight_outcome

    for folder in Store(run_dir).generations():
        DAMAGES["a bit flipped in the first half"](folder / "model.pdparams")
    before = content(run_dir)
    refused = recipe_here(*command())
    assert refused.returncode == 1
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert (
        errors == refused.stderr.splitlines()[-1:]
        and f"no checkpoint of {run_dir} is intact" in errors[0]
    )
    assert content(run_dir) == before
