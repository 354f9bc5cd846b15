"""The errors that vprtrain reports in one line. Each class has the exit status of a command that
ends with it.

A message says what was found, what was expected and what to do, and it names the path.
"""

from __future__ import annotations


class VprTrainError(Exception):
    """An error that is reported to the user in one line, without a traceback."""

    exit_status = 1


class UsageError(VprTrainError):
    """Input of the user (a configuration, manifest or path) cannot be used. Nothing was changed."""

    exit_status = 2


class PaddleMissingError(UsageError, ImportError):
    """PaddlePaddle is not installed; it is not among vprtrain's own requirements."""

    def __init__(self) -> None:
        super().__init__(
            "PaddlePaddle is not installed: pip install 'vprtrain[cpu]' for CPUs, or "
            "paddlepaddle-gpu 3.3 for GPUs"
        )


class RunError(VprTrainError):
    """A run with valid input cannot continue."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged or invalid."""


def require_at_least(name: str, value: float, least: float) -> None:
    """Refuse an argument that is too small, or NaN.

    Raises:
        UsageError: ``value`` is not ``least`` or more.
    """
    if not value >= least:  # also refuses NaN
        raise UsageError(f"{name} is {value}; expected {least} or more")
