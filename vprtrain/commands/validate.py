"""``vprtrain validate``."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.commands.config import CommandParser
from vprtrain.commands.options import (
    MANY,
    add_conditions,
    add_device,
    add_json,
    add_runtime,
    add_trained_checkpoint,
    print_result,
)
from vprtrain.commands.own_modules import import_chosen
from vprtrain.commands.recipe_options import add_recipe, split_recipe
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.files import path_from_here
from vprtrain.version import __version__

if TYPE_CHECKING:
    from vprtrain.checkpoint.state_file import SavedCheckpoint
    from vprtrain.evaluation.extraction import EmbeddingRuntime
    from vprtrain.evaluation.task import EvaluationTask
    from vprtrain.extractors.onnx import OnnxExtractor
    from vprtrain.recipes import Recipe

log = logging.getLogger(__name__)

_FILES = ("trials", "eval_manifest", "enroll", "enroll_list")


def validate(parser: CommandParser, arguments: list[str]) -> int:
    """Validate a checkpoint on a trial list: EER, minDCF and the threshold at the EER.

    The trials are those that the run was validated on, those of --recipe, or --data.trials; of
    several lists each is scored. Each utterance is embedded once, and its embedding is kept, so
    that an interrupted validation resumes. Where the data have averaged enrolments, concatenated
    ones are scored too. The report (report.html, report.json, pictures) is written beside the
    checkpoint.
    """
    recipe, others = split_recipe(arguments)
    runtime.prepare()
    add_options(parser)
    options = parser.parse_args(others)
    import_chosen(options)

    from vprtrain.checkpoint.links import BEST, resolve_checkpoint
    from vprtrain.evaluation import evaluate, report_folder
    from vprtrain.ranks import connect_ranks
    from vprtrain.speaker.state import SpeakerState

    with connect_ranks(cpu=options.device == "cpu").reporting():
        runtime.use_device(options.device)
        saved = resolve_checkpoint(Path(options.checkpoint), prefer=BEST)
        task = _task(options, saved, recipe)
        log.info("validating %s (step %d)", path_from_here(saved.folder), saved.state.step)
        out = report_folder(saved, task.trials) if options.out is None else Path(options.out)
        about = {
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(["vprtrain", "validate", *arguments]),
            "version": __version__,
        }
        results = evaluate(
            saved, task, out, connect_ranks(), about=about, choose_runtime=_runtime(saved, options)
        )
    if results:  # on rank 0 only
        lines = []
        for result in results:
            lines.append(f"{result.name}: {result.summary}")
            lines += [] if result.by_condition is None else result.by_condition.lines()
        backend = SpeakerState.of(saved).backend
        if not backend.is_cosine:
            lines.append(f"the checkpoint's back end, in whose scale its threshold is: {backend}")
        content: dict[str, Any] = {**results[0].metrics, "backend": backend.name}
        if results[0].by_condition is not None:
            content["by"] = results[0].by_condition.as_json()
        if not isinstance(task.trials, str):
            content["results"] = {result.name: result.metrics for result in results}
        print_result(options, content, *lines)
    return 0


def _runtime(
    saved: SavedCheckpoint, options: Namespace
) -> Callable[[int], EmbeddingRuntime | None]:
    """What computes the embeddings of a number of recordings: of few Paddle, with the bits of the
    validation during training."""
    from vprtrain.evaluation.extraction import EmbeddingRuntime
    from vprtrain.extractors.converted import convert, convert_if_worth_it
    from vprtrain.ranks import connect_ranks

    def choose(recordings: int) -> EmbeddingRuntime | None:
        is_alone = connect_ranks().size == 1
        converted: OnnxExtractor | None = None
        if options.runtime == "onnx":
            if not is_alone:
                raise UsageError("--runtime onnx is for one process: use auto or paddle")
            converted = convert(saved, device=options.device)
        elif options.runtime == "auto" and is_alone and recordings >= MANY:
            converted = convert_if_worth_it(saved, device=options.device)
        if converted is None:
            return None
        log.info("embeddings are computed by %s", converted.runtime)
        return EmbeddingRuntime(converted.runtime, converted.embed, converted.threads)

    return choose


def add_options(parser: CommandParser) -> None:
    """Declare the options of ``validate``."""
    from vprtrain.scoring.normalize import DEFAULT_TOP, Norm

    add_trained_checkpoint(parser)
    add_device(parser)
    add_runtime(parser)
    add_recipe(parser, "validate on the trials of this data set")
    _add_data_options(parser)
    parser.add_argument(
        "--max_seconds",
        type=float | None,
        default=None,
        help="use only the beginning of longer recordings; default: whole recordings",
    )
    parser.add_argument(
        "--cohort",
        type=str | None,
        default=None,
        help="a training manifest; its speakers are the cohort for score normalisation",
    )
    parser.add_argument(
        "--norm",
        type=Norm,
        default="as-norm",
        help="kind of score normalisation with --cohort; sub-mean only subtracts the cohort's mean",
    )
    parser.add_argument(
        "--top", type=int, default=DEFAULT_TOP, help="number of nearest cohort speakers in as-norm"
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        help="number of draws of the speakers for 95 % confidence intervals; 0: no intervals",
    )
    add_conditions(parser)
    parser.add_argument(
        "--write_scores",
        action="store_true",
        help="also write every trial's score, in lines of: enrol test score",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="folder of the report; default: validation/<generation>/<trial list> beside the "
        "checkpoint",
    )
    add_json(parser)


def _add_data_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--data.trials",
        type=str | dict[str, str] | None,
        default=None,
        help="trial list, or several by name as {a: PATH, b: PATH}; default: those that the run "
        "was validated on",
    )
    parser.add_argument(
        "--data.eval_manifest",
        type=str | None,
        default=None,
        help="with --data.trials: recordings, in lines of id<TAB>path",
    )
    parser.add_argument(
        "--data.enroll",
        type=str | None,
        default=None,
        help="with --data.trials: averaged enrolments, in lines of: enrol-id id id ...",
    )
    parser.add_argument(
        "--data.enroll_list",
        type=str | None,
        default=None,
        help="with --data.trials: ppvector's enrol list, --data.trials being its trials list",
    )
    parser.add_argument(
        "--data.workers", type=int, default=2, help="number of threads that read recordings"
    )


def _task(options: Namespace, saved: SavedCheckpoint, recipe: Recipe | None) -> EvaluationTask:
    """What is validated, and how.

    Raises:
        UsageError: no trial list is known, or its companions are given without it.
    """
    from vprtrain.evaluation.task import EvaluationTask
    from vprtrain.speaker.state import audio_format

    audio = audio_format(saved)
    files = _trial_files(options, saved, recipe)
    if files["trials"] is None:
        raise UsageError(
            f"{path_from_here(saved.folder)} was trained without trials: give --data.trials and "
            "--data.eval_manifest, or --recipe"
        )
    return EvaluationTask(
        data_set=recipe.title if recipe is not None and options.data.trials is None else None,
        trials=files["trials"],
        eval_manifest=files["eval_manifest"],
        enroll=files["enroll"],
        enroll_list=files["enroll_list"],
        sample_rate=audio.sample_rate,
        channel=audio.channel,
        max_seconds=options.max_seconds,
        workers=options.data.workers,
        cohort=options.cohort,
        norm=options.norm,
        top=options.top,
        bootstrap=options.bootstrap,
        by=options.by,
        by_table=options.by_table,
        by_seconds=options.by_seconds,
        write_scores=options.write_scores,
    )


def _trial_files(
    options: Namespace, saved: SavedCheckpoint, recipe: Recipe | None
) -> Mapping[str, Any]:
    """The trial list and its companions: given, the recipe's, or those of the run."""
    if options.data.trials is not None:
        return dict(options.data)
    if any(options.data[name] is not None for name in _FILES[1:]):
        raise UsageError(
            "--data.eval_manifest, --data.enroll and --data.enroll_list go with --data.trials: "
            "give it too"
        )
    if recipe is None:
        return _own_trials(saved)
    config = yaml.safe_load(recipe.config_file(recipe.default_config).read_text(encoding="utf-8"))
    return {name: config["data"].get(name) for name in _FILES}


def _own_trials(saved: SavedCheckpoint) -> Mapping[str, Any]:
    """The trial lists that a checkpoint's own run was validated on.

    Raises:
        CheckpointError: the configuration is not a speaker recipe's.
    """
    from vprtrain.checkpoint.file_names import CONFIG_FILE
    from vprtrain.speaker.state import configured_data

    data = configured_data(saved)
    if not {"trials", "eval_manifest"} <= data.keys():
        raise CheckpointError(
            f"{saved.folder / CONFIG_FILE} is not of a speaker recipe's run: expected trials and "
            "eval_manifest under data"
        )
    # Checkpoints that were written before an option was added lack it.
    return {"enroll": None, "enroll_list": None, **data}
