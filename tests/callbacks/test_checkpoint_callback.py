"""The Checkpoint callback: last_model, best_model, the best record, and the generations kept."""

import errno
import logging
import os
import shutil
import threading
from concurrent.futures import Future

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probes import Scored, StopAfter, Watch, assert_equal_arrays, last, train
from toy import ToyData, ToyModule

from vprtrain import files
from vprtrain.callbacks import Checkpoint, GracefulStop, ResumeStep
from vprtrain.callbacks import checkpoint as checkpoint_module
from vprtrain.checkpoint.file_names import MODEL_FILE
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.checkpoint.store import Store
from vprtrain.engine import Adam, AdamW, Engine, Momentum
from vprtrain.errors import RunError, UsageError

SHORT = ToyData(batches=2)


def fit(run_dir, *errors, checkpoint=None, **options):
    """An epoch has two steps and ends with a validation that gives the next of these errors."""
    return train(
        checkpoint or Checkpoint(),
        *options.pop("callbacks", ()),
        module=lambda: Scored(*errors),
        data=SHORT,
        run_dir=run_dir,
        **{"max_epochs": len(errors)} | options,
    )


def best(run_dir):
    return open_checkpoint(run_dir / "best_model")


def folders(run_dir):
    return sorted(
        path.name for path in run_dir.iterdir() if path.is_dir() and not path.is_symlink()
    )


def test_best_is_the_lowest_and_last_the_newest(tmp_path):
    run = fit(tmp_path, 0.5, 0.3, 0.4)
    assert (last(tmp_path).folder.name, best(tmp_path).folder.name) == ("epoch_3", "epoch_2")
    assert (best(tmp_path).state.metrics["error"], best(tmp_path).state.metrics_step) == (0.3, 4)
    assert last(tmp_path).state.best == ("error", 0.3, 4)
    assert_equal_arrays(last(tmp_path).arrays(MODEL_FILE), run.weights)


def test_an_equal_value_is_no_improvement(tmp_path):
    fit(tmp_path, 0.3, 0.3)
    assert best(tmp_path).folder.name == "epoch_1"


def test_the_monitored_metric_may_be_another(tmp_path):
    fit(tmp_path, 0.5, 0.3, checkpoint=Checkpoint(monitor="bias"))
    assert best(tmp_path).folder.name == "epoch_1"  # the bias stays 0
    found = last(tmp_path).state.best
    assert (found.metric, found.value) == ("bias", 0.0)


def test_the_record_outlives_the_process(tmp_path):
    fit(tmp_path, 0.5, 0.2, 0.9, 0.9, callbacks=[StopAfter(5)], max_epochs=4)
    assert last(tmp_path).folder.name == "step_5"
    fit(tmp_path, 0.3, 0.25, max_epochs=4)  # the best since the resume, but not of the run
    assert (last(tmp_path).folder.name, best(tmp_path).folder.name) == ("epoch_4", "epoch_2")
    assert last(tmp_path).state.best == ("error", 0.2, 4)
    assert best(tmp_path).state.metrics["error"] == 0.2


def test_a_later_improvement_moves_the_record(tmp_path):
    fit(tmp_path, 0.5, 0.2, 0.9, 0.9, callbacks=[StopAfter(5)], max_epochs=4)
    fit(tmp_path, 0.1, 0.25, max_epochs=4)
    assert best(tmp_path).folder.name == "epoch_3"


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    errors=st.lists(st.integers(1, 9), min_size=1, max_size=7),
    keep=st.integers(1, 3),
    every=st.sampled_from([1, 3]),
)
def test_what_a_link_stands_on_is_never_removed(tmp_path_factory, errors, keep, every):
    run_dir = tmp_path_factory.mktemp("run")
    fit(
        run_dir,
        *map(float, errors),
        checkpoint=Checkpoint(keep=keep),
        commit_every=f"{every} steps",
    )
    first_lowest = errors.index(min(errors)) + 1
    assert best(run_dir).state.metrics_step == 2 * first_lowest
    assert last(run_dir).state.last_epoch == len(errors)
    there = set(folders(run_dir))
    assert {best(run_dir).folder.name, last(run_dir).folder.name} <= there
    assert len(there - {best(run_dir).folder.name}) <= keep
    assert len(there) >= min(keep, len(errors))


