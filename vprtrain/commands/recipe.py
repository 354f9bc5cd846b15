"""What every recipe shares: the options of ``fit`` and ``validate``, and how they become
objects."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.callbacks import default_callbacks
from vprtrain.checkpoint.snapshot import CONFIG_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.checkpoint.store import BEST, LAST, resolve_checkpoint
from vprtrain.commands.config import CommandParser, dump, instantiate
from vprtrain.engine import Adam, Callback, Engine, FitResult, OptimizerFactory
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.evaluation.task import Task, evaluate, report_folder
from vprtrain.features import Fbank, FeatureExtractor, SpecAugment
from vprtrain.losses import AAMLoss, SpeakerLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.ranks import launched
from vprtrain.scoring.normalize import TOP, Norm
from vprtrain.scoring.report import Result
from vprtrain.speaker.data import SpeakerData
from vprtrain.speaker.module import SpeakerModule
from vprtrain.spec import class_path

log = logging.getLogger(__name__)


def add_fit_options(parser: CommandParser) -> None:
    """Declare everything that makes a training run."""
    parser.add_argument(
        "--save_dir", default="models", help="the run goes into save_dir/<Model>_<Feature>"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights, the order of the data and every draw"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument("--resume", default="auto", help="auto, never, or a checkpoint of this run")
    parser.add_argument(
        "--init_from", type=str | None, default=None, help="start a new run from these weights"
    )
    parser.add_argument(
        "--accept_changes", action="store_true", help="resume though configuration or data changed"
    )
    parser.add_argument(
        "--max_bad_share",
        type=float,
        default=0.01,
        help="stop when a larger share of the training utterances was found bad; bad_audio.tsv names each",
    )
    parser.add_subclass_arguments(SpeakerEncoder, "model", required=True)
    parser.add_subclass_arguments(
        FeatureExtractor, "feature", default=_chosen(Fbank, mean_norm=True)
    )
    parser.add_argument(
        "--spec_augment",
        type=SpecAugment | None,
        default=None,
        help="masks on the features, in training only",
    )
    parser.add_subclass_arguments(SpeakerLoss, "loss", default=_chosen(AAMLoss))
    parser.add_argument(
        "--head.class_share",
        type=float,
        default=1.0,
        help="share of the classes that a step compares with; below 1 for hundreds of thousands (Partial FC)",
    )
    parser.add_subclass_arguments(OptimizerFactory, "optimizer", default=_chosen(Adam))
    parser.add_class_arguments(
        SpeakerData, "data", skip={"seed", "rank", "world_size", "max_bad_share"}, instantiate=False
    )
    parser.add_class_arguments(
        Engine,
        "engine",
        skip={"run_dir", "optimizer", "callbacks", "seed", "config", "clock", "ranks"},
        instantiate=False,
    )
    parser.add_argument(
        "--callbacks",
        type=list[Callback],
        default=[_chosen(type(callback)) for callback in default_callbacks()],
        help="all of them, in order; a list here replaces the default one",
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run as its configuration describes it, ready to begin or to go on."""

    engine: Engine
    module: SpeakerModule
    data: SpeakerData


def build(parser: CommandParser, config: Namespace) -> Run:
    """The objects of a run.

    Raises:
        UsageError: a manifest, a class or a value cannot be used.
    """
    runtime.use_device(config.device)
    seed_all(config.seed)  # right before the weights are drawn
    objects = instantiate(parser, config)
    ranks = launched.start()
    data = SpeakerData(
        **objects.data.as_dict(),
        seed=config.seed,
        max_bad_share=config.max_bad_share,
        rank=ranks.rank,
        world_size=ranks.size,
    )
    module = SpeakerModule(
        model=objects.model,
        feature=objects.feature,
        loss=objects.loss,
        num_classes=data.num_classes,
        num_speakers=data.num_speakers,
        evaluation=data.evaluation,
        spec_augment=objects.spec_augment,
        class_share=config.head.class_share,
    )
    engine = Engine(
        run_dir=run_directory(config),
        optimizer=objects.optimizer,
        callbacks=objects.callbacks,
        seed=config.seed,
        config=dump(parser, config),
        ranks=ranks,
        **config.engine.as_dict(),
    )
    return Run(engine=engine, module=module, data=data)


def fit(run: Run, config: Namespace) -> FitResult:
    """Train from the start or from where the run directory stands, and say how it ended."""
    log.info(
        "%d speakers, %d utterances; run directory %s",
        run.data.num_speakers,
        len(run.data.manifest),
        run_directory(config),
    )
    result = run.engine.fit(
        run.module,
        run.data,
        resume=config.resume,
        init_from=config.init_from,
        accept_changes=config.accept_changes,
    )
    _report(result, run.engine)
    return result


