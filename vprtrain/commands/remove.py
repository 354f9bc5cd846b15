"""``vprtrain remove``."""

from __future__ import annotations

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, add_voiceprints, open_voiceprints, print_result


def remove(parser: CommandParser, arguments: list[str]) -> int:
    """Remove a user and everything stored of them.

    The exit status is 1 when no user has that name.
    """
    parser.add_argument("name", help="the user's name")
    add_voiceprints(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    with open_voiceprints(options) as voiceprints:
        removed = voiceprints.remove(options.name)
    print_result(
        options,
        {"user": options.name, "removed": removed},
        f"{options.name}: {'removed' if removed else 'nobody is enrolled by this name'}",
    )
    return 0 if removed else 1