def test_keep_holds_the_newest_beside_the_best(tmp_path):
    fit(tmp_path, 0.1, 0.5, 0.5, 0.5, 0.5, checkpoint=Checkpoint(keep=2))
    assert folders(tmp_path) == ["epoch_1", "epoch_4", "epoch_5"]


def test_saves_where_a_validation_ends_even_if_never_asked_to(tmp_path):
    fit(tmp_path, 0.4, 0.5, commit_every="never", validate_every="1 steps", max_epochs=1)
    assert (best(tmp_path).folder.name, last(tmp_path).folder.name) == ("step_1", "epoch_1")


def test_without_validation_there_is_no_best(tmp_path):
    class Unmeasured(ToyModule):
        metric_names = ()

    train(module=Unmeasured, run_dir=tmp_path)
    assert last(tmp_path).folder.name == "epoch_2"
    assert not (tmp_path / "best_model").exists()


def test_another_monitor_is_refused_or_begins_a_new_record(tmp_path):
    fit(tmp_path, 0.5, 0.2, callbacks=[StopAfter(5)], max_epochs=3)
    with pytest.raises(UsageError, match=r"Checkpoint\.monitor was None, is 'bias'"):
        fit(tmp_path, 0.9, checkpoint=Checkpoint(monitor="bias"), max_epochs=3)
    fit(
        tmp_path,
        0.9,
        checkpoint=Checkpoint(monitor="bias"),
        max_epochs=3,
        fit={"accept_changes": True},
    )
    assert best(tmp_path).folder.name == "epoch_3"
    assert last(tmp_path).state.best == ("bias", 0.0, 6)


def test_one_object_may_serve_two_runs(tmp_path):
    checkpoint = Checkpoint()
    fit(tmp_path / "one", 0.1, checkpoint=checkpoint)
    fit(tmp_path / "two", 0.9, 0.5, checkpoint=checkpoint)
    assert best(tmp_path / "two").folder.name == "epoch_2"


def test_validating_alone_leaves_the_record(tmp_path):
    checkpoint = Checkpoint()
    engine = Engine(callbacks=[ResumeStep(), checkpoint], run_dir=tmp_path, max_epochs=1)
    module = Scored(0.5, 0.1)
    engine.fit(module, SHORT)
    assert engine.validate(module, SHORT)["error"] == 0.1
    assert best(tmp_path).state.best.value == 0.5


@pytest.mark.parametrize(("tick", "warnings"), [(16, 3), (15, 0)])
def test_saves_too_slow_for_the_launcher_are_said_from_the_start(tmp_path, caplog, tick, warnings):
    """G5: the rehearsal and two commits may each take half of the launcher's 30 s."""
    seconds = iter(range(0, 1_000_000, tick))
    with caplog.at_level(logging.INFO):
        train(run_dir=tmp_path, clock=lambda: float(next(seconds)))
    assert f"saving a checkpoint takes {tick}.00 s" in caplog.text
    assert f"saved epoch_1 in {tick}.00 s" in caplog.text
    said = f"saving took {tick} s: Paddle's launcher kills a process 30 s after"
    assert caplog.text.count(said) == warnings


def rehearsed_bytes(caplog, run_dir, **options):
    """The bytes that a rehearsal in the directory writes or reserves. No step is taken."""
    written = []
    rehearse = Store.rehearse

    def watched(store, snapshot, *, reserve):
        size = rehearse(store, snapshot, reserve=reserve)
        written.append(size + reserve)
        return size

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(Store, "rehearse", watched)
        stop = GracefulStop()
        stop.stop_train = True
        train(stop, run_dir=run_dir, **options)
    assert f"({written[0] / 1e6:.1f} MB" in caplog.text
    return written[0]


