"""The command ``vprtrain``: models in use, beside the recipes that train them."""

from __future__ import annotations

from vprtrain import cli, runtime
from vprtrain.commands.convert import convert

COMMANDS: tuple[cli.Command, ...] = (convert,)


def main(arguments: list[str]) -> int | None:
    runtime.log_to_stderr()
    return cli.choose(*COMMANDS, description="Use and convert speaker-verification models.", prog="vprtrain")(arguments)


def console() -> None:
    """The console script."""
    cli.run(main)


if __name__ == "__main__":
    console()
