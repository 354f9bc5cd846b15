"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.own_modules import add_import, has_chosen, import_chosen
from vprtrain.commands.printing import print_lines, print_warning
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.extractors.opening import FoundModel
    from vprtrain.inference import Predictor
    from vprtrain.voiceprints.database import Voiceprints

MANY = 100
"""Recordings. To embed them in Paddle takes about as long as to convert the model to ONNX and to
embed them there."""
Runtime: TypeAlias = Literal["auto", "paddle", "onnx"]
"""Those of :mod:`vprtrain.extractors`, for which NumPy would have to be loaded"""
Detector: TypeAlias = Literal["auto", "silero", "energy"]
"""The names of :func:`vprtrain.data.vad.open_detector`, for which NumPy would have to be loaded"""


def add_json(parser: CommandParser) -> None:
    """Declare ``--json``; :func:`print_result` obeys it."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def add_device(parser: CommandParser) -> None:
    """Declare ``--device``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")


def add_runtime(parser: CommandParser) -> None:
    """Declare ``--runtime``."""
    parser.add_argument(
        "--runtime",
        type=Runtime,
        default="auto",
        help="what computes embeddings: paddle, onnx (ONNX Runtime), or auto, the fastest one that "
        "is installed; a checkpoint stays in paddle where fewer than 100 embeddings are expected",
    )


def add_trained_checkpoint(parser: CommandParser) -> None:
    """Declare ``--checkpoint`` for commands that need a checkpoint with its training state."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a run directory (its best_model is used), or one generation in it",
    )
    add_import(parser)


def add_model_options(parser: CommandParser) -> None:
    """Declare which model computes embeddings, on which device, and of what in a recording."""
    add_model(parser)
    parser.add_argument(
        "--max_seconds",
        type=float,
        default=120.0,
        help="use only the beginning of longer recordings",
    )
    parser.add_argument(
        "--min_speech",
        type=float,
        default=0.5,
        help="net seconds of speech that a recording must have",
    )


def add_model(parser: CommandParser) -> None:
    """Declare which model computes embeddings, on which device, of which channel and which speech,
    without limits of a recording's length."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a run directory (its best_model is used), a checkpoint, or an exported model",
    )
    add_import(parser)
    add_device(parser)
    add_runtime(parser)
    parser.add_argument(
        "--channel",
        type=int | Literal["mix"],
        default=0,
        help="the channel of a recording with several, from 0; mix is the mean of all",
    )
    parser.add_argument(
        "--vad",
        type=Detector | None,
        default=None,
        help="use only the parts of a recording with speech, as this detector finds them: silero "
        "(pip install 'vprtrain[vad]'), energy, or auto, which is silero if it is installed; --vad "
        "alone is auto",
    )
    parser.add_argument(
        "--level_norm",
        action="store_true",
        help="scale every recording to the same level; quiet ones score lower without it",
    )


def name_detector(arguments: list[str]) -> list[str]:
    """The arguments of a command, with ``--vad=auto`` for ``--vad`` without a detector's name.

    Without this a recording after ``--vad`` would be taken for the name.
    """
    named = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        bare = argument == "--vad" and following not in get_args(Detector)
        named.append("--vad=auto" if bare else argument)
    return named


def add_conditions(parser: CommandParser) -> None:
    """Declare ``--by``, ``--by_table`` and ``--by_seconds``."""
    parser.add_argument(
        "--by",
        type=str | None,
        default=None,
        help="also give the metrics of each condition: genre (by names as CN-Celeb's), duration "
        "(of a trial's shorter side), or a column of --by_table, for example channel",
    )
    parser.add_argument(
        "--by_table",
        type=str | None,
        default=None,
        help="a table of utterances for --by, tab-separated or CSV; its first line names the "
        "columns, and its first column has the ids of the trials",
    )
    parser.add_argument(
        "--by_seconds",
        type=list[float],
        default=[2.0, 5.0, 10.0],
        help="seconds that divide the durations",
    )


