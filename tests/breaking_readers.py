"""Readers of audio that break their process, for tests of isolation."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np


def crash(audio: str) -> np.ndarray:
    os.abort()


def sleep(audio: str) -> np.ndarray:
    time.sleep(600)
    raise AssertionError


def spin(audio: str) -> np.ndarray:
    while True:
        pass


def fill_memory(audio: str) -> np.ndarray:
    return np.ones(1 << 40, np.float32)


def write(audio: str) -> np.ndarray:
    Path(audio).write_bytes(b"x")
    raise AssertionError


def defect(audio: str) -> np.ndarray:
    raise KeyError("two\nlines")


def has_paddle(audio: str) -> np.ndarray:
    return np.array(["paddle" in sys.modules], np.float32)
