"""A run directory: one writer, generations that appear whole, ``last_model`` and ``best_model``."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vprtrain import files
from vprtrain.checkpoint.links import BEST, LAST, follow_link, is_generation_name
from vprtrain.checkpoint.lock import Lock, locked
from vprtrain.checkpoint.state_file import (
    STATE_FILE,
    SavedCheckpoint,
    open_checkpoint,
    read_state,
    state_bytes,
)
from vprtrain.errors import CheckpointError, RunError, UsageError

if TYPE_CHECKING:  # the module imports Paddle, which reading a checkpoint does not need
    from vprtrain.checkpoint.snapshot import Snapshot

log = logging.getLogger(__name__)


class Store:
    """The generations of one run directory.

    A generation is a folder ``epoch_<n>`` or ``step_<n>`` that is complete in itself. The rename to
    this name commits it. The links are updated afterwards. If the process is killed in between,
    :meth:`rewind` corrects them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: Lock | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context in which this process is the directory's only writer. Unfinished files of a
        killed writer are removed at its start.

        Raises:
            UsageError: another process writes here, or the directory cannot be written to.
        """
        with locked(self.folder) as self._lock:
            try:
                self._restore_copied_links()
                files.remove_leftovers(self.folder)
                yield
            finally:
                self._lock = None

    def generations(self) -> list[Path]:
        """The generations' folders, oldest first. Folders without an intact state, whose age is
        unknown, come last."""
        named = (path for path in self.folder.glob("*_*") if is_generation_name(path.name))
        return sorted((path for path in named if path.is_dir()), key=_position)

    def newest(self) -> SavedCheckpoint | None:
        """The newest intact generation; ``None`` if the directory has no generation.

        A warning names each damaged generation that is skipped, and the damage.

        Raises:
            CheckpointError: there are generations, or ``last_model`` points to one that is gone,
                but none is intact.
        """
        last = files.link_target(self.folder / LAST)
        damage = (
            [f"{self.folder / LAST} points to {last}, which is gone"]
            if last is not None and not (self.folder / last).is_dir()
            else []
        )
        for folder in reversed(self.generations()):
            try:
                saved = open_checkpoint(folder)
            except CheckpointError as error:
                damage.append(str(error))
                continue
            for reason in damage:
                log.warning("skipped a damaged checkpoint: %s", reason)
            return saved
        if damage:
            raise CheckpointError(
                f"no checkpoint of {self.folder} is intact ({'; '.join(damage)}): restore one, "
                "or start a new run with --resume never and another save_dir"
            )
        return None

    def validated(self, metric: str) -> dict[int, float]:
        """The values of a metric by step, of the generations that were validated at their own
        step. Damaged ones are left out."""
        values = {}
        for folder in self.generations():
            with suppress(CheckpointError):
                state = read_state(folder / STATE_FILE)
                value = state.metrics.get(metric)
                if value is not None and state.metrics_step == state.step:
                    values[state.step] = value
        return values

    def commit(
        self,
        snapshot: Snapshot,
        *,
        best: bool,
        keep: int,
        keep_steps: Collection[int] = (),
    ) -> SavedCheckpoint:
        """Store a snapshot, point ``last_model`` (and ``best_model``) at it, then prune.

        Args:
            best: whether it is the best so far.
            keep: how many of the newest generations stay. A generation under a link always stays.
            keep_steps: the steps of further generations that stay.

        Raises:
            RunError: it could not be written, or this process has lost the lock. The earlier
                generations and links are unchanged.
        """
        if self._lock is not None and not self._lock.is_held():
            raise RunError(
                f"{self.folder} is no longer locked by this run, because it was renamed or deleted "
                "or its .lock was removed: nothing is saved, as another run may write there. Put "
                "it back and run the same command again to resume from its last checkpoint"
            )
        with self._save_errors(snapshot.name):
            saved = open_checkpoint(self._write(snapshot))
            files.point_link(self.folder / LAST, saved.folder.name)
            if best:
                files.point_link(self.folder / BEST, saved.folder.name)
            self._prune(keep, keep_steps)
        return saved

    def rehearse(self, snapshot: Snapshot, *, reserve: int = 0) -> int:
        """Write a snapshot and a link to it as :meth:`commit` does, read it, and remove both, so
        that a run that cannot save fails before training.

        Args:
            reserve: bytes that must have room beside it.

        Returns:
            The number of bytes written.

        Raises:
            RunError: it could not be written. The earlier generations and links are unchanged.
        """
        folder = self.folder / f"{files.TEMPORARY}rehearsal"
        link = self.folder / f"{files.TEMPORARY}rehearsal-link"
        with self._save_errors(snapshot.name):
            try:
                size = snapshot.save(folder)
                files.reserve(folder / "reserved", reserve)
                files.point_link(link, folder.name)
                open_checkpoint(self.folder / str(files.link_target(link)))
            finally:
                link.unlink(missing_ok=True)
                files.remove_tree(folder)
        return size

    def rewind(self, saved: SavedCheckpoint, *, best_step: int | None) -> None:
        """Restore the directory to the moment when one of its generations was committed.

        Later generations are damaged, or belong to the part of the run that a resume from an
        earlier point gives up. They are renamed, not removed.

        Args:
            saved: the generation to resume from.
            best_step: the step of the best generation until then; ``None`` without one.
        """
        now = _position(saved.folder)
        earlier = [folder for folder in self.generations() if _position(folder) <= now]
        later = [folder for folder in self.generations() if _position(folder) > now]
        best = [folder for folder in earlier if _position(folder)[0] == best_step]
        files.point_link(self.folder / LAST, saved.folder.name)
        if best and _is_intact(best[-1]):
            files.point_link(self.folder / BEST, best[-1].name)
        else:
            (self.folder / BEST).unlink(missing_ok=True)
            if best_step is not None:
                log.warning(
                    "the best checkpoint so far, of step %d, is missing or damaged in %s",
                    best_step,
                    self.folder,
                )
        for folder in later:
            aside = files.free_name(folder, ".aside")
            folder.rename(aside)
            log.warning("%s is no longer part of this run: kept as %s", folder, aside.name)

    def refuse_new_run(self) -> None:
        """Check that a new run can start here.

        Raises:
            UsageError: the directory has generations.
        """
        if self.generations():
            raise UsageError(
                f"{self.folder} holds an earlier run's checkpoints: continue it with --resume "
                "auto, choose another save_dir, or move them away"
            )

    def _write(self, snapshot: Snapshot) -> Path:
        folder = self.folder / snapshot.name
        if folder.exists():
            digests = {
                name: files.content_sha256(content) for name, content in snapshot.contents().items()
            }
            if digests == _digests(folder, digests):  # the same step, now validated
                files.write_atomic(folder / STATE_FILE, state_bytes(snapshot.state, digests))
                return folder
            folder = files.free_name(folder, ".")
        snapshot.save(folder)
        return folder

    @contextmanager
    def _save_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # JSON has no NaN
            raise RunError(
                f"{self.folder / name} could not be saved ({error}); the earlier checkpoints are "
                "intact: look for a loss or metric that is not finite"
            ) from error
        except (OSError, CheckpointError) as error:
            raise RunError(
                f"{self.folder / name} could not be saved ({error}); the earlier checkpoints are "
                "intact: make room or repair the disk, then run the same command again"
            ) from error

    def _prune(self, keep: int, keep_steps: Collection[int]) -> None:
        files.watch("before_prune")
        linked = {follow_link(self.folder / name).resolve() for name in (LAST, BEST)}
        for folder in self.generations()[:-keep]:
            if folder.resolve() not in linked and _position(folder)[0] not in keep_steps:
                with files.removing(folder):
                    files.remove_tree(folder)

    def _restore_copied_links(self) -> None:
        """Make the links again in a run directory that was copied by a program that followed them.

        Raises:
            UsageError: a copy in a link's place equals none of the generations.
        """
        for name in (LAST, BEST):
            path = self.folder / name
            if not path.exists() or files.link_target(path) is not None:
                continue
            same = [one for one in self.generations() if _have_same_state(one, path)]
            if not same or not _is_intact(same[-1]):
                raise UsageError(
                    f"{path} is a folder, not a link, and equals no generation beside it: this "
                    "copy of a run can be read but not continued. Choose another save_dir (and "
                    "--init_from, to start from these weights)"
                )
            files.remove_tree(path)
            files.point_link(path, same[-1].name)
            log.warning("%s was a copy of %s, and is a link again", path, same[-1].name)


def _position(folder: Path) -> tuple[float, int, bool, int, str]:
    """A sort key: the position in the run of a generation. Only its state is verified."""
    name = folder.name
    try:
        state = read_state(folder / STATE_FILE)
        return state.step, state.last_epoch, not state.validation_pending, len(name), name
    except CheckpointError:
        return math.inf, 0, False, len(name), name


def _is_intact(folder: Path) -> bool:
    try:
        open_checkpoint(folder)
    except CheckpointError as error:
        log.warning("%s", error)
        return False
    return True


def _digests(folder: Path, names: Collection[str]) -> dict[str, str]:
    """The digests of files in a folder; those that are missing are left out."""
    paths = {name: folder / name for name in names}
    return {name: files.file_sha256(path) for name, path in paths.items() if path.is_file()}


def _have_same_state(one: Path, other: Path) -> bool:
    """Whether two folders hold the same checkpoint; a state has the hash of every file."""
    try:
        return (one / STATE_FILE).read_bytes() == (other / STATE_FILE).read_bytes()
    except OSError:
        return False
