"""Eight processes use one database of voiceprints, and half of them are killed: what was enrolled
is there and whole."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from enroller import MODEL, RECORDINGS, recordings
from json_process import script_environment

from vprtrain.voiceprints.database import Voiceprints

ENROLLER = Path(__file__).parents[1] / "enroller.py"
PROCESSES = 8
ENROLMENTS = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voiceprints.db"


class Enroller:
    """A process that enrols users, and its output."""

    def __init__(self, path: Path, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, ENROLLER, path, str(number), str(ENROLMENTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=script_environment(),
        )
        self.said: list[tuple[str, ...]] = []

    def begin(self, kill_after: int | None) -> threading.Thread:
        """Start the work in a thread. The process is killed after so many lines; ``None`` lets it
        finish."""
        thread = threading.Thread(target=self._listen, args=(kill_after,))
        thread.start()
        return thread

    def _listen(self, kill_after: int | None) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.said.append(tuple(line.rstrip("\n").split("\t")))
            if len(self.said) == kill_after:
                self.process.kill()
        self.process.wait()

    def users(self, event: str) -> set[str]:
        return {words[1] for words in self.said if words[0] == event}


@pytest.fixture
def enrollers(path: Path) -> Iterator[list[Enroller]]:
    """Eight processes that have opened (and made) the database at the same time."""
    processes = [Enroller(path, number) for number in range(PROCESSES)]
    try:
        assert [each.process.stdout.readline() for each in processes] == ["ready\n"] * PROCESSES
        yield processes
    finally:
        for each in processes:
            each.process.kill()
            each.process.communicate()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_enrolment_is_lost_or_half(path: Path, enrollers: list[Enroller], seed: int) -> None:
    rng = random.Random(seed)
    lives = [rng.randrange(5, ENROLMENTS) if number % 2 else None for number in range(PROCESSES)]
    threads = [each.begin(life) for each, life in zip(enrollers, lives, strict=True)]
    for thread in threads:
        thread.join(timeout=300)
    assert [each.process.returncode for each in enrollers] == [
        0 if life is None else -9 for life in lives
    ]

    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    plain.close()
    voiceprints = Voiceprints(path, model=MODEL)
    assert voiceprints.check() == []
    enrolled, removing, removed, mistaken = (
        set[str]().union(*(each.users(event) for each in enrollers))
        for event in ("enrolled", "removing", "removed", "mistook")
    )
    there = voiceprints.users()
    assert not mistaken
    assert enrolled - removing <= there.keys() and not removed & there.keys()
    # A process killed between a commit and its line has enrolled one user more than it printed.
    unsaid = there.keys() - enrolled
    assert len(unsaid) <= sum(life is not None for life in lives)
    assert len(enrolled) > PROCESSES / 2 * ENROLMENTS and len(removed) > ENROLMENTS / 4
    assert set(there.values()) == {RECORDINGS}
    for user in there:
        found = [recording["embedding"] for recording in voiceprints.export(user)["recordings"]]
        np.testing.assert_array_equal(np.array(found, "float32"), recordings(user))
        assert voiceprints.nearest(recordings(user)[1])[0] == user
    voiceprints.close()
