"""What the commands that use a trained model share: their options, and the model they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.inference.predictor import Predictor


def add_model_options(parser: CommandParser) -> None:
    """Declare which model computes, and where."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a run directory (its best_model), a checkpoint, or an exported model",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument(
        "--max_seconds",
        type=float,
        default=120.0,
        help="of longer recordings only the beginning is used",
    )


def add_voiceprints(parser: CommandParser) -> None:
    """Declare the database."""
    parser.add_argument("--voiceprints", default="voiceprints.db", help="the database's file")


def add_threshold(parser: CommandParser) -> None:
    """Declare where the same speaker begins."""
    parser.add_argument(
        "--threshold",
        type=float | None,
        default=None,
        help="the score from which on it is the same speaker; default: the one that the checkpoint's validation found",
    )


def add_json(parser: CommandParser) -> None:
    """Declare ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


@contextmanager
def open_predictor(options: Namespace, *, voiceprints: Path | None = None) -> Iterator[Predictor]:
    """The predictor that the options describe."""
    runtime.prepare()

    from vprtrain.inference.predictor import Predictor

    with closing(
        Predictor(options.checkpoint, voiceprints, options.device, max_seconds=options.max_seconds)
    ) as opened:
        yield opened


def existing_voiceprints(options: Namespace) -> Path:
    """The database's file.

    Raises:
        UsageError: it is not there.
    """
    path = Path(options.voiceprints)
    if not path.exists():
        raise UsageError(
            f"{path} is not there: enrol somebody first (vprtrain enroll), or name it with --voiceprints"
        )
    return path


def threshold_of(predictor: Predictor, options: Namespace) -> float:
    """The threshold that is asked for, or the checkpoint's.

    Raises:
        UsageError: it is no cosine, or there is none.
    """
    if options.threshold is None:
        return predictor.threshold
    if not -1 <= options.threshold <= 1:
        raise UsageError(
            f"--threshold is {options.threshold}: scores are cosines, expected -1 to 1"
        )
    return float(options.threshold)
