"""``vprtrain launch``: what it refuses before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vprtrain.commands.launch import launch
from vprtrain.commands.program import choose
from vprtrain.errors import UsageError
from vprtrain.ranks.launcher import Launch

SCRIPT = str(Path(__file__))


def run(*arguments: str) -> None:
    choose(launch, description="", prog="vprtrain")(["launch", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "0,1"], "no command to launch"),
        (["--devices", "0,1", "--"], "no command to launch"),
        (["--", "no/such/run.py", "fit"], "no/such/run.py is not a file"),
        (["--nnodes", "2", "--", SCRIPT], "give --master HOST:PORT"),
        (["--max-restarts", "-1", "--", SCRIPT], "expected 0 or more"),
        (["--device", "0", "--", SCRIPT], "the closest is '--devices'"),
        (["--devices", "0", SCRIPT], "no command to launch"),
    ],
)
def test_what_cannot_be_launched_is_said_in_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(*arguments)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("secret", "options", "said"),
    [
        (None, ["--nnodes", "2", "--master", "a:1"], "VPRTRAIN_SECRET is not set"),
        ("", [], "VPRTRAIN_SECRET has 0 bytes"),
        ("not long enough", [], "VPRTRAIN_SECRET has 15 bytes; expected 16 or more"),
    ],
)
def test_a_secret_that_is_missing_or_too_short_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, secret: str | None, options: list[str], said: str
) -> None:
    if secret is None:
        monkeypatch.delenv("VPRTRAIN_SECRET", raising=False)
    else:
        monkeypatch.setenv("VPRTRAIN_SECRET", secret)
    with pytest.raises(UsageError) as refused:
        run(*options, "--", SCRIPT)
    message = str(refused.value)
    assert said in message and "\n" not in message and "openssl rand -hex 32" in message
    assert not secret or secret not in message


def test_the_scripts_own_options_are_not_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Recorded:
        def __init__(self, **options: object) -> None:
            made.append(options)

        def run(self) -> int:
            return 0

    monkeypatch.setattr("vprtrain.ranks.launcher.Launch", Recorded)
    monkeypatch.setenv("VPRTRAIN_SECRET", "the secret of two machines")
    command = [SCRIPT, "fit", "--devices=9", "--", "--max-restarts=7"]
    run(
        "--devices=0,1",
        "--nnodes=2",
        "--master=a:6000",
        "--node_rank=1",
        "--max-restarts=2",
        "--",
        *command,
    )
    assert made == [
        {
            "options": ["--devices=0,1", "--nnodes=2", "--master=a:6000", "--rank=1"],
            "command": command,
            "secret": b"the secret of two machines",
            "max_restarts": 2,
            "logs": None,
        }
    ]


def test_a_folder_for_logs_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--log_dir .* cannot be made"):
        Launch(options=[], command=[SCRIPT], secret=None, max_restarts=0, logs=Path(SCRIPT)).run()


def test_output_that_nobody_reads_any_more_does_not_end_the_launch(tmp_path: Path) -> None:
    """Ctrl-C ends the `tee` behind a pipe too, and the ranks have a checkpoint to save."""
    (tmp_path / "rank_0.log").write_text("")
    script = (
        "import os, sys; from pathlib import Path; from vprtrain.ranks.rank_logs import RankLogs\n"
        "folder = Path(sys.argv[1]); logs = RankLogs(folder)\n"
        "reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1)\n"
        "(folder / 'rank_0.log').write_text('step 1'); logs.show(0); logs.show(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
