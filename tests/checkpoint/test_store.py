"""A run directory has one writer, complete generations, links that always point at one, and a way
back to each."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vprtrain import files
from vprtrain.checkpoint import state_file
from vprtrain.checkpoint.links import BEST, LAST, resolve_checkpoint
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint, encode_state
from vprtrain.checkpoint.store import Store
from vprtrain.errors import CheckpointError, RunError, UsageError


def snapshot(
    step: int,
    *,
    name: str | None = None,
    epoch: int = 0,
    pending: bool = False,
    eer: float | None = None,
) -> Snapshot:
    return Snapshot(
        name=name or f"step_{step}",
        state=CheckpointState(
            step=step, last_epoch=epoch, validation_pending=pending, metrics={"eer": eer}
        ),
        arrays={"model.pdparams": {"weight": np.full(3, step, "float32")}},
        texts={"config.yaml": "seed: 1\n"},
    )


def commit(
    store: Store, step: int, *, best: bool = False, keep: int = 9, **options
) -> SavedCheckpoint:
    return store.commit(snapshot(step, **options), best=best, keep=keep)


def names(store: Store) -> list[str]:
    return [folder.name for folder in store.generations()]


def target(store: Store, link: str) -> str | None:
    path = store.folder / link
    return os.readlink(path) if path.is_symlink() else None


MODEL = "model.pdparams"


def damage(store: Store, generation: str, file: str = MODEL) -> None:
    path = store.folder / generation / file
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "run").mkdir()
    return Store(tmp_path / "run")


# Committing.


def test_a_commit_is_complete_and_the_links_stand_on_it(store: Store) -> None:
    saved = commit(store, 5, best=True)
    assert saved.folder == store.folder / "step_5" and saved.state.step == 5
    assert sorted(path.name for path in saved.folder.iterdir()) == [
        "config.yaml",
        "model.pdparams",
        STATE_FILE,
    ]
    commit(store, 10)
    assert (target(store, LAST), target(store, BEST)) == ("step_10", "step_5")
    assert sorted(path.name for path in store.folder.iterdir()) == [BEST, LAST, "step_10", "step_5"]


def test_generations_are_in_the_order_of_the_run_not_of_their_names(store: Store) -> None:
    for step, name, epoch in [
        (90, "step_90", 0),
        (100, "epoch_1", 1),
        (110, "step_110", 1),
        (1000, "epoch_10", 10),
    ]:
        commit(store, step, name=name, epoch=epoch)
    assert names(store) == ["step_90", "epoch_1", "step_110", "epoch_10"]


def test_only_the_folders_of_generations_count(store: Store) -> None:
    commit(store, 5)
    for name in ("step_x", "epoch_", "my_step_3", "step_3.aside1", ".tmp-step_9", "epoch_3_backup"):
        shutil.copytree(store.folder / "step_5", store.folder / name)
    (store.folder / "step_7").write_text("a file")
    assert names(store) == ["step_5"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_old_generations_are_pruned_but_not_what_a_link_stands_on(store: Store, keep: int) -> None:
    for step in range(1, 7):
        commit(store, step, best=step == 2, keep=keep)
    assert names(store) == ["step_2", *(f"step_{step}" for step in range(7 - keep, 7))]
    commit(store, 7, best=True, keep=keep)
    assert names(store) == [f"step_{step}" for step in range(8 - keep, 8)]


def test_the_same_step_once_more_replaces_only_its_state(store: Store) -> None:
    commit(store, 5, pending=True)
    weights = (store.folder / "step_5" / "model.pdparams").stat()
    saved = commit(store, 5, best=True, eer=0.1)
    assert names(store) == ["step_5"] and (target(store, LAST), target(store, BEST)) == (
        "step_5",
        "step_5",
    )
    assert saved.state.metrics["eer"] == 0.1 and not saved.state.validation_pending
    after = (store.folder / "step_5" / "model.pdparams").stat()
    assert (after.st_ino, after.st_mtime_ns) == (weights.st_ino, weights.st_mtime_ns)


def test_the_same_step_with_other_weights_is_a_generation_of_its_own(store: Store) -> None:
    commit(store, 5)
    for number in range(1, 12):
        other = snapshot(5)
        other.arrays["model.pdparams"]["weight"] += number
        saved = store.commit(other, best=False, keep=99)
        assert saved.folder.name == target(store, LAST) == names(store)[-1] == f"step_5.{number}"
        newest = store.newest()
        assert newest is not None and newest.folder == saved.folder
    assert np.array_equal(
        resolve_checkpoint(store.folder / "step_5", prefer=LAST).arrays("model.pdparams")["weight"],
        [5] * 3,
    )


def test_a_rehearsal_writes_what_a_commit_does_and_leaves_nothing(store: Store) -> None:
    size = store.rehearse(snapshot(5))
    assert list(store.folder.iterdir()) == []
    assert size == sum(path.stat().st_size for path in commit(store, 5).folder.iterdir())


def test_a_rehearsal_finds_that_there_is_no_room_for_the_rest(store: Store) -> None:
    commit(store, 5)
    with pytest.raises(RunError, match=r"step_10 could not be saved .*intact: make room"):
        store.rehearse(snapshot(10), reserve=2**60)
    assert sorted(path.name for path in store.folder.iterdir()) == [LAST, "step_5"]


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_a_failed_rehearsal_is_loud_and_harms_nothing(
    store: Store, monkeypatch, call: str, code: int
) -> None:
    commit(store, 5, best=True)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(
        RunError, match=rf"step_10 could not be saved \(.*{os.strerror(code)}.*\); .*intact"
    ):
        store.rehearse(snapshot(10))
    monkeypatch.undo()
    assert sorted(path.name for path in store.folder.iterdir()) == [BEST, LAST, "step_5"]


@pytest.mark.parametrize("call", ["fsync", "rename", "symlink", "replace", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_a_failed_commit_is_loud_and_harms_nothing(
    store: Store, monkeypatch, call: str, code: int
) -> None:
    commit(store, 5, best=True)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(
        RunError, match=rf"step_10 could not be saved \(.*{os.strerror(code)}.*\); .*intact"
    ) as failure:
        commit(store, 10, best=True)
    monkeypatch.undo()
    assert "\n" not in str(failure.value)
    for link in (LAST, BEST):
        assert resolve_checkpoint(store.folder / link, prefer=LAST).state.step == 5
    assert not list(store.folder.glob(".tmp*"))
    assert commit(store, 10).state.step == 10  # the retry
    assert target(store, LAST) == "step_10"


def test_what_the_disk_did_not_keep_is_not_linked(store: Store, monkeypatch) -> None:
    commit(store, 5)
    real = os.fsync

    def lose_a_byte(descriptor: int) -> None:
        real(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.truncate(descriptor, os.fstat(descriptor).st_size - 1)

    monkeypatch.setattr(os, "fsync", lose_a_byte)
    with pytest.raises(RunError, match=r"step_10 could not be saved .*model\.state"):
        commit(store, 10)
    assert target(store, LAST) == "step_5"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_with_what_to_look_for(
    store: Store, value: float
) -> None:
    commit(store, 5)
    with pytest.raises(RunError, match="not finite"):
        commit(store, 10, eer=value)
    assert names(store) == [target(store, LAST)] == ["step_5"]


def test_links_always_lead_to_a_whole_checkpoint_while_commits_go_on(store: Store) -> None:
    commit(store, 0, best=True, keep=2)
    seen, misses, done = set(), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            for link in (LAST, BEST):
                try:
                    seen.add(resolve_checkpoint(store.folder / link, prefer=LAST).state.step)
                except (UsageError, CheckpointError) as error:
                    misses.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    deadline, step = time.monotonic() + 120, 0
    while (step < 40 or len(seen) <= 3) and time.monotonic() < deadline:
        step += 1
        commit(store, step, best=step % 5 == 0, keep=3)
    done.set()
    reader.join(timeout=120)
    assert len(seen) > 3 and misses == []


# Finding the newest.


def test_an_empty_directory_has_no_newest(store: Store) -> None:
    assert store.newest() is None
    assert Store(store.folder / "not" / "there").newest() is None


@pytest.mark.parametrize("file", ["model.pdparams", "config.yaml", STATE_FILE])
def test_the_newest_whole_generation_is_taken_and_the_log_names_the_others(
    store: Store, caplog, file: str
) -> None:
    for step in (5, 10, 15, 20):
        commit(store, step)
    damage(store, "step_20", file)
    (store.folder / "step_15" / file).unlink()
    damage(store, "step_5")  # older than the one that is used: not opened
    with caplog.at_level(logging.WARNING):
        saved = store.newest()
    assert saved is not None and saved.folder.name == "step_10"
    messages = "\n".join(caplog.messages)
    assert len(caplog.messages) == 2 and messages.count("skipped a damaged checkpoint") == 2
    assert (
        str(store.folder / "step_20" / file) in messages
        and str(store.folder / "step_15" / file) in messages
    )
    assert "No such file" in messages


def test_a_directory_where_nothing_is_whole_is_an_error_that_says_why(store: Store) -> None:
    for step in (5, 10):
        commit(store, step)
        damage(store, f"step_{step}", STATE_FILE if step == 5 else "config.yaml")
    with pytest.raises(
        CheckpointError, match=r"^no checkpoint of .* is intact \(.*restore one"
    ) as refusal:
        store.newest()
    message = str(refusal.value)
    assert "\n" not in message and all(f"step_{step}/" in message for step in (5, 10))


def test_a_new_run_is_refused_where_there_is_one(store: Store) -> None:
    store.refuse_new_run()
    commit(store, 5)
    damage(store, "step_5", STATE_FILE)
    with pytest.raises(
        UsageError, match=r"holds an earlier run's checkpoints: continue it with --resume auto"
    ):
        store.refuse_new_run()


# Rewinding.


def test_a_kill_between_the_folder_and_its_links_is_put_right(store: Store, monkeypatch) -> None:
    commit(store, 5, best=True)

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    monkeypatch.setattr(files, "point_link", kill)
    with pytest.raises(Killed):
        commit(store, 10, best=True)
    monkeypatch.undo()
    assert (target(store, LAST), target(store, BEST)) == ("step_5", "step_5")
    saved = store.newest()
    assert saved is not None and saved.folder.name == "step_10"
    store.rewind(saved, best_step=10)
    assert (target(store, LAST), target(store, BEST)) == ("step_10", "step_10")
    assert names(store) == ["step_5", "step_10"]


def test_a_future_that_is_given_up_is_set_aside(store: Store, caplog) -> None:
    for step in (5, 10, 15, 20):
        commit(store, step, best=step in (5, 15))
    damage(store, "step_20", STATE_FILE)
    with caplog.at_level(logging.WARNING):
        store.rewind(resolve_checkpoint(store.folder / "step_10", prefer=LAST), best_step=5)
    assert (target(store, LAST), target(store, BEST)) == ("step_10", "step_5")
    assert names(store) == ["step_5", "step_10"]
    assert (store.folder / "step_15.aside1" / STATE_FILE).exists() and (
        store.folder / "step_20.aside1"
    ).is_dir()
    assert "kept as step_15.aside1" in "\n".join(caplog.messages)
    commit(store, 15)
    store.rewind(resolve_checkpoint(store.folder / "step_10", prefer=LAST), best_step=5)
    assert (store.folder / "step_15.aside2").is_dir()


def test_what_is_set_aside_can_be_opened_and_gone_back_to(store: Store) -> None:
    for step in (5, 10):
        commit(store, step)
    store.rewind(resolve_checkpoint(store.folder / "step_5", prefer=LAST), best_step=None)
    aside = resolve_checkpoint(store.folder / "step_10.aside1", prefer=LAST)
    store.rewind(aside, best_step=None)
    assert resolve_checkpoint(store.folder, prefer=LAST).state.step == 10
    assert names(store) == ["step_5"]


def test_before_any_best_there_is_no_link_to_one(store: Store) -> None:
    commit(store, 5)
    commit(store, 10, best=True)
    store.rewind(resolve_checkpoint(store.folder / "step_5", prefer=LAST), best_step=None)
    assert target(store, BEST) is None


@pytest.mark.parametrize("loss", ["removed", "damaged"])
def test_a_best_that_is_lost_is_said_so_and_never_linked(store: Store, caplog, loss: str) -> None:
    for step in (5, 10, 15):
        commit(store, step, best=step in (5, 15))
    if loss == "removed":
        shutil.rmtree(store.folder / "step_5")
    else:
        damage(store, "step_5")
    with caplog.at_level(logging.WARNING):
        store.rewind(resolve_checkpoint(store.folder / "step_10", prefer=LAST), best_step=5)
    # not a generation after the resumed one
    assert target(store, LAST) == "step_10" and target(store, BEST) is None
    assert "best checkpoint so far, of step 5, is missing or damaged" in "\n".join(caplog.messages)
    assert resolve_checkpoint(store.folder, prefer=BEST).state.step == 10


# One writer.

HOLD = """
import sys
from pathlib import Path
from vprtrain.checkpoint.store import Store
with Store(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(store: Store) -> None:
    command = [sys.executable, "-c", HOLD, store.folder]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
            (store.folder / ".tmp-step_9").mkdir()
            host = re.escape(socket.gethostname())
            whom = rf"is in use by process {holder.pid} on {host}: wait for it"
            for _ in range(2):  # a refused process does not change the holder's name
                with pytest.raises(UsageError, match=whom), store.locked():
                    pass
            assert (store.folder / ".tmp-step_9").exists()  # it belongs to the holder
        finally:
            holder.send_signal(signal.SIGKILL)
    with store.locked():
        assert not (store.folder / ".tmp-step_9").exists()
        assert (
            store.folder / ".lock"
        ).read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_the_lock_is_released_whatever_ends_the_run(store: Store) -> None:
    with pytest.raises(KeyError), store.locked():
        with (
            pytest.raises(UsageError, match=f"process {os.getpid()} "),
            Store(store.folder).locked(),
        ):
            pass
        raise KeyError
    with store.locked():
        pass


def test_the_directory_is_made_and_cleared_of_leftovers(tmp_path: Path) -> None:
    store = Store(tmp_path / "models" / "Net_Fbank")
    with store.locked():
        commit(store, 5)
        shutil.copytree(store.folder / "step_5", store.folder / ".tmp-step_10")
        (store.folder / ".tmp-last_model").symlink_to("step_10")
    with store.locked():
        assert sorted(path.name for path in store.folder.iterdir()) == [".lock", LAST, "step_5"]


def test_a_place_that_cannot_be_a_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        with (
            pytest.raises(
                UsageError, match=r"cannot be written to \(.*\): choose another save_dir"
            ),
            Store(folder).locked(),
        ):
            pass


@pytest.mark.parametrize("link", [LAST, BEST])
@pytest.mark.parametrize("loss", ["gone", "damaged", "changed"])
def test_a_copy_without_the_generation_is_read_but_not_written_to(
    store: Store, tmp_path: Path, link: str, loss: str
) -> None:
    """The copying followed the links, and the generation that a link led to did not come along."""
    commit(store, 5, best=True)
    commit(store, 10)
    shutil.copytree(store.folder, tmp_path / "copy", symlinks=False)
    shutil.rmtree(tmp_path / "copy" / (BEST if link == LAST else LAST))
    generation = "step_10" if link == LAST else "step_5"
    if loss == "gone":
        shutil.rmtree(tmp_path / "copy" / generation)
    else:
        damage(Store(tmp_path / "copy"), generation, STATE_FILE if loss == "changed" else MODEL)
    message = rf"{link} is a folder, not a link, .*[Cc]hoose another save_dir"
    with pytest.raises(UsageError, match=message) as refusal, Store(tmp_path / "copy").locked():
        pass
    assert "\n" not in str(refusal.value)
    saved = resolve_checkpoint(tmp_path / "copy", prefer=link)
    assert saved.folder == tmp_path / "copy" / link and saved.state.step == (
        10 if link == LAST else 5
    )
    assert saved.arrays(MODEL)["weight"].tolist() == [saved.state.step] * 3


@pytest.mark.parametrize("as_text", [False, True], ids=["followed", "zipped"])
def test_a_copy_that_followed_the_links_goes_on(
    store: Store, tmp_path: Path, caplog, as_text: bool
) -> None:
    """Copying by ``cp -rL`` or by cloud storage; some archives store a link as a text file."""
    commit(store, 5, best=True)
    commit(store, 10)
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.folder, copy.folder, symlinks=False)
    if as_text:
        for link, generation in ((LAST, "step_10"), (BEST, "step_5")):
            shutil.rmtree(copy.folder / link)
            (copy.folder / link).write_text(generation)
    with copy.locked():
        assert copy.newest().folder.name == "step_10"
        commit(copy, 15)
    assert resolve_checkpoint(copy.folder, prefer=LAST).folder.name == "step_15"
    assert resolve_checkpoint(copy.folder, prefer=BEST).folder.name == "step_5"
    assert (target(copy, LAST), target(copy, BEST)) == ("step_15", None if as_text else "step_5")
    assert as_text or "was a copy of step_5, and is a link again" in caplog.text


