"""Readers for the files of other toolkits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.conversion.architectures import ARCHITECTURES
from vprtrain.conversion.configurations import Configuration, find_configuration
from vprtrain.conversion.front_ends import FRONT_ENDS, HUB_FOLDERS, HUB_MODELS, TOOLKIT_NAMES
from vprtrain.conversion.recognition import readings, recognise
from vprtrain.conversion.torch_file import read_torch_tensors
from vprtrain.errors import UsageError
from vprtrain.features import FeatureExtractor
from vprtrain.losses import AAMLoss, SpeakerLoss
from vprtrain.models import SpeakerEncoder

_BY_TOOLKIT = "by --from"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A model of another toolkit in our classes; the encoder's weights still have their original
    names."""

    model: SpeakerEncoder
    """With the right sizes, but not yet with these weights."""
    weights: Arrays
    """The input of :func:`vprtrain.conversion.reference.state_from_reference`."""
    layout: Literal["torch", "paddle"] = "torch"
    feature: FeatureExtractor
    """The features that the model was trained with."""
    front_end_reason: str
    """Why these features, for a person."""
    sample_rate: int = 16000
    """Of the recordings, in Hz."""
    head: Arrays = field(default_factory=dict)
    """The classifier's weights by our names; empty if the files hold none, or an unknown one."""
    loss: SpeakerLoss = field(default_factory=AAMLoss)
    """The training loss, as far as the files tell."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """``eer``, ``min_dcf``, ``threshold``, as far as the toolkit measured them."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """The origin of the model for a person; JSON."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user knows about a model. It counts more than what is read or assumed."""

    config: Path | None = None
    """The toolkit's configuration; ``None`` searches for it."""
    model: str | None = None
    """The name of our class."""
    init_args: Mapping[str, Any] = field(default_factory=dict)
    """Of the model; the others are told by the weights."""
    front_end: str | None = None
    """The toolkit whose features the model was trained with."""
    feature: FeatureExtractor | None = None
    """The features themselves."""


def read_3dspeaker(path: Path, choices: Choices = Choices()) -> ForeignModel:
    """3D-Speaker's published embedding model: a file of tensors only."""
    return _read("3dspeaker", path, choices)


def read_wespeaker(path: Path, choices: Choices = Choices()) -> ForeignModel:
    """WeSpeaker's ``avg_model.pt``: the embedding model, and the classifier as ``projection``.

    A classifier of one matrix is read as one centre per class: the file does not tell about
    sub-centres.
    """
    return _read("wespeaker", path, choices)


def read_speechbrain(path: Path, choices: Choices = Choices()) -> ForeignModel:
    """SpeechBrain's ``embedding_model.ckpt``, trained with its ``Fbank`` and per-sentence mean
    normalisation."""
    return _read("speechbrain", path, choices)


def _read(toolkit: str, path: Path, choices: Choices) -> ForeignModel:
    """A model in a PyTorch file.

    Raises:
        UsageError: the network is not one of this toolkit, or the options do not fit.
        CheckpointError: the file is damaged, or the architecture unknown.
    """
    tensors = _float_tensors(path)
    head, weights = _classifier_apart(tensors) if toolkit == "wespeaker" else ({}, tensors)
    own = _toolkits_of(weights)
    _require_own_names(toolkit, own, weights)
    config = find_configuration(toolkit, path, choices.config)
    model = _recognised(toolkit, weights, config, choices)
    if not own and choices.feature is None and choices.front_end is None:
        raise UsageError(
            f"these weights of a {type(model).__name__} have the names of none of the toolkits, so "
            "their features are not known: give --feature or --front_end"
        )
    feature, reason = _features(toolkit, path, model, config, choices)
    if reason.endswith(_BY_TOOLKIT):
        reason += _alternatives(toolkit, model, own)
    return ForeignModel(
        model=model,
        weights=weights,
        feature=feature,
        front_end_reason=reason,
        sample_rate=16000 if config is None else config.sample_rate,
        head=head,
        origin={} if config is None else {"config": config.path.name},
    )


