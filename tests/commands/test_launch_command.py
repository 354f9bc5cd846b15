"""``vprtrain launch``: what it refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.cli import choose
from vprtrain.commands.launch import launch
from vprtrain.errors import UsageError

SCRIPT = str(Path(__file__))


def run(*arguments: str) -> None:
    choose(launch, description="", prog="vprtrain")(["launch", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "0,1"], "no command to launch"),
        (["--devices", "0,1", "--"], "no command to launch"),
        (["--", "no/such/run.py", "fit"], "no/such/run.py is no file"),
        (["--nnodes", "2", "--", SCRIPT], "give --master HOST:PORT"),
        (["--max-restarts", "-1", "--", SCRIPT], "expected 0 or more"),
        (["--device", "0", "--", SCRIPT], "the closest is 'devices'"),
        (["--devices", "0", SCRIPT], "no command to launch"),
    ],
)
def test_what_cannot_be_launched_is_said_in_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(*arguments)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_scripts_own_options_are_not_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Recorded:
        def __init__(self, **options: object) -> None:
            made.append(options)

        def run(self) -> int:
            return 0

    monkeypatch.setattr("vprtrain.launch.Launch", Recorded)
    command = [SCRIPT, "fit", "--devices=9", "--", "--max-restarts=7"]
    run("--devices=0,1", "--nnodes=2", "--master=a:6000", "--node_rank=1", "--max-restarts=2", "--", *command)
    assert made == [
        {
            "options": ["--devices=0,1", "--nnodes=2", "--master=a:6000", "--rank=1"],
            "command": command,
            "max_restarts": 2,
            "logs": None,
        }
    ]