@pytest.mark.parametrize("most", [2**26, 1000], ids=["whole", "a sample"])
@pytest.mark.parametrize(
    "optimizer", [Adam(), AdamW(), Momentum(), Momentum(momentum=0.0)], ids=repr
)
def test_the_rehearsal_is_as_large_as_the_checkpoints_to_come(
    tmp_path, caplog, monkeypatch, optimizer, most
):
    """Although the optimizer has accumulated nothing yet and no validation has been done."""
    monkeypatch.setattr(checkpoint_module, "REHEARSED_BYTES", most)
    before = rehearsed_bytes(caplog, tmp_path, optimizer=optimizer)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    train(run_dir=tmp_path, optimizer=optimizer)
    saved = sum(path.stat().st_size for path in last(tmp_path).folder.iterdir())
    # model.state gets metrics, the best record and the step; names of arrays are not reserved
    small = 200 if most > 1000 else 4000
    after = rehearsed_bytes(caplog, tmp_path, optimizer=optimizer)
    assert (before, after) == (pytest.approx(saved, abs=small), pytest.approx(saved, abs=small))


def test_the_rehearsal_changes_no_bit_and_leaves_nothing(tmp_path):
    run = train(run_dir=tmp_path)
    # Without a directory there is no rehearsal.
    assert_equal_arrays(run.weights, train().weights)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock",
        "epoch_1",
        "epoch_2",
        "best_model",
        "last_model",
    }


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_a_disk_that_cannot_take_a_checkpoint_is_found_before_training(tmp_path, monkeypatch, call):
    """G3: no step is taken if it could not be saved."""

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    steps = Watch("on_train_batch_end", lambda run: run.progress.step)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RunError, match=r"step_0 could not be saved \(.*No space left.*make room"):
        train(steps, run_dir=tmp_path)
    assert steps.seen == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    monkeypatch.undo()
    assert train(steps, run_dir=tmp_path).result.step == 12


@pytest.mark.parametrize("point", ["half_written", "after_rename", "half_removed"])
def test_a_rehearsal_that_is_killed_is_cleared_away_at_the_next_start(tmp_path, monkeypatch, point):
    """A copy of the directory at that moment is what a killed process would leave."""

    def copy(at):
        if at == point and not (tmp_path / "killed").exists():
            shutil.copytree(tmp_path / "run", tmp_path / "killed", symlinks=True)

    monkeypatch.setattr(files, "watch", copy)
    train(run_dir=tmp_path / "run", max_epochs=1)
    killed = tmp_path / "killed"
    assert list(killed.glob(".tmp-*"))
    assert train(run_dir=killed, max_epochs=1).result.step == 6
    assert sorted(path.name for path in killed.iterdir()) == [
        ".lock",
        "best_model",
        "epoch_1",
        "last_model",
    ]


def test_a_run_without_a_directory_saves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(ResumeStep(), Checkpoint())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(UsageError, match="keep is 0"):
        Checkpoint(keep=0)
    with pytest.raises(UsageError, match="Checkpoint monitors 'eer'"):
        fit(tmp_path, 0.5, checkpoint=Checkpoint(monitor="eer"))


def fit_scored(run_dir, *errors, validated=0, **options):
    """Each epoch is a step, and ends with a validation that gives the next of these errors."""
    return train(
        Checkpoint(**options),
        run_dir=run_dir,
        module=lambda: Scored(*errors[validated:]),
        data=ToyData(batches=1),
        max_epochs=len(errors),
    )


def test_the_highest_value_may_be_the_best(tmp_path):
    fit_scored(tmp_path, 0.5, 0.9, 0.7, mode="max", keep=1)
    assert open_checkpoint(tmp_path / "best_model").state.best.value == 0.9
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == ["epoch_2", "epoch_3"]


@pytest.mark.parametrize(("mode", "kept"), [("min", [2, 5, 6]), ("max", [1, 3, 6])])
def test_several_of_the_best_are_kept(tmp_path, mode, kept):
    fit_scored(tmp_path, 0.9, 0.2, 0.8, 0.5, 0.1, 0.6, mode=mode, keep=1, keep_best=2)
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == [f"epoch_{n}" for n in kept]


