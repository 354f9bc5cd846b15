"""A training run: its options, the objects that they describe, and its exit status."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace

from vprtrain import runtime
from vprtrain.callbacks import default_callbacks
from vprtrain.callbacks.early_stopping import EARLY_STOPPING
from vprtrain.checkpoint.links import BEST, LAST
from vprtrain.commands.config import CommandParser, dump, instantiate
from vprtrain.commands.option_names import declare_paths_as_text
from vprtrain.commands.options import add_device
from vprtrain.engine import Adam, Callback, Engine, FitResult, OptimizerFactory
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError
from vprtrain.features import Fbank, FeatureExtractor, SpecAugment
from vprtrain.layers.initialisation import Initialisation, draw_as_paddle
from vprtrain.layers.sizes import count_values, without_memory
from vprtrain.losses import AAMLoss, SpeakerLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.ranks import connect_ranks
from vprtrain.speaker.data import SpeakerData
from vprtrain.speaker.module import SpeakerModule
from vprtrain.spec import class_path

MOST_VALUES = 2**31
"""The largest model, in values of its weights: 8 GB as float32."""

log = logging.getLogger(__name__)

_TITLES = {
    "model": "network",
    "feature": "features",
    "loss": "loss",
    "optimizer": "optimizer",
    "data": "data",
    "engine": "run",
}
"""The headings of the groups of options in the help."""
_CLASS = "a class by its name or import path; its arguments follow as init_args.NAME"


def add_options(parser: CommandParser) -> None:
    """Declare everything that determines a training run."""
    _add_run_options(parser)
    parser.add_subclass_arguments(SpeakerEncoder, "model", required=True, help=_CLASS)
    parser.add_subclass_arguments(
        FeatureExtractor, "feature", default=_choice(Fbank, mean_norm=True), help=_CLASS
    )
    parser.add_argument(
        "--spec_augment",
        type=SpecAugment | None,
        default=None,
        help="masks on the features, in training only",
    )
    parser.add_subclass_arguments(SpeakerLoss, "loss", default=_choice(AAMLoss), help=_CLASS)
    parser.add_argument(
        "--head.class_share",
        type=float,
        default=1.0,
        help="share of the classes that each step compares with; below 1 (Partial FC) for "
        "hundreds of thousands of speakers",
    )
    parser.add_subclass_arguments(OptimizerFactory, "optimizer", default=_choice(Adam), help=_CLASS)
    parser.add_function_arguments(
        SpeakerData.from_files, "data", skip={"seed", "rank", "world_size", "max_bad_share"}
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
        default=[_choice(type(callback)) for callback in default_callbacks()],
        help="all callbacks, in order; a list given here replaces the default list",
    )
    declare_paths_as_text(parser)
    for name, title in _TITLES.items():
        (parser.groups or {})[name].title = title


def _add_run_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--save_dir", default="models", help="the run directory is save_dir/<Model>_<Feature>"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="determines the initial weights, the order of the data and every random draw",
    )
    parser.add_argument(
        "--initialisation",
        type=Initialisation,
        default="reference",
        help="start of a new run's weights: as in the toolkit that published the model, or by "
        "Paddle's own defaults",
    )
    add_device(parser)
    parser.add_argument(
        "--resume", default="auto", help="auto (from last_model), never, or a checkpoint of the run"
    )
    parser.add_argument(
        "--init_from",
        type=str | None,
        default=None,
        help="start a new run from the weights of this checkpoint",
    )
    parser.add_argument(
        "--accept_changes",
        action="store_true",
        help="resume although the configuration or the data have changed",
    )
    parser.add_argument(
        "--max_bad_share",
        type=float,
        default=0.01,
        help="stop when a larger share of the training utterances is unusable; bad_audio.tsv "
        "names them",
    )


@dataclass(frozen=True, kw_only=True)
class Training:
    """The objects of a training run, ready to start or resume."""

    engine: Engine
    module: SpeakerModule
    data: SpeakerData


def build(parser: CommandParser, config: Namespace, imports: Sequence[str] = ()) -> Training:
    """Make the objects that a parsed configuration describes.

    Args:
        parser: the parser of the configuration.
        config: the configuration.
        imports: the modules that ``--import`` named.

    Raises:
        UsageError: a manifest, a class or a value cannot be used.
    """
    runtime.use_device(config.device)
    _require_size(parser, config)
    seed_all(config.seed)  # must come right before the weights are drawn
    objects = instantiate(parser, config)
    ranks = connect_ranks()
    data = SpeakerData.from_files(
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
        imports=imports,
    )
    if config.initialisation == "paddle":
        draw_as_paddle(module)
    engine = Engine(
        run_dir=run_directory(config),
        optimizer=objects.optimizer,
        callbacks=objects.callbacks,
        seed=config.seed,
        config=dump(parser, config),
        ranks=ranks,
        **config.engine.as_dict(),
    )
    return Training(engine=engine, module=module, data=data)


def _require_size(parser: CommandParser, config: Namespace) -> None:
    """Refuse a model that is too large, before it takes gigabytes and minutes.

    Raises:
        UsageError: it has more than :data:`MOST_VALUES` values.
    """
    try:
        with without_memory():
            alone = Namespace(model=config.model)  # type: ignore[no-untyped-call]  # of jsonargparse
            size = count_values(instantiate(parser, alone).model)
    except UsageError:
        return  # its values are refused below, or its constructor computes with its parameters
    if size > MOST_VALUES:
        raise UsageError(
            f"the model would have {size:,} values, expected at most {MOST_VALUES:,}: make it "
            "narrower, or give it fewer blocks"
        )


def train(training: Training, config: Namespace) -> FitResult:
    """Start the run, or resume it from its run directory, and log how it ended."""
    log.info(
        "%d speakers, %d utterances; run directory %s",
        training.data.num_speakers,
        len(training.data.manifest),
        run_directory(config),
    )
    result = training.engine.fit(
        training.module,
        training.data,
        resume=config.resume,
        init_from=config.init_from,
        accept_changes=config.accept_changes,
    )
    if config.engine.fast_dev_run:
        log.info("tried %d steps because of fast_dev_run; nothing was written", result.step)
    else:
        total_steps = training.engine.live.max_steps
        log.info("%s", end_of_run(result, total_steps, run_directory(config)))
    return result


def run_directory(config: Namespace) -> Path:
    """The run directory, ``save_dir/<Model>_<Feature>``."""
    names = (config[part].class_path.rpartition(".")[2] for part in ("model", "feature"))
    return Path(config.save_dir) / "_".join(names)


def exit_status(result: FitResult) -> int:
    """128 + signal after a graceful stop by a signal, 0 otherwise."""
    signals = signal.Signals.__members__
    return 128 + signals[result.stopped_by] if result.stopped_by in signals else 0


def end_of_run(result: FitResult, total_steps: int, run_dir: Path) -> str:
    """What became of a run that wrote to its run directory, and what to do next."""
    step = f"step {result.step} of {total_steps}"
    best = run_dir / BEST
    model = best if best.exists() else run_dir / LAST  # best needs a validation
    if result.stopped_by == EARLY_STOPPING:
        return (
            f"early stopping ended the training at {step}: no validation was better for its whole "
            f"patience; the model is {model}. The same command stops here again: to train on, "
            "raise the patience of EarlyStopping in the configuration, and add --accept_changes"
        )
    if result.step < total_steps:
        return (
            f"stopped by {result.stopped_by} at {step}; the same command resumes from "
            f"{run_dir / LAST}"
        )
    return f"trained to step {result.step} ({result.stopped_by}); the model is {model}"


def _choice(cls: type, **init_args: object) -> dict[str, object]:
    """A class and its arguments, as a configuration names them."""
    return {"class_path": class_path(cls), "init_args": init_args}
