"""The links of a run directory, ``last_model`` and ``best_model``, and the checkpoint that a path
from a user leads to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vprtrain import files
from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint, open_checkpoint
from vprtrain.errors import CheckpointError, UsageError

LAST = "last_model"
"""The link to the newest generation."""
BEST = "best_model"
"""The link to the generation with the best value of the monitored metric."""


def is_generation_name(name: str) -> bool:
    """Whether a run directory's folder of this name is a generation, ``epoch_<n>`` or
    ``step_<n>``; the same step saved anew has ``.<m>`` behind it."""
    return re.fullmatch(r"(epoch|step)_\d+(\.\d+)?", name) is not None


def follow_link(link: Path) -> Path:
    """The generation that a link leads to; any other path as it is."""
    target = files.link_target(link)
    return link if target is None or not is_generation_name(target) else link.with_name(target)


def resolve_checkpoint(path: Path, *, prefer: str) -> SavedCheckpoint:
    """Open the checkpoint at a path from a user: a generation, ``last_model``, ``best_model``, or a
    run directory.

    Args:
        prefer: the link that is used in a run directory, ``LAST`` or ``BEST``. If it is missing,
            the other link is used.

    Raises:
        UsageError: there is no checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    names = (prefer, BEST if prefer == LAST else LAST)
    for folder in (path, *(path / name for name in names)):
        if _has_state(folder):
            return _open_link(folder)
    raise UsageError(
        f"{path} is not a checkpoint: expected a folder with {STATE_FILE}, or a run directory with "
        f"{LAST}"
    )


def require_new_checkpoint(folder: Path) -> None:
    """Refuse a path at which no new checkpoint can be written outside a run.

    Raises:
        UsageError: the path exists, or would be taken for a generation of a run directory.
    """
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already: give a new folder")
    if (folder.parent / LAST).exists() and folder.name.startswith(("epoch_", "step_")):
        raise UsageError(
            f"{folder} has the name of a generation, in a run directory: give it another name"
        )


def _has_state(folder: Path) -> bool:
    # os.path.exists, unlike Path.exists, is False for any odd path. It follows a symbolic link in
    # one step: a run may move the link meanwhile.
    if os.path.exists(folder / STATE_FILE):
        return True
    target = follow_link(folder)
    return os.path.exists(target / STATE_FILE) or (
        follow_link(folder) != target and _has_state(folder)
    )


def _open_link(folder: Path) -> SavedCheckpoint:
    target = os.path.realpath(follow_link(folder))
    try:
        return open_checkpoint(Path(target))
    except CheckpointError:
        if os.path.realpath(follow_link(folder)) == target:
            raise
    # Meanwhile the run moved the link to a new generation and pruned the old one.
    return _open_link(folder)
