"""The commands of ``vprtrain``."""

from __future__ import annotations

from vprtrain import runtime
from vprtrain.commands import program
from vprtrain.commands.average import average
from vprtrain.commands.calibrate import calibrate
from vprtrain.commands.contrast import contrast
from vprtrain.commands.convert import convert
from vprtrain.commands.demo import demo
from vprtrain.commands.diarize import diarize
from vprtrain.commands.embed import embed
from vprtrain.commands.enroll import enroll
from vprtrain.commands.export import export
from vprtrain.commands.fit import fit
from vprtrain.commands.identify import identify
from vprtrain.commands.launch import launch
from vprtrain.commands.prepare import prepare
from vprtrain.commands.pretrained import pretrained
from vprtrain.commands.record import record
from vprtrain.commands.remove import remove
from vprtrain.commands.score import score
from vprtrain.commands.serve import serve
from vprtrain.commands.simulate import simulate
from vprtrain.commands.users import users
from vprtrain.commands.validate import validate
from vprtrain.version import __version__

COMMANDS: tuple[program.Command, ...] = (
    *(demo, prepare, fit, validate, export, launch, average, convert, score),
    *(pretrained, calibrate, simulate),
    *(contrast, embed, enroll, identify, diarize, users, remove, record, serve),
)


def main(arguments: list[str]) -> int | None:
    """Run the command that the first argument names; the exit status."""
    if arguments == ["--version"]:
        print(f"vprtrain {__version__}")
        return 0
    runtime.log_to_stderr()
    return program.choose(
        *COMMANDS,
        description="Train, evaluate and use speaker-verification models.",
        prog="vprtrain",
    )(arguments)
