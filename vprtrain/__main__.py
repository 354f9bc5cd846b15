"""The command ``vprtrain``: models in use, beside the recipes that train them."""

from __future__ import annotations

from vprtrain import runtime
from vprtrain.commands import program
from vprtrain.commands.average import average
from vprtrain.commands.convert import convert
from vprtrain.commands.enrolment import enroll, remove, users
from vprtrain.commands.export import export
from vprtrain.commands.launch import launch
from vprtrain.commands.prepare import prepare
from vprtrain.commands.recognition import contrast, embed, identify
from vprtrain.commands.record import record
from vprtrain.commands.score import score

COMMANDS: tuple[program.Command, ...] = (
    *(contrast, embed, enroll, identify, users, remove, record),
    *(average, convert, export, launch, prepare, score),
)


def main(arguments: list[str]) -> int | None:
    runtime.log_to_stderr()
    return program.choose(
        *COMMANDS, description="Use and convert speaker-verification models.", prog="vprtrain"
    )(arguments)


def console() -> None:
    """The console script."""
    program.run(main)


if __name__ == "__main__":
    console()
