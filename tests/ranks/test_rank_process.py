"""The handshake between a training process and ``vprtrain launch``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy import ToyData, ToyModule

from vprtrain.engine import Engine
from vprtrain.ranks import rank_process
from vprtrain.ranks.rank_process import (
    HANDSHAKE,
    SECRET_FILE,
    announce_failure,
    announce_run_dir,
    announced_run_dir,
    log_file,
    read_records,
)


def test_a_run_directory_is_announced_to_vprtrain_launch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handshake = tmp_path / "handshake"
    handshake.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(HANDSHAKE, raising=False)
    announce_run_dir(Path("models"))
    assert announced_run_dir(handshake) is None
    monkeypatch.setenv(HANDSHAKE, str(handshake))
    announce_run_dir(Path("models"))
    assert announced_run_dir(handshake) == tmp_path / "models"
    assert [path.name for path in handshake.iterdir()] == ["run_dir"]


def test_a_fit_announces_its_run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HANDSHAKE, str(tmp_path))
    Engine(run_dir=tmp_path / "run", max_steps=1).fit(ToyModule(), ToyData())
    assert announced_run_dir(tmp_path) == tmp_path / "run"


def test_announcing_to_a_launch_that_has_ended_does_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(HANDSHAKE, str(tmp_path / "gone"))
    announce_run_dir(Path("models"))
    announce_failure()
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("code", "status", "returned"),
    [
        ("print('output')", 0, 0),
        ("raise SystemExit(3)", 3, 3),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, 137),
    ],
)
def test_what_a_rank_says_and_how_it_ends_is_kept(
    tmp_path: Path, code: str, status: int, returned: int
) -> None:
    script = tmp_path / "script.py"
    script.write_text(code)
    (tmp_path / SECRET_FILE).write_text("the secret of the run")
    environment = os.environ | {"PADDLE_TRAINER_ID": "3", "PADDLE_LOCAL_RANK": "1"}
    command = [sys.executable, rank_process.__file__, str(tmp_path), str(tmp_path), str(script)]
    done = subprocess.run(command, env=environment, timeout=60, capture_output=True)
    assert done.returncode == returned
    [record] = read_records(tmp_path)
    assert (record.rank, record.local_rank, record.status) == (3, 1, status)
    assert log_file(tmp_path, 3).read_text() == ("output\n" if status == 0 else "")
    assert not done.stdout and not done.stderr


def test_the_secret_reaches_the_script_as_it_is(tmp_path: Path) -> None:
    secret = b"a secret \xff with spaces "
    (tmp_path / SECRET_FILE).write_bytes(secret)
    script = tmp_path / "script.py"
    script.write_text("import os, sys; sys.stdout.buffer.write(os.environb[b'VPRTRAIN_SECRET'])")
    environment = os.environ | {"PADDLE_TRAINER_ID": "0", "PADDLE_LOCAL_RANK": "0"}
    command = [sys.executable, rank_process.__file__, str(tmp_path), str(tmp_path), str(script)]
    subprocess.run(command, env=environment, timeout=60, check=True)
    assert log_file(tmp_path, 0).read_bytes() == secret


def test_the_rank_that_failed_by_itself_counts_as_first_though_others_end_earlier(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, at in ((0, 2_000), (1, 2**62)):
        record = {"rank": number, "local_rank": number, "status": 1, "at": at}
        (tmp_path / f"rank.{number}.json").write_text(json.dumps(record))
    assert min(read_records(tmp_path), key=lambda record: record.at).rank == 0
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.setattr("time.monotonic_ns", lambda: 1_000)
    monkeypatch.delenv(HANDSHAKE, raising=False)
    announce_failure()
    assert not list(tmp_path.glob("failed*"))
    monkeypatch.setenv(HANDSHAKE, str(tmp_path))
    announce_failure()
    assert [(record.rank, record.at) for record in read_records(tmp_path)] == [
        (0, 2_000),
        (1, 1_000),
    ]
