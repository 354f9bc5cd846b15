"""A file of version 1 is used as it is, or brought to this version."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from limited import DEADLINE

from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.sqlite_schema import migrate
from vprtrain.voiceprints.user import mean_voiceprint

MODEL = "ab" * 32
TABLES = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, voiceprint BLOB NOT NULL);
    CREATE TABLE recordings (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES users (id), embedding BLOB NOT NULL, enrolled_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));
    CREATE INDEX recordings_of_user ON recordings (user);
    CREATE TABLE changes (change INTEGER PRIMARY KEY, user INTEGER NOT NULL);
    PRAGMA application_id = 1448104534;
    PRAGMA user_version = 1;
"""  # noqa: E501 - the text is part of the file


def name(seed: int) -> str:
    """Of another length for each user, so that rows move between pages."""
    return f"user-{seed}-" + "x" * random.Random(seed).randint(5, 60)


def recordings(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 192)).astype("float32")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with 300 users, in which rows were moved and 30 users deleted, as version 1 did it
    before it rewrote the file."""
    made = tmp_path / "voiceprints.db"
    with closing(sqlite3.connect(made)) as db:
        db.executescript(TABLES)
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("INSERT INTO meta VALUES ('model', ?)", (MODEL,))
        for seed in random.Random(0).sample(range(330), 330):
            mean = mean_voiceprint(recordings(seed), "").tobytes()
            key = db.execute(
                "INSERT INTO users (name, voiceprint) VALUES (?, ?)", (name(seed), mean)
            ).lastrowid
            for row in recordings(seed):
                db.execute(
                    "INSERT INTO recordings (user, embedding) VALUES (?, ?)", (key, row.tobytes())
                )
            db.execute("INSERT INTO changes (user) VALUES (?)", (key,))
        for seed in range(300, 330):
            (key,) = db.execute("SELECT id FROM users WHERE name = ?", (name(seed),)).fetchone()
            db.execute("DELETE FROM recordings WHERE user = ?", (key,))
            db.execute("DELETE FROM users WHERE id = ?", (key,))
            db.execute("INSERT INTO changes (user) VALUES (?)", (key,))
        db.commit()
    return made


def require_all(voiceprints: Voiceprints) -> None:
    assert voiceprints.users() == {name(seed): 2 for seed in range(300)}
    assert voiceprints.check() == []
    for seed in range(0, 300, 50):
        assert voiceprints.nearest(recordings(seed)[0])[0] == name(seed)
        stored = voiceprints.export(name(seed))["recordings"]
        found = np.array([row["embedding"] for row in stored], "float32")
        np.testing.assert_array_equal(found, recordings(seed))
        assert {row["purpose"] for row in stored} == {""}
        assert all(row["enrolled_at"].endswith("Z") for row in stored)


def test_it_is_brought_to_this_version(path: Path) -> None:
    for _ in range(2):
        with closing(Voiceprints(path, model=MODEL)) as voiceprints:
            require_all(voiceprints)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT key FROM meta").fetchall() == [("model",)]


def require_nothing_left(path: Path) -> None:
    """No byte of the users who were deleted before, nor of one who is removed now."""
    with closing(Voiceprints(path, model=MODEL)) as voiceprints:
        for seed in (0, 150, 299):
            assert voiceprints.remove(name(seed))
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
        for seed in (0, 150, 299, *range(300, 330)):
            rows = (row.tobytes()[at : at + 16] for row in recordings(seed) for at in (0, 376, 752))
            assert not any(part in content for part in (name(seed).encode(), *rows)), seed
        assert len(voiceprints.users()) == 297 and voiceprints.check() == []


def test_what_is_removed_afterwards_is_in_no_byte(path: Path) -> None:
    require_nothing_left(path)


def test_a_rewrite_that_was_interrupted_is_finished(path: Path) -> None:
    """The process was killed after the tables were brought to this version: copies of rows are
    still in the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("BEGIN IMMEDIATE")
        migrate(db)
        db.execute("COMMIT")
    content = path.read_bytes()
    assert sum(content.count(name(seed).encode()) for seed in range(300)) > 300
    require_nothing_left(path)


def test_a_removal_finishes_what_another_process_has_not_rewritten_yet(path: Path) -> None:
    with closing(Voiceprints(path, model=MODEL)) as voiceprints:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA secure_delete = OFF")
            db.execute("INSERT INTO meta VALUES ('rewrite', '')")
            db.execute("UPDATE users SET name = name || 'longer' WHERE id % 2")  # moves rows
            db.execute("UPDATE users SET name = substr(name, 1, length(name) - 6) WHERE id % 2")
            db.commit()
        assert name(0).encode() in path.read_bytes()
        assert voiceprints.remove(name(0))
        assert name(0).encode() not in b"".join(map(Path.read_bytes, path.parent.iterdir()))
        assert voiceprints.check() == []


def test_a_bad_row_is_refused_only_where_it_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE users SET voiceprint = x'00' WHERE name = ?", (name(5),))
        db.commit()
    with closing(Voiceprints(path, model=MODEL)) as voiceprints:
        assert voiceprints.remove(name(5))
        assert voiceprints.nearest(recordings(6)[0])[0] == name(6)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


READ_ONLY = """
import os, sys
import numpy as np
import numpy.random  # while the folder of Python's modules can be read
from vprtrain.errors import RunError
from vprtrain.voiceprints.database import Voiceprints
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind the superuser
voiceprints = Voiceprints(sys.argv[1], model="ab" * 32)
probe = np.random.default_rng(7).standard_normal((2, 192)).astype("float32")[0]
print(len(voiceprints.users()), voiceprints.nearest(probe)[0], voiceprints.check())
try:
    voiceprints.remove("user")
    voiceprints.add("user", probe)
except RunError as error:
    print("refused", "\\n" in str(error))
"""


def test_a_file_that_cannot_be_written_is_read_as_it_is(path: Path, open_folder: Path) -> None:
    copy = Path(shutil.copy(path, open_folder / "voiceprints.db"))
    copy.chmod(0o444)
    before = copy.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, copy], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout == f"300 {name(7)} []\nrefused False\n", done.stderr
    assert copy.read_bytes() == before and os.listdir(open_folder) == [copy.name]
