"""``vprtrain enroll``, ``users`` and ``remove``: the people in a database of voiceprints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.model_options import (
    add_json,
    add_model_options,
    add_voiceprints,
    existing_voiceprints,
    open_predictor,
)
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.voiceprints.database import Voiceprints


def enroll(parser: CommandParser, arguments: list[str]) -> int:
    """Enrol recordings of a user, new or known; or a folder that has a folder of recordings for
    every user.

    Of NAME's FILES, all are enrolled or none. With --folder (ppvector's audio_db is one), users who
    are enrolled already are passed over, and recordings that cannot be used are left out and named.
    """
    parser.add_argument("name", nargs="?", help="the user's name, any text")
    parser.add_argument("files", nargs="*", help="recordings of the user, in any format")
    parser.add_argument(
        "--folder", type=str | None, default=None, help="instead of NAME and FILES: FOLDER/<user>/*"
    )
    add_model_options(parser)
    add_voiceprints(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    complete = options.name and options.files if options.folder is None else not options.name
    if not complete:
        raise UsageError(
            "expected a NAME and one or more FILES, or --folder FOLDER alone (--help explains them)"
        )
    if options.folder is not None:
        return _enroll_folder(Path(options.folder), options)

    from vprtrain.voiceprints import checked_name

    user = checked_name(options.name)
    with open_predictor(options, voiceprints=Path(options.voiceprints)) as predictor:
        recordings = predictor.voiceprints.add(user, predictor.embed_batch(options.files))
    said = f"{user}: {recordings} recording{'s' if recordings > 1 else ''} in {options.voiceprints}"
    print(json.dumps({"user": user, "recordings": recordings}) if options.json else said)
    return 0


def _enroll_folder(folder: Path, options: Namespace) -> int:
    with open_predictor(options, voiceprints=Path(options.voiceprints)) as predictor:
        from vprtrain.inference.folder_enrolment import enroll_folder

        found = enroll_folder(predictor, folder)
    for place, reason in found.refused.items():
        print(f"warning: {place}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(found._asdict()))
    else:
        print(
            f"{len(found.enrolled)} users with {sum(found.enrolled.values())} recordings enrolled in "
            f"{options.voiceprints}; {len(found.known)} were there before, {len(found.refused)} things were refused"
        )
    return 0 if found.enrolled or found.known else 1


def users(parser: CommandParser, arguments: list[str]) -> int:
    """List the users of a database and how many recordings each has; or export one, or check the
    file.

    --export prints all that is stored of a user, as JSON. --check looks for damage, and ends with
    status 1 for any.
    """
    add_voiceprints(parser)
    # No default of None: "null" would mean that, and may be somebody's name.
    parser.add_argument("--export", default="", metavar="NAME", help="print all about this user")
    parser.add_argument("--check", action="store_true", help="check the integrity of the database")
    add_json(parser)
    options = parser.parse_args(arguments)

    with _open(options) as voiceprints:
        if options.export:
            print(json.dumps(voiceprints.export(options.export)))
            return 0
        if options.check:
            return _check(voiceprints, options)
        found = voiceprints.users()
    if options.json:
        print(json.dumps({"users": list(found), "recordings": found}))
    else:
        print(
            "\n".join(f"{user}\t{count}" for user, count in found.items()) or "nobody is enrolled"
        )
    return 0


def _check(voiceprints: Voiceprints, options: Namespace) -> int:
    problems = voiceprints.check()
    said = "\n".join(problems) or f"{options.voiceprints}: no damage found"
    print(json.dumps({"problems": problems}) if options.json else said)
    return 1 if problems else 0


def remove(parser: CommandParser, arguments: list[str]) -> int:
    """Remove a user and all that is stored of them; the exit status is 1 where nobody has that
    name."""
    parser.add_argument("name", help="the user's name")
    add_voiceprints(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    with _open(options) as voiceprints:
        removed = voiceprints.remove(options.name)
    said = f"{options.name}: {'removed' if removed else 'nobody is enrolled by this name'}"
    print(json.dumps({"user": options.name, "removed": removed}) if options.json else said)
    return 0 if removed else 1


@contextmanager
def _open(options: Namespace) -> Iterator[Voiceprints]:
    """The database of whichever model, for looking after its users."""
    from vprtrain.voiceprints.database import Voiceprints

    with closing(Voiceprints(existing_voiceprints(options), model=None)) as opened:
        yield opened
