"""Readers for the files of other toolkits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vprtrain.checkpoint.arrays import Arrays
from vprtrain.conversion.recognition import recognise
from vprtrain.conversion.torch_file import read_torch_tensors
from vprtrain.features import Fbank, FeatureExtractor, SpeechBrainFbank
from vprtrain.losses import AAMLoss, SpeakerLoss
from vprtrain.models import SpeakerEncoder

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


def read_3dspeaker(path: Path) -> ForeignModel:
    """3D-Speaker's published embedding model: a file of tensors only."""
    weights = _float_tensors(path)
    model = recognise(weights, toolkit="3dspeaker")
    return ForeignModel(
        model=model, weights=weights, feature=Fbank(n_mels=model.input_size, mean_norm=True)
    )


def read_wespeaker(path: Path) -> ForeignModel:
    """WeSpeaker's ``avg_model.pt``: the embedding model, and the classifier as ``projection``.

    A classifier of one matrix is read as one centre per class: the file does not tell about
    sub-centres.
    """
    tensors = _float_tensors(path)
    weights = {name: value for name, value in tensors.items() if not name.startswith("projection.")}
    classifier = tensors.keys() - weights.keys()
    if classifier - {"projection.weight"}:
        log.warning(
            "the classifier is left out, because it has more than one matrix: %s",
            ", ".join(sorted(classifier)),
        )
    model = recognise(weights, toolkit="wespeaker")
    return ForeignModel(
        model=model,
        weights=weights,
        feature=Fbank(n_mels=model.input_size, window="hamming", int16_scale=True, mean_norm=True),
        head={"weight": tensors["projection.weight"].T}
        if classifier == {"projection.weight"}
        else {},
    )


def read_speechbrain(path: Path) -> ForeignModel:
    """SpeechBrain's ``embedding_model.ckpt``, trained with its ``Fbank`` and per-sentence mean
    normalisation."""
    weights = _float_tensors(path)
    model = recognise(weights)
    feature = SpeechBrainFbank(n_mels=model.input_size, mean_norm=True)
    return ForeignModel(model=model, weights=weights, feature=feature)


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
