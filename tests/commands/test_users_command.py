"""``vprtrain users``: old users are listed and removed, and databases copied and compacted."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vprtrain.commands import program
from vprtrain.commands.main import main
from vprtrain.voiceprints import Voiceprints
from vprtrain.voiceprints.codes import encode
from vprtrain.voiceprints.store import RecordingRow


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command in a folder with a database of Ann, enrolled in 2020, and Bob, enrolled now."""
    monkeypatch.chdir(tmp_path)
    vector = np.eye(8, dtype="float32")[:1]
    with closing(Voiceprints("voiceprints.db", model="m")) as voiceprints:
        with voiceprints._transaction(write=True):
            store = voiceprints._store
            key = store.insert("Ann", encode(vector).tobytes(), vector.tobytes())
            store.record(key, [RecordingRow(vector.tobytes(), "2020-02-02T00:00:00Z", "door")])
            store.note_change(key)
        voiceprints.add("Bob", np.eye(8, dtype="float32")[1])

    def users(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return program.status(main, ["users", *arguments]), *capsys.readouterr()

    return users


def test_old_users_are_listed_and_removed_when_it_is_said(run) -> None:
    assert run() == (0, "Ann\t1\nBob\t1\n", "")
    assert run("--older_than", "365") == (0, "Ann\t1\n", "")
    status, said, error = run("--remove")
    assert (status, said) == (2, "") and "--remove needs --older_than" in error
    assert run("--older_than=365", "--remove") == (0, "Ann\t1\n1 users removed\n", "")
    assert run("--older_than=365", "--remove", "--json")[1] == (
        '{"users": [], "recordings": {}, "removed": []}\n'
    )
    assert run() == (0, "Bob\t1\n", "")
    status, said, error = run("--older_than=1e9")
    assert status == 2 and "expected a number of days" in error


def test_the_purpose_is_exported(run) -> None:
    (recording,) = json.loads(run("--export", "Ann")[1])["recordings"]
    assert recording["purpose"] == "door" and recording["enrolled_at"] == "2020-02-02T00:00:00Z"


def test_a_database_is_copied_and_compacted(run, tmp_path: Path) -> None:
    assert run("--copy_to", "copy.db") == (0, "2 users are copied to copy.db\n", "")
    status, _, error = run("--copy_to", "copy.db")
    assert status == 2 and "copy.db has users already" in error
    assert run("--compact", "--json")[1] == '{"compacted": "voiceprints.db"}\n'
    assert run("--voiceprints=copy.db") == (0, "Ann\t1\nBob\t1\n", "")