def _alternatives(toolkit: str, model: SpeakerEncoder, own: list[str]) -> str:
    """What else the features may be, for a person; empty if there is nothing else."""
    if toolkit == "wespeaker" and type(model).__name__ in HUB_MODELS:
        return (
            "; the models campplus and eres2net of WeSpeaker's hub, which 3D-Speaker trained, need "
            "--front_end 3dspeaker"
        )
    others = [name for name in own if name != toolkit and name in FRONT_ENDS]
    names = " and ".join(TOOLKIT_NAMES[name] for name in others)
    options = " or ".join(f"--front_end {name}" for name in others)
    return f"; networks of {names} have the same names, and need {options}" if others else ""


def _toolkits_of(weights: Arrays) -> list[str]:
    """The toolkits whose names these are."""
    found = [family.toolkits for family in ARCHITECTURES if family.matches(weights)]
    return [*dict.fromkeys(name for toolkits in found for name in toolkits)]


def _require_own_names(toolkit: str, own: list[str], weights: Arrays) -> None:
    """Refuse weights with the names of another toolkit: they would get wrong features.

    Raises:
        UsageError: they are another toolkit's.
    """
    if any(name.startswith("projection.") for name in weights):
        own = ["wespeaker"]
    if own and toolkit not in own:
        likely = [name for name in own if name in FRONT_ENDS] or own  # it is a PyTorch file
        names = " or ".join(TOOLKIT_NAMES[name] for name in likely)
        options = " or ".join(f"--from {name}" for name in likely)
        raise UsageError(
            f"these weights have the names of {names}, not of {TOOLKIT_NAMES[toolkit]}: give "
            f"{options}, and --front_end {toolkit} if the model was trained with "
            f"{TOOLKIT_NAMES[toolkit]}'s features"
        )


def _recognised(
    toolkit: str, weights: Arrays, config: Configuration | None, choices: Choices
) -> SpeakerEncoder:
    given = {**({} if config is None else config.sizes), **choices.init_args}
    pooling = None if config is None else config.pooling
    if pooling is not None:
        fitting = readings(weights, given, toolkit=toolkit, model=choices.model)
        given = {"pooling": pooling, **given} if len(fitting) > 1 else given
    return recognise(weights, given, toolkit=toolkit, model=choices.model)


def _features(
    toolkit: str,
    path: Path,
    model: SpeakerEncoder,
    config: Configuration | None,
    choices: Choices,
) -> tuple[FeatureExtractor, str]:
    """The features of a model, and why these."""
    if choices.feature is not None:
        return choices.feature, "as --feature says"
    name, reason = toolkit, f"{TOOLKIT_NAMES[toolkit]}'s, {_BY_TOOLKIT}"
    is_hub_model = toolkit == "wespeaker" and type(model).__name__ in HUB_MODELS
    if choices.front_end is not None:
        name = choices.front_end
        reason = f"{TOOLKIT_NAMES[name]}'s, by --front_end"
    elif is_hub_model and path.resolve().parent.name in HUB_FOLDERS:
        name = "3dspeaker"
        reason = "3D-Speaker's, which WeSpeaker itself uses for its hub's campplus and eres2net"
    options: dict[str, Any] = {"n_mels": model.input_size}
    if config is not None:
        reason = f"with {config.path.name}, {reason}"
        options["sample_rate"] = config.sample_rate
        options |= config.feature if name == toolkit else {}
    return FRONT_ENDS[name](**options), reason


def _classifier_apart(tensors: Arrays) -> tuple[Arrays, Arrays]:
    """WeSpeaker's classifier by our names, and the other weights."""
    weights = {name: value for name, value in tensors.items() if not name.startswith("projection.")}
    classifier = tensors.keys() - weights.keys()
    if classifier == {"projection.weight"}:
        return {"weight": tensors["projection.weight"].T}, weights
    if classifier:
        log.warning(
            "the classifier is left out, because it has more than one matrix: %s",
            ", ".join(sorted(classifier)),
        )
    return {}, weights


def _float_tensors(path: Path) -> Arrays:
    """A state dict's tensors, floats as float32, without a common prefix ``module.``"""
    tensors = read_torch_tensors(path)
    # saved from within DistributedDataParallel
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {
        name: value.astype("float32") if value.dtype.kind == "f" else value
        for name, value in tensors.items()
    }