def test_the_best_that_are_kept_survive_a_resume(tmp_path):
    errors = 0.2, 0.3, 0.9, 0.8, 0.25, 0.7
    options = {"keep": 1, "keep_best": 3}
    stopped = train(
        Checkpoint(**options),
        StopAfter(3),
        run_dir=tmp_path,
        module=lambda: Scored(*errors),
        data=ToyData(batches=1),
        max_epochs=len(errors),
    )
    assert stopped.result.step == 3
    fit_scored(tmp_path, *errors, validated=2, **options)
    kept = sorted(path.name for path in tmp_path.glob("epoch_*"))
    assert kept == ["epoch_1", "epoch_2", "epoch_5", "epoch_6"]


def generations(run_dir):
    """The files of every generation, by its name."""
    return {one.name: open_checkpoint(one).state.files for one in Store(run_dir).generations()}


def test_saving_beside_training_saves_the_same(tmp_path):
    errors = (0.5, 0.3, 0.4)
    fit(tmp_path / "waiting", *errors, commit_every="1 steps", log_every=1)
    fit(
        tmp_path / "beside",
        *errors,
        checkpoint=Checkpoint(asynchronous=True),
        commit_every="1 steps",
        log_every=1,
    )
    assert generations(tmp_path / "beside") == generations(tmp_path / "waiting")
    assert best(tmp_path / "beside").folder.name == "epoch_2"


def test_training_goes_on_while_a_checkpoint_is_saved(tmp_path, monkeypatch):
    """The first save waits for a later step; so it ends only if that step does not wait for it."""
    later_step = threading.Event()
    waited = []
    commit = Store.commit

    def slow_commit(store, snapshot, **options):
        waited.append(later_step.wait(60))
        return commit(store, snapshot, **options)

    monkeypatch.setattr(Store, "commit", slow_commit)
    steps = Watch("on_train_batch_end", lambda run: run.progress.step == 6 and later_step.set())
    train(
        Checkpoint(asynchronous=True),
        steps,
        run_dir=tmp_path,
        data=ToyData(batches=8),
        max_epochs=1,
        commit_every="4 steps",
        validate_every="never",
    )
    assert waited == [True, True]
    assert last(tmp_path).state.step == 8


@pytest.mark.parametrize("failing", [1, 2])
def test_a_save_beside_training_that_fails_ends_the_run(tmp_path, monkeypatch, failing):
    """At the next log point, or after the last step."""
    commits = []
    commit = Store.commit

    def failing_commit(store, snapshot, **options):
        commits.append(snapshot.name)
        if len(commits) == failing:
            raise RunError("the disk is full")
        return commit(store, snapshot, **options)

    monkeypatch.setattr(Store, "commit", failing_commit)
    with pytest.raises(RunError, match="the disk is full"):
        train(
            Checkpoint(asynchronous=True),
            run_dir=tmp_path,
            data=ToyData(batches=400),
            max_epochs=1,
            log_every=1,
            commit_every="200 steps",
            validate_every="never",
        )
    assert len(commits) == failing
    assert len(Store(tmp_path).generations()) == failing - 1


def test_the_end_of_fit_waits_for_a_save_that_an_interrupt_came_into(tmp_path, monkeypatch):
    """Ctrl-C while a commit waits for the save before it. The lock is released after the save."""
    interrupted, waited_again = threading.Event(), threading.Event()
    ended = []
    commit, result = Store.commit, Future.result

    def slow_commit(store, snapshot, **options):
        interrupted.wait(60)
        ended.append(waited_again.wait(10))
        return commit(store, snapshot, **options)

    def interrupted_result(saving, timeout=None):
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        waited_again.set()
        return result(saving, timeout)

    monkeypatch.setattr(Store, "commit", slow_commit)
    monkeypatch.setattr(Future, "result", interrupted_result)
    with pytest.raises(KeyboardInterrupt):
        train(
            Checkpoint(asynchronous=True),
            run_dir=tmp_path,
            data=ToyData(batches=8),
            max_epochs=1,
            commit_every="2 steps",
            validate_every="never",
        )
    assert ended == [True]
    assert last(tmp_path).state.step == 2
