"""Functions for tests of worker processes, which import them by name."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Made(NamedTuple):
    """A result with arrays and other values."""

    number: int
    pid: int
    array: np.ndarray
    others: list[np.ndarray]


class UnpicklableError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def make(number: int) -> Made:
    return Made(
        number,
        os.getpid(),
        np.full((number % 7, 3), number, "float32"),
        [np.arange(number), np.zeros((2, 0)), np.array(number)],
    )


def imported(name: str) -> bool:
    return name in sys.modules


def fail(number: int) -> None:
    if number == 1:
        raise KeyError(number)
    if number == 2:
        raise UnpicklableError("two", "words")
    logging.getLogger("worker").warning("task %d", number)


def die_once(path: str) -> int:
    """End the process with a SIGKILL, unless an earlier call did."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die(path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(path: str) -> int:
    """Return when the file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()
