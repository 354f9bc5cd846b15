"""``vprtrain users``."""

from __future__ import annotations

import json
from contextlib import closing

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import add_json, add_voiceprints, open_voiceprints, print_result
from vprtrain.errors import UsageError, printable


def users(parser: CommandParser, arguments: list[str]) -> int:
    """List the enrolled users and the number of recordings of each.

    --older_than lists only users whose newest recording was enrolled so long ago; with --remove
    they are removed. --export prints everything that is stored of one user, as JSON. --copy_to
    copies all users into an empty database. --check looks for damage and ends with status 1 when it
    finds any.
    """
    add_voiceprints(parser)
    # The default is not None: "null" on the command line would mean it, and may be a user's name.
    parser.add_argument(
        "--export", default="", metavar="NAME", help="print everything stored of this user"
    )
    parser.add_argument("--check", action="store_true", help="check the integrity of the database")
    parser.add_argument(
        "--older_than",
        type=float | None,
        default=None,
        metavar="DAYS",
        help="only users whose newest recording was enrolled more than so many days ago",
    )
    parser.add_argument(
        "--remove",
        action="store_true",
        help="with --older_than: remove these users and everything stored of them",
    )
    parser.add_argument(
        "--copy_to",
        default="",
        metavar="DATABASE",
        help="copy all users into another database, a file or postgresql://...",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="give the space of removed users back to the disk; the database is written anew",
    )
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.remove and options.older_than is None:
        raise UsageError("--remove needs --older_than DAYS; vprtrain remove NAME removes one user")
    if options.export:
        with open_voiceprints(options) as voiceprints:
            print(json.dumps(voiceprints.export(options.export)))
        return 0
    if options.copy_to:
        return _copy(options)
    if options.compact:
        return _compact(options)
    return _check(options) if options.check else _list(options)


def _check(options: Namespace) -> int:
    with open_voiceprints(options) as voiceprints:
        problems = voiceprints.check()
        lines = problems or [f"{voiceprints.place}: no damage found"]
    print_result(options, {"problems": problems}, *lines)
    return 1 if problems else 0


def _copy(options: Namespace) -> int:
    from vprtrain.voiceprints import Voiceprints

    with (
        open_voiceprints(options) as source,
        closing(Voiceprints(options.copy_to, model=source.model)) as target,
    ):
        copied = source.copy_to(target)
        place = target.place
    print_result(options, {"copied": copied, "to": place}, f"{copied} users are copied to {place}")
    return 0


def _compact(options: Namespace) -> int:
    with open_voiceprints(options) as voiceprints:
        voiceprints.compact()
        place = voiceprints.place
    print_result(options, {"compacted": place}, f"{place} is written anew")
    return 0


def _list(options: Namespace) -> int:
    with open_voiceprints(options) as voiceprints:
        found = voiceprints.users(older_than=options.older_than)
        removed = [user for user in found if options.remove and voiceprints.remove(user)]
    lines = [f"{printable(user)}\t{count}" for user, count in found.items()]
    result: dict[str, object] = {"users": list(found), "recordings": found}
    if options.remove:
        result["removed"] = removed
        lines.append(f"{len(removed)} users removed")
    print_result(options, result, *(lines or ["nobody is enrolled"]))
    return 0
