"""The errors that vprtrain reports in one line; each knows the exit status of a command that ends
with it.

A message says what was found, what was expected and what to do, and names the path.
"""

from __future__ import annotations


class VprTrainError(Exception):
    """Something went wrong that the user should read about, without a traceback."""

    exit_status = 1


class UsageError(VprTrainError):
    """What the user gave (a configuration, a manifest, a path) cannot be used; nothing was
    changed."""

    exit_status = 2


class PaddleMissingError(UsageError, ImportError):
    """PaddlePaddle is not installed; it is not among vprtrain's own requirements."""

    def __init__(self) -> None:
        super().__init__(
            "PaddlePaddle is not installed: pip install 'vprtrain[cpu]' for CPUs, or "
            "paddlepaddle-gpu 3.3 for GPUs"
        )


class RunError(VprTrainError):
    """A run that was rightly started cannot go on."""


class CheckpointError(RunError):
    """A checkpoint is missing, torn, or not what it says it is."""
