"""``vprtrain enroll``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    MANY,
    add_json,
    add_model_options,
    add_voiceprints,
    name_detector,
    open_predictor,
    print_result,
)
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError


def enroll(parser: CommandParser, arguments: list[str]) -> int:
    """Enrol recordings of one user, or a folder with a subfolder of recordings for every user.

    The user NAME may be enrolled already. If one of the FILES cannot be used, none is enrolled.
    With --folder (for example ppvector's audio_db), users who are enrolled already are skipped, and
    recordings that cannot be used are skipped and named.
    """
    parser.add_argument("name", nargs="?", help="the user's name, any text")
    parser.add_argument("files", nargs="*", help="recordings of the user, in any format")
    parser.add_argument(
        "--folder", type=str | None, default=None, help="instead of NAME and FILES: FOLDER/<user>/*"
    )
    parser.add_argument(
        "--purpose",
        default="",
        metavar="TEXT",
        help="what the recordings may be used for; it is stored with each of them",
    )
    parser.add_argument(
        "--check_single_speaker",
        action="store_true",
        help="refuse recordings with more than one voice",
    )
    add_model_options(parser)
    add_voiceprints(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    complete = options.name and options.files if options.folder is None else not options.name
    if not complete:
        raise UsageError(
            "expected a NAME and one or more FILES, or --folder FOLDER alone (--help explains them)"
        )
    if options.folder is not None:
        return _enroll_folder(Path(options.folder), options)
    return _enroll_files(options)


def _enroll_files(options: Namespace) -> int:
    from vprtrain.voiceprints import checked_name, checked_purpose

    user, purpose = checked_name(options.name), checked_purpose(options.purpose)
    with open_predictor(options, voiceprints=options.voiceprints) as predictor:
        for file in options.files if options.check_single_speaker else ():
            predictor.require_one_speaker(file)
        embeddings = predictor.embed_batch(options.files, enrolment=True)
        count = predictor.voiceprints.add(user, embeddings, purpose=purpose)
        place = predictor.voiceprints.place
    print_result(
        options,
        {"user": user, "recordings": count},
        f"{user}: {count} recording{'s' if count > 1 else ''} in {place}",
    )
    return 0


def _enroll_folder(folder: Path, options: Namespace) -> int:
    """The exit status is 1 when the folder holds no user that could be enrolled."""
    with open_predictor(options, voiceprints=options.voiceprints, recordings=MANY) as predictor:
        from vprtrain.inference.folder_enrolment import enroll_folder

        found = enroll_folder(
            predictor,
            folder,
            purpose=options.purpose,
            single_speaker=options.check_single_speaker,
        )
        database = predictor.voiceprints.place
    for place, reason in found.refused.items():
        print_warning(f"{place}: {reason}")
    print_result(
        options,
        found._asdict(),
        f"{len(found.enrolled)} users with {sum(found.enrolled.values())} recordings enrolled in "
        f"{database}; {len(found.known)} were enrolled before, "
        f"{len(found.refused)} refused",
    )
    return 0 if found.enrolled or found.known else 1
