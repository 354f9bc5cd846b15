"""The command line: one module a command, and what the commands share."""

from vprtrain.commands.config import CommandParser
from vprtrain.commands.program import Command, Main, choose, run, status

__all__ = [
    "Command",
    "CommandParser",
    "Main",
    "choose",
    "run",
    "status",
]