def add_voiceprints(parser: CommandParser) -> None:
    """Declare ``--voiceprints``."""
    parser.add_argument(
        "--voiceprints",
        default="voiceprints.db",
        help="the database: a file, or postgresql://USER@HOST/DATABASE (pip install "
        "'vprtrain[postgres]')",
    )


def add_threshold(parser: CommandParser) -> None:
    """Declare ``--threshold``."""
    parser.add_argument(
        "--threshold",
        type=float | None,
        default=None,
        help="scores at or above it mean the same speaker; default: the threshold that validate "
        "or calibrate found for the checkpoint",
    )


def print_result(options: Namespace, result: Mapping[str, object], *lines: str) -> None:
    """Print the result as one JSON object with ``--json``, and the lines for people without."""
    if options.json:
        print(json.dumps(result))
    else:
        print_lines(*lines)


def prepare_model(options: Namespace, *, threads: int | None = None) -> FoundModel:
    """Set the process up for the model that the options of :func:`add_model_options` choose, and
    import the modules of the user. Paddle is imported only if one of them needs it.

    Args:
        threads: as of :func:`vprtrain.runtime.prepare`.
    """
    runtime.set_environment(threads=threads)  # before NumPy is imported, too

    from vprtrain.extractors.opening import find_model

    found = find_model(Path(options.checkpoint), options.device, runtime=options.runtime)
    runtime.prepare(threads=threads, paddle=found.needs_paddle or has_chosen(options))
    import_chosen(options)
    return found


@contextmanager
def open_predictor(
    options: Namespace, *, voiceprints: str | None = None, recordings: int = 1
) -> Iterator[Predictor]:
    """The predictor that the options of :func:`add_model_options` describe.

    Args:
        recordings: how many will be embedded. For :data:`MANY` it pays to convert a checkpoint.
    """
    found = prepare_model(options)

    from vprtrain.inference.predictor import Predictor

    with closing(
        Predictor(
            found.open(converts=recordings >= MANY),
            voiceprints,
            channel=options.channel,
            vad=options.vad,
            level_norm=options.level_norm,
            **{name: options[name] for name in ("max_seconds", "min_speech") if name in options},
        )
    ) as opened:
        if opened.state.synthetic_voices:
            print_warning(
                "this model was trained on synthetic voices: its scores of real recordings mean "
                "nothing (vprtrain pretrained lists models of real speech)"
            )
        yield opened


def existing_voiceprints(options: Namespace) -> str:
    """The database: its file, or its URL.

    Raises:
        UsageError: the file does not exist.
    """
    from vprtrain.voiceprints import is_postgres_url

    location = str(options.voiceprints)
    # unlike Path.exists, False for any odd path
    if not is_postgres_url(location) and not os.path.exists(location):
        raise UsageError(
            f"{location} does not exist: enrol a user first (vprtrain enroll), or name the "
            "database with --voiceprints"
        )
    return location


@contextmanager
def open_voiceprints(options: Namespace) -> Iterator[Voiceprints]:
    """The existing database, whichever model it belongs to."""
    from vprtrain.voiceprints.database import Voiceprints

    with closing(Voiceprints(existing_voiceprints(options), model=None)) as opened:
        yield opened


def threshold_of(predictor: Predictor, options: Namespace) -> float:
    """The threshold of ``--threshold``, or the checkpoint's without it.

    Raises:
        UsageError: the threshold is not in the scale of the scores, or the checkpoint has none.
    """
    if options.threshold is None:
        return predictor.threshold
    return predictor.matcher.checked_threshold(options.threshold, "--threshold")


def threshold_if_known(predictor: Predictor, options: Namespace) -> float | None:
    """:func:`threshold_of`, or ``None`` if neither ``--threshold`` nor the checkpoint has one."""
    if options.threshold is None and predictor.state.threshold is None:
        return None
    return threshold_of(predictor, options)
