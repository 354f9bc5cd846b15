"""Eight processes use one database of voiceprints, and half of them are killed: what was enrolled
is there and whole. So it is when the PostgreSQL server is killed."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from enroller import MODEL, RECORDINGS, recordings
from enroller_process import ENROLMENTS, PROCESSES, Enroller, running, users_of
from postgres_server import PostgresServer

from vprtrain.voiceprints.database import Voiceprints


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    started = PostgresServer()
    yield started
    started.close()


def require_whole(location: Path | str, enrollers: Sequence[Enroller], unsaid_at_most: int) -> None:
    """Each enrolment that returned is there, and each that is there is whole."""
    voiceprints = Voiceprints(location, model=MODEL)
    assert voiceprints.check() == []
    enrolled, removing, removed = (
        users_of(enrollers, event) for event in ("enrolled", "removing", "removed")
    )
    there = voiceprints.users()
    assert not users_of(enrollers, "mistook")
    assert enrolled - removing <= there.keys() and not removed & there.keys()
    # A process killed between a commit and its line has enrolled one user more than it printed.
    assert len(there.keys() - enrolled) <= unsaid_at_most
    assert set(there.values()) == {RECORDINGS}
    for user in there:
        found = [recording["embedding"] for recording in voiceprints.export(user)["recordings"]]
        np.testing.assert_array_equal(np.array(found, "float32"), recordings(user))
        assert voiceprints.nearest(recordings(user)[1])[0] == user
    voiceprints.close()


def kill_half(location: Path | str, seed: int) -> None:
    rng = random.Random(seed)
    lives = [rng.randrange(5, ENROLMENTS) if number % 2 else None for number in range(PROCESSES)]
    with running(location) as enrollers:
        threads = [each.begin(life) for each, life in zip(enrollers, lives, strict=True)]
        for thread in threads:
            thread.join(timeout=300)
        assert [each.process.returncode for each in enrollers] == [
            0 if life is None else -9 for life in lives
        ]
    require_whole(location, enrollers, unsaid_at_most=sum(life is not None for life in lives))
    assert not users_of(enrollers, "failed")
    assert len(users_of(enrollers, "enrolled")) > PROCESSES / 2 * ENROLMENTS
    assert len(users_of(enrollers, "removed")) > ENROLMENTS / 4


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_enrolment_is_lost_or_half(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "voiceprints.db"
    kill_half(path, seed)
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    plain.close()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_enrolment_is_lost_or_half_in_postgres(server: PostgresServer, seed: int) -> None:
    kill_half(server.new_database(), seed)


@pytest.mark.parametrize("after", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_no_acknowledged_enrolment_is_lost_with_the_server(
    server: PostgresServer, after: int
) -> None:
    """The server is killed in mid-enrolment, and started again."""
    url = server.new_database()
    with running(url) as enrollers:
        threads = [each.begin(None) for each in enrollers]
        while len(users_of(enrollers, "enrolled")) < after:
            assert any(thread.is_alive() for thread in threads)
            time.sleep(0.01)
        server.kill()
        time.sleep(0.5)
        server.start()
        for thread in threads:
            thread.join(timeout=300)
        assert [each.process.returncode for each in enrollers] == [0] * PROCESSES
    failed = users_of(enrollers, "failed")
    assert failed and all("secret" not in words[-1] for each in enrollers for words in each.said)
    assert len(users_of(enrollers, "enrolled")) > after  # they went on with the new server
    require_whole(url, enrollers, unsaid_at_most=len(failed))
