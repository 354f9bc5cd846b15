"""A run directory: one writer, generations that appear whole, ``last_model`` and ``best_model``."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vprtrain import files
from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint, open_checkpoint, read_state
from vprtrain.errors import CheckpointError, RunError, UsageError

# snapshots are taken of Paddle's objects, which whoever only reads checkpoints can do without
if TYPE_CHECKING:
    from vprtrain.checkpoint.snapshot import Snapshot

LAST = "last_model"
BEST = "best_model"

_GENERATION = re.compile(r"(epoch|step)_\d+(\.\d+)?")

log = logging.getLogger(__name__)


class Store:
    """The generations of one run directory.

    A generation is a folder ``epoch_<n>`` or ``step_<n>`` that is complete in itself. It counts as
    committed from the rename that gives it this name; the links follow, and are put right by
    :meth:`rewind` should a process be killed in between.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the directory's only writer, and clear away what a killed one left half-written.

        Raises:
            UsageError: another process writes here, or the directory cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / ".lock", "a+")  # noqa: SIM115 - held for as long as the context
        except OSError as error:
            raise UsageError(
                f"{self.folder} cannot be written to ({error.strerror}): choose another save_dir"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise UsageError(
                    f"{self.folder} is in use by {lock.read().strip() or 'another process'}: "
                    "wait for it, stop it, or choose another save_dir"
                ) from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            self._refuse_copied_links()
            files.remove_leftovers(self.folder)
            yield

    def generations(self) -> list[Path]:
        """The generations' folders, oldest first; those without a whole state (of unknown age) come
        last."""
        named = (path for path in self.folder.glob("*_*") if _GENERATION.fullmatch(path.name))
        return sorted((path for path in named if path.is_dir()), key=_position)

    def newest(self) -> SavedCheckpoint | None:
        """The newest generation that is whole; ``None`` where there is none at all.

        Every generation that is passed over is named in the log with what is wrong.

        Raises:
            CheckpointError: there are generations, or there was one, but not one of them is whole.
        """
        last = self.folder / LAST
        torn = (
            [f"{last} leads to {os.readlink(last)}, which is gone"]
            if last.is_symlink() and not last.is_dir()
            else []
        )
        for folder in reversed(self.generations()):
            try:
                saved = open_checkpoint(folder)
            except CheckpointError as error:
                torn.append(str(error))
                continue
            for reason in torn:
                log.warning("skipped a damaged checkpoint: %s", reason)
            return saved
        if torn:
            raise CheckpointError(
                f"no checkpoint of {self.folder} is whole ({'; '.join(torn)}): restore one, "
                "or start anew with --resume never and another save_dir"
            )
        return None

    def commit(self, snapshot: Snapshot, *, best: bool, keep: int) -> SavedCheckpoint:
        """Store a snapshot, point ``last_model`` (and ``best_model``) at it, then prune.

        Args:
            best: whether it is the best so far.
            keep: how many of the newest generations stay; what a link stands on always does.

        Raises:
            RunError: it could not be written; the earlier generations and links stand as they did.
        """
        with self._said_if_it_fails(snapshot.name):
            saved = open_checkpoint(self._write(snapshot))
            files.point_link(self.folder / LAST, saved.folder.name)
            if best:
                files.point_link(self.folder / BEST, saved.folder.name)
            self._prune(keep)
        return saved

    def rehearse(self, snapshot: Snapshot) -> int:
        """Write a snapshot as :meth:`commit` does, and remove it: what prevents saving shows before
        training.

        Returns:
            How many bytes were written.

        Raises:
            RunError: it could not be written; the earlier generations and links stand as they did.
        """
        folder = self.folder / f"{files.TEMPORARY}rehearsal"
        with self._said_if_it_fails(snapshot.name):
            content = snapshot.files()
            try:
                files.write_folder(folder, content)
                open_checkpoint(folder)
            finally:
                files.remove_tree(folder)
        return sum(map(len, content.values()))

    def rewind(self, saved: SavedCheckpoint, *, best_step: int | None) -> None:
        """Let the directory stand as it did when a generation of it was committed, to go on from
        there.

        Later generations (torn ones, or those of a future that a resume from an earlier point gives
        up) are kept beside, under another name.
        """
        now = _position(saved.folder)
        earlier = [folder for folder in self.generations() if _position(folder) <= now]
        later = [folder for folder in self.generations() if _position(folder) > now]
        best = [folder for folder in earlier if _position(folder)[0] == best_step]
        files.point_link(self.folder / LAST, saved.folder.name)
        if best and _is_whole(best[-1]):
            files.point_link(self.folder / BEST, best[-1].name)
        else:
            (self.folder / BEST).unlink(missing_ok=True)
            if best_step is not None:
                log.warning(
                    "the best checkpoint so far, of step %d, is not whole in %s",
                    best_step,
                    self.folder,
                )
        for folder in later:
            aside = _free_name(folder, ".aside")
            folder.rename(aside)
            log.warning("%s is not part of this run any more: kept as %s", folder, aside.name)

    def refuse_new_run(self) -> None:
        """A new run needs a directory without generations.

        Raises:
            UsageError: there are some.
        """
        if self.generations():
            raise UsageError(
                f"{self.folder} holds an earlier run's checkpoints: go on with --resume auto, "
                "choose another save_dir, or move them away"
            )

    def _write(self, snapshot: Snapshot) -> Path:
        folder = self.folder / snapshot.name
        content = snapshot.files()
        if folder.exists():
            if not set(_differing(folder, content)) - {
                STATE_FILE
            }:  # the same step once more, now validated
                files.write_atomic(folder / STATE_FILE, content[STATE_FILE])
                return folder
            folder = _free_name(folder, ".")
        files.write_folder(folder, content)
        return folder

    @contextmanager
    def _said_if_it_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # JSON has no NaN
            raise RunError(
                f"{self.folder / name} could not be saved ({error}); the earlier checkpoints are "
                "intact: look for the loss or metric that is no longer finite"
            ) from error
        except (OSError, CheckpointError) as error:
            raise RunError(
                f"{self.folder / name} could not be saved ({error}); the earlier checkpoints are "
                "intact: make room or mend the disk, then run the same command again"
            ) from error

    def _prune(self, keep: int) -> None:
        files.watch("before_prune")
        linked = {(self.folder / name).resolve() for name in (LAST, BEST)}
        for folder in self.generations()[:-keep]:
            if folder.resolve() not in linked:
                files.remove_tree(folder)

    def _refuse_copied_links(self) -> None:
        for name in (LAST, BEST):
            path = self.folder / name
            if path.exists() and not path.is_symlink():
                raise UsageError(
                    f"{path} is a folder, not a link: this run was copied with its links followed, and can "
                    "be read but not written to. Choose another save_dir (and --init_from, to start from "
                    "these weights)"
                )


def resolve_checkpoint(path: Path, *, prefer: str) -> SavedCheckpoint:
    """Open what a user named: a generation, ``last_model``, ``best_model``, or a run directory.

    Args:
        prefer: which link of a run directory is meant, ``LAST`` or ``BEST``; the other where it is
            missing.

    Raises:
        UsageError: nothing there is a checkpoint.
        CheckpointError: it is one, but damaged.
    """
    names = (prefer, BEST if prefer == LAST else LAST)
    for folder in (path, *(path / name for name in names)):
        if os.path.exists(folder / STATE_FILE):  # False for whatever else a user may name
            return _open_where_it_leads(folder)
    raise UsageError(
        f"{path} is not a checkpoint: expected a folder with {STATE_FILE}, or a run directory with {LAST}"
    )


def _open_where_it_leads(folder: Path) -> SavedCheckpoint:
    target = os.path.realpath(folder)
    try:
        return open_checkpoint(Path(target))
    except CheckpointError:
        if os.path.realpath(folder) == target:
            raise
    # the run moved the link on meanwhile, and pruned what it stood on
    return _open_where_it_leads(folder)


def _position(folder: Path) -> tuple[float, int, bool, int, str]:
    """Where in the run a generation was taken, without verifying more than its state."""
    name = folder.name
    try:
        state = read_state(folder / STATE_FILE)
        return state.step, state.last_epoch, not state.validation_pending, len(name), name
    except CheckpointError:
        return math.inf, 0, False, len(name), name


def _is_whole(folder: Path) -> bool:
    try:
        open_checkpoint(folder)
    except CheckpointError as error:
        log.warning("%s", error)
        return False
    return True


def _differing(folder: Path, content: dict[str, bytes]) -> list[str]:
    """The files of a folder that are missing or other than ``content``."""
    return [
        name
        for name, data in content.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != data
    ]


def _free_name(folder: Path, suffix: str) -> Path:
    number = 1
    while (free := folder.with_name(f"{folder.name}{suffix}{number}")).exists():
        number += 1
    return free
