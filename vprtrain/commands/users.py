"""``vprtrain users``."""

from __future__ import annotations

import json

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, add_voiceprints, open_voiceprints, print_result
from vprtrain.errors import printable


def users(parser: CommandParser, arguments: list[str]) -> int:
    """List the enrolled users and the number of recordings of each.

    --export prints everything that is stored of one user, as JSON. --check looks for damage and
    ends with status 1 when it finds any.
    """
    add_voiceprints(parser)
    # The default is not None: "null" on the command line would mean it, and may be a user's name.
    parser.add_argument(
        "--export", default="", metavar="NAME", help="print everything stored of this user"
    )
    parser.add_argument("--check", action="store_true", help="check the integrity of the database")
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.export:
        with open_voiceprints(options) as voiceprints:
            print(json.dumps(voiceprints.export(options.export)))
        return 0
    return _check(options) if options.check else _list(options)


def _check(options: Namespace) -> int:
    with open_voiceprints(options) as voiceprints:
        problems = voiceprints.check()
    lines = problems or [f"{options.voiceprints}: no damage found"]
    print_result(options, {"problems": problems}, *lines)
    return 1 if problems else 0


def _list(options: Namespace) -> int:
    with open_voiceprints(options) as voiceprints:
        found = voiceprints.users()
    lines = [f"{printable(user)}\t{count}" for user, count in found.items()]
    print_result(
        options,
        {"users": list(found), "recordings": found},
        *(lines or ["nobody is enrolled"]),
    )
    return 0
