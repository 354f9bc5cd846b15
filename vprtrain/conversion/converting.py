"""Converting models of other toolkits to checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays, load_layer
from vprtrain.checkpoint.state import BestRecord, CheckpointState
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.conversion.ppvector import read_ppvector
from vprtrain.conversion.reference import state_from_reference
from vprtrain.conversion.toolkits import (
    Choices,
    ForeignModel,
    read_3dspeaker,
    read_speechbrain,
    read_wespeaker,
)
from vprtrain.errors import CheckpointError, RunError, UsageError
from vprtrain.features import FeatureExtractor
from vprtrain.models import SpeakerEncoder
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.state import AudioFormat

_READERS: dict[str, Callable[[Path, Choices], ForeignModel]] = {
    "3dspeaker": read_3dspeaker,
    "wespeaker": read_wespeaker,
    "speechbrain": read_speechbrain,
}


def convert(
    toolkit: str,
    source: Path,
    out_dir: Path,
    *,
    choices: Choices = Choices(),
    origin: Mapping[str, Any] | None = None,
) -> list[str]:
    """Convert another toolkit's model to a checkpoint.

    The checkpoint validates and embeds like any other, and a new run may start from its weights. It
    has no optimizer state, so no run resumes from it; its step and epoch are 0.

    Args:
        toolkit: "ppvector", "3dspeaker", "wespeaker" or "speechbrain".
        source: ppvector's checkpoint folder, or another toolkit's PyTorch file.
        out_dir: the new folder; it appears whole or not at all.
        choices: what is known about the model; for ppvector, only its configuration.
        origin: where the model comes from (JSON values), for ``converted_from`` in ``model.state``.

    Returns:
        What the model was taken for, for a person: a summary, then the details, one a line.

    Raises:
        UsageError: ``out_dir`` exists, the source does not, or it is not of that toolkit.
        CheckpointError: a file is damaged or hostile, or the architecture is unknown.
        RunError: ``out_dir`` cannot be written.
    """
    if toolkit == "ppvector" and choices != Choices(config=choices.config):
        raise UsageError(
            "the configuration of ppvector says its model and its features: leave out --model, "
            "--front_end and --feature, or change that file"
        )
    if os.path.lexists(out_dir):
        raise UsageError(f"{out_dir} is there already: give a new folder")
    try:
        foreign = (
            read_ppvector(source, choices.config)
            if toolkit == "ppvector"
            else _READERS[toolkit](source, choices)
        )
        module = _module(foreign)
    except CheckpointError as error:
        if str(source) in str(error):
            raise
        raise CheckpointError(f"{source}: {error}") from error
    snapshot = Snapshot(
        name=out_dir.name,
        state=_state(module, foreign).with_extra(
            converted_from={
                "toolkit": toolkit,
                "front_end": foreign.front_end_reason,
                **foreign.origin,
                **(origin or {}),
            }
        ),
        arrays={MODEL_FILE: layer_arrays(module)},
        texts={CONFIG_FILE: _config(module, foreign.sample_rate)},
    )
    try:
        snapshot.save(out_dir)
    except OSError as error:
        raise RunError(
            f"{out_dir} cannot be written ({error}): make room, or give another folder"
        ) from error
    open_checkpoint(out_dir)
    return _described(module, foreign)


def _module(foreign: ForeignModel) -> SpeakerModule:
    """The module with all weights that the source holds.

    Raises:
        CheckpointError: the weights do not fit.
    """
    model, loss = foreign.model, foreign.loss
    load_layer(
        model, state_from_reference(model, foreign.weights, layout=foreign.layout), "the encoder"
    )
    if not foreign.head:
        return SpeakerModule(model=model, feature=foreign.feature, loss=loss, num_classes=None)
    columns_a_class = loss.build_head(embedding_dim=1, num_classes=1).weight.shape[1]
    num_classes = max(foreign.head["weight"].shape[-1] // columns_a_class, 1)
    module = SpeakerModule(model=model, feature=foreign.feature, loss=loss, num_classes=num_classes)
    load_layer(module.head, foreign.head, f"the classifier, by {type(loss).__name__}")
    return module


def _state(module: SpeakerModule, foreign: ForeignModel) -> CheckpointState:
    """The record of a run before its first step."""
    measured = {name: foreign.measured.get(name) for name in module.metric_names}
    step = None if measured["eer"] is None else 0
    return CheckpointState(
        own={**module.state_keys(), **AudioFormat(foreign.sample_rate)._asdict()},
        metrics=measured,
        metrics_step=step,
        best=BestRecord("eer", measured["eer"], step),
    )


def _config(module: SpeakerModule, sample_rate: int) -> str:
    """The recipe options that build this model again; the user adds the data."""
    specs = {name: module.state_keys()[name] for name in ("model", "feature", "loss")}
    lists = {"trials": None, "eval_manifest": None, "enroll": None}
    data = {**lists, **AudioFormat(sample_rate)._asdict()}
    return yaml.safe_dump({**specs, "data": data}, sort_keys=False)


def _described(module: SpeakerModule, foreign: ForeignModel) -> list[str]:
    model, feature = module.model, module.feature
    head = (
        "no classifier"
        if module.num_classes is None
        else f"a classifier of {module.num_classes} classes"
    )
    return [
        f"{type(model).__name__} of {model.embedding_dim} values on "
        f"{type(feature).__name__} of {model.input_size}, {head}",
        f"architecture: {_called(model)}; told by the names and shapes of {len(foreign.weights)} "
        "arrays",
        f"front end: {_called(feature)}; {foreign.front_end_reason}",
    ]


def _called(layer: SpeakerEncoder | FeatureExtractor) -> str:
    """The class and its options, for a person."""
    options = (f"{name} {value}" for name, value in layer.init_args.items())
    return f"{type(layer).__name__} ({', '.join(options)})"
