"""``vprtrain score --rttm``: who speaks when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import print_result
from vprtrain.commands.printing import print_warning
from vprtrain.errors import UsageError

_OWN = ("uem", "collar", "skip_overlap", "out")
_SHARED = ("rttm", "trials", "scores", "json", "config")
_NAMED = 5  # recordings in a warning


def add_rttm_options(parser: CommandParser) -> None:
    """Declare ``--rttm`` and the options that go with it."""
    parser.add_argument(
        "--rttm",
        action="store_true",
        help="score who speaks when: TRIALS is the reference and SCORES the hypothesis, each an "
        "RTTM file or a folder of them",
    )
    parser.add_argument(
        "--uem",
        type=str | None,
        default=None,
        help="with --rttm: a UEM file, or a folder of them, with the parts that are scored",
    )
    parser.add_argument(
        "--collar",
        type=float,
        default=0.0,
        help="with --rttm: seconds on each side of a reference boundary that are not scored; "
        "often 0.25",
    )
    parser.add_argument(
        "--skip_overlap",
        action="store_true",
        help="with --rttm: do not score where several speakers of the reference speak",
    )
    parser.add_argument(
        "--out", type=str | None, default=None, help="with --rttm: the folder of a report"
    )


def score_rttm(parser: CommandParser, options: Namespace) -> int:
    """Score the RTTM files that the options name."""
    _refuse_others(parser, options)

    from vprtrain.scoring.diarization_evaluation import (
        evaluate_diarization,
        read_scored_parts,
        read_timelines,
    )
    from vprtrain.scoring.text_table import text_table

    reference, hypothesis = read_timelines(options.trials), read_timelines(options.scores)
    evaluation = evaluate_diarization(
        reference,
        hypothesis,
        scored=None if options.uem is None else read_scored_parts(options.uem),
        collar=options.collar,
        skip_overlap=options.skip_overlap,
    )
    _warn(evaluation.missing, f"not in {options.scores}, scored as if no speech was found")
    _warn(evaluation.surplus, f"not in {options.trials}, ignored")
    _warn(evaluation.unlisted, f"not in {options.uem}, ignored")
    if not evaluation.total.speech:
        print_warning("no speech of the reference is scored: see --uem, --collar, --skip_overlap")
    if options.out is not None:
        from vprtrain.scoring.diarization_report import write_diarization_report

        facts = {"reference": options.trials, "hypothesis": options.scores, "uem": options.uem}
        write_diarization_report(
            Path(options.out),
            evaluation,
            facts=facts,
            reference=reference,
            hypothesis=hypothesis,
        )
    print_result(options, evaluation.as_json(), *text_table(evaluation.table()))
    return 0


def refuse_rttm_options(parser: CommandParser, options: Namespace) -> None:
    """Refuse options that go with ``--rttm`` only.

    Raises:
        UsageError: one of them is given.
    """
    for name in _OWN:
        if options[name] != parser.get_default(name):
            raise UsageError(f"--{name} goes with --rttm, which scores who speaks when")


def _refuse_others(parser: CommandParser, options: Namespace) -> None:
    for name in vars(options):
        if name not in (*_OWN, *_SHARED) and options[name] != parser.get_default(name):
            raise UsageError(f"--{name} is for trials, and does not go with --rttm")


def _warn(names: Sequence[str], what: str) -> None:
    if names:
        more = ", ..." if len(names) > _NAMED else ""
        print_warning(f"recordings {what} ({len(names):,}): {', '.join(names[:_NAMED])}{more}")