def test_without_symbolic_links_a_text_file_points_at_the_generation(
    store: Store, monkeypatch
) -> None:
    """As on exFAT and SMB."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", refuse)
    with store.locked():
        store.rehearse(snapshot(0))
        commit(store, 5, best=True)
        commit(store, 10, keep=1)
        assert not (store.folder / LAST).is_symlink()
        assert names(store) == ["step_5", "step_10"]
        assert store.newest().folder.name == "step_10"
        for path, expected in ((store.folder, 5), (store.folder / LAST, 10)):
            assert resolve_checkpoint(path, prefer=BEST).state.step == expected
        store.rewind(resolve_checkpoint(store.folder / "step_5", prefer=LAST), best_step=5)
        assert resolve_checkpoint(store.folder, prefer=LAST).state.step == 5
    assert sorted(path.name for path in store.folder.glob(".tmp-*")) == []


@pytest.mark.parametrize("text", ["../step_5", "/step_5", "other", "step_5/..", "x" * 300, ""])
def test_a_text_file_points_at_generations_beside_it_only(store: Store, text: str) -> None:
    commit(store, 5)
    (store.folder / BEST).write_text(text)
    with pytest.raises(UsageError, match="is not a checkpoint"):
        resolve_checkpoint(store.folder / BEST, prefer=BEST)


def test_a_file_system_that_can_do_neither_is_found_by_the_rehearsal(
    store: Store, monkeypatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "symlink", refuse)
    with store.locked(), pytest.raises(RunError, match=r"could not be saved .*Read-only"):
        store.rehearse(snapshot(0))
    assert sorted(path.name for path in store.folder.glob(".tmp-*")) == []


@pytest.mark.parametrize("call", ["rename", "rmdir"])
def test_an_old_generation_that_stays_does_not_end_the_run(
    store: Store, monkeypatch, caplog, call: str
) -> None:
    """NFS keeps files that are open, and virus scanners hold folders."""
    real = getattr(os, call)

    def refuse(path, *arguments, **options):
        # shutil.rmtree names folders relative to a descriptor
        if str(path) in ("step_5", "model.pdparams") or "step_5" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    with store.locked():
        commit(store, 5)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            assert commit(store, 10, keep=1).state.step == 10
        assert "step_5 could not be removed, and is tried again later" in caplog.text
        commit(store, 15, keep=1)
    with store.locked():
        assert names(store) == ["step_15"]
    assert sorted(path.name for path in store.folder.glob(".tmp-*")) == []


def test_leftovers_that_stay_do_not_hinder_the_start(store: Store, monkeypatch, caplog) -> None:
    leftover = store.folder / f"{files.TEMPORARY}removed-step_5"
    leftover.mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        with store.locked():
            commit(store, 10)
    assert "removed-step_5 could not be removed, and is tried again later" in caplog.text
    with store.locked():
        assert not leftover.exists()


# Losing the lock.


def delete_lock(folder: Path) -> None:
    (folder / ".lock").unlink()


def replace_lock(folder: Path) -> None:
    delete_lock(folder)
    (folder / ".lock").touch()


def rename_folder(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))


def replace_folder(folder: Path) -> None:
    rename_folder(folder)
    folder.mkdir()


@pytest.mark.parametrize("lose", [delete_lock, replace_lock, rename_folder, replace_folder])
def test_a_run_that_lost_its_lock_saves_nothing(store: Store, lose) -> None:
    with store.locked():
        commit(store, 5)
        lose(store.folder)
        before = sorted(store.folder.parent.rglob("*"))
        with pytest.raises(RunError, match="is no longer locked by this run") as refusal:
            commit(store, 10)
        assert "\n" not in str(refusal.value)
        assert sorted(store.folder.parent.rglob("*")) == before


def test_a_run_copied_with_its_links_goes_on(store: Store, tmp_path: Path) -> None:
    commit(store, 5, best=True)
    shutil.copytree(store.folder, tmp_path / "copy", symlinks=True)
    copy = Store(tmp_path / "copy")
    with copy.locked():
        commit(copy, 10)
    assert (target(copy, LAST), target(copy, BEST)) == ("step_10", "step_5")
    assert target(store, LAST) == "step_5"


# Paths from a user.


def test_a_checkpoint_is_named_in_four_ways(store: Store) -> None:
    commit(store, 5, best=True)
    commit(store, 10)

    def step(path: Path, prefer: str) -> int:
        return resolve_checkpoint(path, prefer=prefer).state.step

    for prefer in (LAST, BEST):
        assert step(store.folder / "step_5", prefer) == step(store.folder / BEST, prefer) == 5
        assert step(store.folder / LAST, prefer) == 10
    assert (step(store.folder, LAST), step(store.folder, BEST)) == (10, 5)
    (store.folder / BEST).unlink()
    assert step(store.folder, BEST) == 10
    files.point_link(store.folder / BEST, "step_5")
    (store.folder / LAST).unlink()
    assert step(store.folder, LAST) == 5


def test_a_link_that_moves_on_while_it_is_opened_is_followed(store: Store, monkeypatch) -> None:
    commit(store, 5, best=True, keep=1)
    real = state_file.read_file

    def read_file(path: Path, most: int) -> bytes:
        monkeypatch.undo()
        commit(store, 10, best=True, keep=1)  # and step_5 is pruned
        return real(path, most)

    monkeypatch.setattr(state_file, "read_file", read_file)
    assert resolve_checkpoint(store.folder / BEST, prefer=BEST).state.step == 10


def test_a_damaged_checkpoint_is_not_silently_exchanged_for_another(store: Store) -> None:
    commit(store, 5, best=True)
    commit(store, 10)
    damage(store, "step_10")
    with pytest.raises(CheckpointError, match=r"step_10/model\.pdparams"):
        resolve_checkpoint(store.folder, prefer=LAST)


@pytest.mark.parametrize(
    "name", ["nowhere", "file", "file/in/it", "loop", "empty", "a\0b", "n" * 300, "dangling"]
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone")
    with pytest.raises(
        UsageError, match=r"is not a checkpoint: expected a folder with model\.state"
    ) as refusal:
        resolve_checkpoint(tmp_path / name, prefer=LAST)
    assert str(tmp_path / name) in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_generation_whose_state_has_no_position_counts_as_torn(store: Store) -> None:
    commit(store, 5)
    (store.folder / "step_4").mkdir()
    (store.folder / "step_4" / STATE_FILE).write_bytes(encode_state({"schema": 1, "files": {}}))
    assert names(store) == ["step_5", "step_4"]
