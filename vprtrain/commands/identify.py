"""``vprtrain identify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    add_json,
    add_model_options,
    add_threshold,
    add_voiceprints,
    existing_voiceprints,
    name_detector,
    open_predictor,
    print_result,
    threshold_of,
)
from vprtrain.commands.printing import print_lines
from vprtrain.commands.recordings import (
    add_recordings,
    chosen_recordings,
    is_single,
    voice_all,
)
from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.inference import Predictor


def identify(parser: CommandParser, arguments: list[str]) -> int:
    """Find which enrolled user speaks in each recording, if any.

    FILES, --list and --scp name the recordings. --out writes the results to a file. A recording
    that cannot be used is named and left out; the exit status is then 1.
    """
    add_recordings(parser, out="a .jsonl file for the results, an object in each line")
    add_model_options(parser)
    add_voiceprints(parser)
    add_threshold(parser)
    add_json(parser)
    options = parser.parse_args(name_detector(arguments))
    recordings = chosen_recordings(options)
    if options.out is not None and Path(options.out).suffix != ".jsonl":
        raise UsageError(f"{options.out} has another suffix: expected .jsonl")
    voiceprints = existing_voiceprints(options)
    with open_predictor(options, voiceprints=voiceprints, recordings=len(recordings)) as predictor:
        threshold = threshold_of(predictor, options)
        results = _results(predictor, recordings, threshold, options)
        if is_single(options):
            _print_one(options, next(results), threshold, predictor.runtime)
            return 0
        return _report(options, results, threshold, predictor.runtime)


def _results(
    predictor: Predictor, recordings: dict[str, str], threshold: float, options: Namespace
) -> Iterator[dict[str, Any]]:
    """For each recording its id with the user (``None`` below the threshold) and the score, or with
    the error."""
    refused: dict[str, str] = {}
    for key, voice in voice_all(predictor, recordings, options, refused):
        if isinstance(voice, Exception):
            yield {"id": key, "error": refused[key]}
        else:
            user, score = predictor.matcher.nearest(voice, threshold=threshold)
            yield {"id": key, "user": user, "score": score}


def _print_one(options: Namespace, result: dict[str, Any], threshold: float, runtime: str) -> None:
    print_result(
        options,
        {
            "user": result["user"],
            "score": result["score"],
            "threshold": threshold,
            "runtime": runtime,
        },
        f"{_verdict(result)}, threshold {threshold:.4f}",
    )


def _report(
    options: Namespace, results: Iterator[dict[str, Any]], threshold: float, runtime: str
) -> int:
    """Print or write the results of many recordings; the exit status."""
    from vprtrain.inference.embedding_files import write_json_lines

    rows = []
    for result in results:
        rows.append(result)
        if options.out is None and not options.json and "error" not in result:
            print_lines(f"{result['id']}: {_verdict(result)}")
    refused = {row["id"]: row["error"] for row in rows if "error" in row}
    content: dict[str, object] = {"results": rows, "threshold": threshold}
    written = ""
    if options.out is not None:
        write_json_lines(Path(options.out), rows)
        written = f"{options.out}: "
        count = len(rows) - len(refused)
        content = {
            "path": options.out,
            "recordings": count,
            "refused": refused,
            "threshold": threshold,
        }
    content["runtime"] = runtime
    users = sum(row.get("user") is not None for row in rows)
    print_result(
        options,
        content,
        f"{written}{users} of {len(rows)} recordings are of a user, {len(refused)} cannot be used; "
        f"threshold {threshold:.4f}",
    )
    return 1 if refused else 0


def _verdict(result: dict[str, Any]) -> str:
    return f"{result['user'] or 'none of the users'}: score {result['score']:.4f}"
