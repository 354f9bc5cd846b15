"""Voiceprints in PostgreSQL: passwords, refusals, lost connections, and the approximate index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from json_process import script_environment
from postgres_server import DEADLINE, PostgresServer

from vprtrain.errors import RunError, UsageError
from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.postgres_url import is_postgres_url, shown_url

MODEL = "ab" * 32


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(192).astype("float32")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    started = PostgresServer()
    yield started
    started.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host:5433/voices", "postgresql://ann@host:5433/voices"),
        ("postgresql://ann:se%40cret@h1,h2/v?password=secret", "postgresql://ann@h1,h2/v"),
        ("postgres://:secret@/v?host=/run/pg&sslpassword=secret", "postgres:///v?host=/run/pg"),
        ("postgresql://ann:sec@ret@host/v", "postgresql://ann@host/v"),
        ("postgresql://[secret", "postgresql://..."),
        ("postgresql://ann:secret", "postgresql://..."),
        ("postgresql://ann:secret/more@host/v", "postgresql://..."),
        ("postgresql://ann:secret?x@host/v", "postgresql://..."),
        ("postgresql://ann:secret#x@host/v", "postgresql://..."),
        ("postgresql:///v", "postgresql:///v"),
        ("postgresql://host", "postgresql://host"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert is_postgres_url(url) and shown_url(url) == shown


def test_a_file_is_no_url() -> None:
    assert not any(map(is_postgres_url, ("voiceprints.db", "postgresql", "./postgresql://x")))


BAD_URLS = {
    "an odd percent": ("postgresql://ann:sec%ret@localhost/v", "not a valid URL"),
    "an unknown parameter": ("postgresql://ann:secret@localhost/v?secret=1", "not a valid URL"),
    "a server that is not there": ("postgresql://ann:secret@127.0.0.1:1/v", "OperationalError"),
    "a bad port": ("postgresql://ann:x@localhost:secret/v", "postgresql://"),
}


@pytest.mark.parametrize("kind", BAD_URLS)
@pytest.mark.parametrize("debug", [False, True])
def test_no_message_has_the_password(kind: str, debug: bool) -> None:
    """Not in a traceback either."""
    pytest.importorskip("psycopg")
    url, reason = BAD_URLS[kind]
    done = subprocess.run(
        [sys.executable, "-m", "vprtrain", "users", "--voiceprints", url, *["--debug"] * debug],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=script_environment(),
    )
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2) and reason in said
    assert not any(part in said for part in ("secret", "sec%ret", "ret@"))


def test_commands_use_a_url(server: PostgresServer, tmp_path: os.PathLike[str]) -> None:
    url = server.new_database()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "vprtrain", *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env=script_environment(),
            cwd=tmp_path,
        )
        assert done.returncode == 0 and "secret" not in done.stdout + done.stderr, done.stderr
        return done.stdout

    with closing(Voiceprints(url, model=MODEL)) as voiceprints:
        voiceprints.add("Ann", embedding(1))
    assert run("users", "--voiceprints", url) == "Ann\t1\n"
    assert "no damage" in run("users", "--voiceprints", url, "--check")
    assert run("users", "--voiceprints", url, "--copy_to", "copy.db") == (
        "1 users are copied to copy.db\n"
    )
    assert "written anew" in run("users", "--voiceprints", url, "--compact")
    assert run("remove", "Ann", "--voiceprints", url) == "Ann: removed\n"
    assert "1 users are copied to postgresql://postgres@/" in run(
        "users", "--voiceprints", "copy.db", "--copy_to", url
    )


def test_an_empty_database_has_no_voiceprints(server: PostgresServer) -> None:
    url = server.new_database()
    with pytest.raises(UsageError, match="has no voiceprints"):
        Voiceprints(url, model=None)
    with closing(Voiceprints(url, model=MODEL)) as made:
        made._store._db.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
    with pytest.raises(UsageError, match="version '99'"):
        Voiceprints(url, model=MODEL)


def test_a_lost_connection_is_opened_again(server: PostgresServer) -> None:
    url = server.new_database()
    with closing(Voiceprints(url, model=MODEL)) as voiceprints:
        voiceprints.add("Ann", embedding(1))
        assert voiceprints.nearest(embedding(1))[0] == "Ann"
        server.kill()
        with pytest.raises(RunError, match="check the server"):
            voiceprints.nearest(embedding(1))
        server.start()
        assert voiceprints.nearest(embedding(1))[0] == "Ann"
        assert voiceprints.add("Bob", embedding(2)) == 1
    with pytest.raises(RunError, match="closed; open it again"):
        voiceprints.users()


def test_a_database_that_others_hold_is_said_to_be_locked(server: PostgresServer) -> None:
    url = server.new_database()
    with (
        closing(Voiceprints(url, model=MODEL, timeout=0.2)) as voiceprints,
        closing(Voiceprints(url, model=MODEL)) as holder,
    ):
        voiceprints.add("Ann", embedding(1))
        with holder._transaction(write=True):
            with pytest.raises(RunError, match="locked by another process"):
                voiceprints.add("Bob", embedding(2))
            assert voiceprints.nearest(embedding(1))[0] == "Ann"  # reading does not wait
        assert voiceprints.add("Bob", embedding(2)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET code = ''",
        "UPDATE users SET name = E'a\\nb'",
        "UPDATE voiceprints SET voiceprint = '[1,2]'",
        "UPDATE voiceprints SET voiceprint = array_fill(1::real, '{192}')::vector",
    ],
)
def test_a_row_that_is_no_voiceprint_is_refused(server: PostgresServer, change: str) -> None:
    with closing(Voiceprints(server.new_database(), model=MODEL)) as voiceprints:
        voiceprints.add("Ann", embedding(1))
        voiceprints._store._db.execute(change)
        with pytest.raises(RunError, match="damaged, or its rows are not voiceprints"):
            voiceprints.nearest(embedding(1))


def test_an_index_searches_what_does_not_fit_in_memory(server: PostgresServer) -> None:
    """Its scores are exact, and changes are seen at once."""
    url = server.new_database()
    vectors = np.stack([embedding(seed) for seed in range(400)])
    with closing(Voiceprints(url, model=MODEL)) as exact:
        for number, vector in enumerate(vectors):
            exact.add(f"user {number}", vector)
        with closing(Voiceprints(url, model=MODEL, search_memory=1000)) as indexed:
            plan = indexed._store._db.execute(
                "SELECT indexdef FROM pg_indexes WHERE tablename = 'voiceprints'"
            ).fetchall()
            assert any("hnsw" in row[0] for row in plan)
            noisy = vectors + 0.7 * np.random.default_rng(0).standard_normal(vectors.shape)
            agree = [indexed.nearest(probe) == exact.nearest(probe) for probe in noisy]
            assert np.mean(agree) > 0.98
            assert not len(indexed._search._gallery)
            exact.remove("user 7")
            exact.add("new", embedding(1000))
            assert indexed.nearest(vectors[7])[0] != "user 7"
            assert indexed.nearest(embedding(1000))[0] == "new"
            assert indexed.remove("user 8") and "user 8" not in exact.users()