def add_validate_options(parser: CommandParser) -> None:
    """Declare what it takes to validate a checkpoint."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a run directory (its best_model), or a generation of it",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    parser.add_argument(
        "--data.trials",
        type=str | None,
        default=None,
        help="trial list; default: the run's own data",
    )
    parser.add_argument(
        "--data.eval_manifest",
        type=str | None,
        default=None,
        help="id<TAB>path lines, with --data.trials",
    )
    parser.add_argument(
        "--data.enroll",
        type=str | None,
        default=None,
        help="averaged enrolments, with --data.trials",
    )
    parser.add_argument(
        "--data.enroll_list",
        type=str | None,
        default=None,
        help="ppvector's enrol list, --data.trials being its other",
    )
    parser.add_argument("--data.workers", type=int, default=2, help="threads that read")
    parser.add_argument(
        "--max_seconds",
        type=float | None,
        default=None,
        help="of longer recordings only the beginning; default: whole",
    )
    parser.add_argument(
        "--cohort",
        type=str | None,
        default=None,
        help="a training manifest: also normalise scores by its speakers",
    )
    parser.add_argument(
        "--norm",
        type=Norm,
        default="as-norm",
        help="how, with --cohort; sub-mean: only less its mean",
    )
    parser.add_argument(
        "--top", type=int, default=TOP, help="of the cohort, the nearest so many, in as-norm"
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        help="so many draws of the speakers, for confidence intervals of 95 percent",
    )
    parser.add_argument(
        "--write_scores",
        action="store_true",
        help="also write every trial's score, lines of enrol test score",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="the report's folder; default: validation/<generation>/<trial list> beside the checkpoint",
    )


def validate(config: Namespace) -> list[Result]:
    """Rate a checkpoint on a trial list, by the code that ``fit`` validates with, and write the
    report.

    Of several ranks, the first gives the results, the others nothing.

    Raises:
        UsageError: there is no trial list, neither given nor in the checkpoint's configuration.
    """
    runtime.use_device(config.device)
    saved = resolve_checkpoint(Path(config.checkpoint), prefer=BEST)
    own = _own_data(saved)
    files = own if config.data.trials is None else config.data
    if files is own and any(
        config.data[name] is not None for name in ("eval_manifest", "enroll", "enroll_list")
    ):
        raise UsageError(
            "--data.eval_manifest, --data.enroll and --data.enroll_list go with --data.trials: give it too"
        )
    if files["trials"] is None:
        raise UsageError(
            f"{saved.folder} was trained without trials: give --data.trials and --data.eval_manifest"
        )
    task = Task(
        trials=files["trials"],
        eval_manifest=files["eval_manifest"],
        enroll=files["enroll"],
        enroll_list=files["enroll_list"],
        sample_rate=own["sample_rate"],
        channel=own["channel"],
        max_seconds=config.max_seconds,
        workers=config.data.workers,
        cohort=config.cohort,
        norm=config.norm,
        top=config.top,
        bootstrap=config.bootstrap,
        write_scores=config.write_scores,
    )
    log.info("validating %s (step %d)", saved.folder, saved.state["step"])
    out = report_folder(saved, task.trials) if config.out is None else Path(config.out)
    return evaluate(saved, task, out, launched.start())


def _own_data(saved: SavedCheckpoint) -> Mapping[str, Any]:
    """The ``data`` part of a checkpoint's configuration: which trials its run was validated on."""
    path = saved.folder / CONFIG_FILE
    try:
        config = yaml.safe_load(saved.read(CONFIG_FILE))
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} is not YAML ({error})") from error
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not {"trials", "eval_manifest"} <= data.keys():
        raise CheckpointError(
            f"{path} is not of a speaker recipe's run: expected trials and eval_manifest under data"
        )
    # What an option added since meant when there was none.
    return {"enroll": None, "enroll_list": None, "sample_rate": 16000, "channel": 0, **data}


def run_directory(config: Namespace) -> Path:
    """``save_dir/<Model>_<Feature>``."""
    names = (config[part].class_path.rpartition(".")[2] for part in ("model", "feature"))
    return Path(config.save_dir) / "_".join(names)


def exit_status(result: FitResult) -> int:
    """128 + signal after a graceful stop by one, 0 otherwise."""
    signals = signal.Signals.__members__
    return 128 + signals[result.stopped_by] if result.stopped_by in signals else 0


def _report(result: FitResult, engine: Engine) -> None:
    run_dir, total_steps = engine.settings.run_dir, engine.live.max_steps
    if run_dir is None:
        log.info("tried %d steps, as fast_dev_run asks; nothing was written", result.step)
    elif result.step < total_steps:
        log.info(
            "stopped by %s at step %d of %d; the same command goes on from %s",
            result.stopped_by,
            result.step,
            total_steps,
            run_dir / LAST,
        )
    else:
        log.info(
            "trained to step %d (%s); the model is %s",
            result.step,
            result.stopped_by,
            run_dir / BEST,
        )


def _chosen(cls: type, **init_args: object) -> dict[str, object]:
    """A class as a configuration names it."""
    return {"class_path": class_path(cls), "init_args": init_args}
