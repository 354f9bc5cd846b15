"""G9 and restarts: ``vprtrain launch`` with Paddle's real launcher and a script that starts
fast."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import children, wait_until

from vprtrain.ranks.restarts import committed_position

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "launched_script.py"
LIMIT = 300  # seconds; a start takes 5 to 9 on an idle machine


def start(
    folder: Path, *events: str, steps: int, options: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Start ``vprtrain launch`` with the script on two ranks, in a folder; the run is in
    ``folder/run``."""
    command = [
        sys.executable,
        "-m",
        "vprtrain",
        "launch",
        "--nprocs",
        "2",
        *options,
        "--",
        str(SCRIPT),
        "run",
    ]
    return subprocess.Popen(
        [*command, str(steps), *events],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


def ranks_alive(folder: Path) -> list[int]:
    """The living processes of the script, of any attempt."""
    pids = [int(path.stem) for path in (folder / "run").glob("*.pid")]
    return [pid for pid in pids if b"launched_script.py" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def paddles_launcher(wrapper: int) -> int | None:
    """The child of ``vprtrain launch`` that starts the ranks."""
    started = children(wrapper)
    return next((pid for pid in started if b"paddle.distributed.launch" in command_line(pid)), None)


def has_reached(folder: Path, step: int) -> bool:
    position = committed_position(folder / "run")
    return position is not None and position.step >= step


def test_crashes_are_restarted_until_one_makes_no_progress(folder: Path) -> None:
    process = start(
        folder, "5:1:3", "40:1:SIGKILL", "70:0:4", steps=90, options=("--max-restarts", "9")
    )
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 4, errors
    assert (
        "rank 1 ended with status 3, then rank 0 ended with status 143; rank_1.log ends with"
        in errors
    )
    assert "  rank 1 fails at step 5\n" in errors
    assert "rank 1 was killed by SIGKILL, then rank 0" in errors
    assert [
        line.split(" of")[0][9:] for line in errors.splitlines() if "restart " in line[8:17]
    ] == [
        "restart 1",
        "restart 2",
        "restart 3",
    ]
    assert errors.splitlines()[-1].startswith(
        "error: rank 0 failed with status 4 and is not restarted: "
    )
    assert "step 69 is the newest" in errors
    assert said.startswith("rank 0 begins at 0\n") and said.count("rank 0 begins at ") == 4
    assert said.count("rank 0 begins at 69\n") == 1 and "rank 1" not in said
    assert not ranks_alive(folder)
    # The files in which Paddle's launcher writes the environment are gone; the ranks' logs remain.
    assert sorted(path.name for path in folder.iterdir()) == ["run", "tmp"]
    assert not [
        path
        for path in folder.rglob("*")
        if "env" in path.name or path.name.startswith("workerlog")
    ]
    [logs] = (folder / "tmp").iterdir()
    assert sorted(path.name for path in logs.iterdir()) == ["rank_0.log", "rank_1.log"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_all_ranks_and_is_the_exit_status(
    folder: Path, number: signal.Signals, status: int
) -> None:
    process = start(folder, steps=1000, options=("--log_dir", "logs"))
    wait_until(lambda: has_reached(folder, 3))
    process.send_signal(number)
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == status, errors
    assert "rank 0 stops before step" in said
    assert "rank 1 stops before step" in (folder / "logs" / "rank_1.log").read_text()
    assert errors == ""
    assert not ranks_alive(folder) and not list((folder / "tmp").iterdir())


def test_a_killed_launcher_leaves_no_orphan_and_is_started_again(folder: Path) -> None:
    """G9: the second launcher is killed before its ranks can report the run directory, which is
    known from the first attempt."""
    process = start(folder, steps=1000)
    wait_until(lambda: has_reached(folder, 3))
    ranks, launcher = ranks_alive(folder), paddles_launcher(process.pid)
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: not set(ranks) & set(ranks_alive(folder)))
    wait_until(lambda: paddles_launcher(process.pid) not in (None, launcher))
    os.kill(paddles_launcher(process.pid), signal.SIGKILL)
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGKILL
    step = committed_position(folder / "run").step
    assert (
        "Paddle's launcher was killed by SIGKILL" in errors
        and f"restart 1 of 3, from step {step}\n" in errors
    )
    assert (
        f"made no progress since the previous restart (step {step} is the newest)"
        in errors.splitlines()[-1]
    )
    assert said.count("rank 0 begins at ") == 1 and not ranks_alive(folder)


def test_the_secret_is_in_the_ranks_environment_and_in_nothing_that_paddle_writes(
    folder: Path,
) -> None:
    process = start(folder, steps=1000, options=("--log_dir", "logs"))
    wait_until(lambda: has_reached(folder, 3) and len(ranks_alive(folder)) == 2)
    [secret] = {secret_of(pid) for pid in ranks_alive(folder)}
    assert secret is not None and len(secret) == 64
    assert secret_of(paddles_launcher(process.pid)) is None
    files = [path for path in (folder / "tmp").rglob("*") if path.is_file()]
    assert any(path.name.startswith("envlog") for path in files), "Paddle's launcher wrote none"
    [holder] = [path for path in files if secret in path.read_bytes()]
    assert holder.name == "secret"
    assert (holder.stat().st_mode & 0o777, holder.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=LIMIT)
    assert secret.decode() not in said + errors and not holder.exists()


def secret_of(pid: int) -> bytes | None:
    """The secret in the environment of a process."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((each[16:] for each in variables if each.startswith(b"VPRTRAIN_SECRET=")), None)


def test_nothing_goes_on_without_the_command(folder: Path) -> None:
    """G9: Paddle's launcher and its ranks stop when ``vprtrain launch`` is killed."""
    process = start(folder, steps=1000, options=("--log_dir", "logs"))
    wait_until(lambda: has_reached(folder, 3) and len(ranks_alive(folder)) == 2)
    launcher = paddles_launcher(process.pid)
    process.kill()
    process.communicate(timeout=LIMIT)
    wait_until(lambda: not ranks_alive(folder) and not command_line(launcher))
    assert "rank 1 stops before step" in (folder / "logs" / "rank_1.log").read_text()
