"""Models of other toolkits, as their files hold them."""

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
    """A model of another toolkit in our terms; only the encoder's weights still have their own
    names."""

    model: SpeakerEncoder
    """Of the right sizes, still without its weights."""
    weights: Arrays
    """What :func:`vprtrain.conversion.reference.state_from_reference` takes for it."""
    layout: Literal["torch", "paddle"] = "torch"
    feature: FeatureExtractor
    """What it was trained on."""
    sample_rate: int = 16000
    """Of the recordings, in Hz."""
    head: Arrays = field(default_factory=dict)
    """The classifier's weights by our names; empty where the files hold none, or one that is not
    known here."""
    loss: SpeakerLoss = field(default_factory=AAMLoss)
    """The loss it was trained with, as far as the files tell."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """``eer``, ``min_dcf``, ``threshold``, as far as its toolkit measured them."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What a person may want to know of where it comes from; JSON."""


def read_3dspeaker(path: Path) -> ForeignModel:
    """3D-Speaker's embedding model, as it is published: the tensors and nothing else."""
    weights = _float_tensors(path)
    model = recognise(weights)
    return ForeignModel(
        model=model, weights=weights, feature=Fbank(n_mels=model.input_size, mean_norm=True)
    )


def read_wespeaker(path: Path) -> ForeignModel:
    """WeSpeaker's ``avg_model.pt``: the embedding model, and the classifier as ``projection``.

    A classifier that is one matrix is taken for one direction a class: of sub-centres, the file
    says nothing.
    """
    tensors = _float_tensors(path)
    weights = {name: value for name, value in tensors.items() if not name.startswith("projection.")}
    classifier = tensors.keys() - weights.keys()
    if classifier - {"projection.weight"}:
        log.warning(
            "the classifier is left out, as it is more than directions: %s",
            ", ".join(sorted(classifier)),
        )
    model = recognise(weights, {"pooling_eps": 1e-7})
    return ForeignModel(
        model=model,
        weights=weights,
        feature=Fbank(n_mels=model.input_size, window="hamming", int16_scale=True, mean_norm=True),
        head={"weight": tensors["projection.weight"].T}
        if classifier == {"projection.weight"}
        else {},
    )


def read_speechbrain(path: Path) -> ForeignModel:
    """SpeechBrain's ``embedding_model.ckpt``, trained on its ``Fbank`` with the mean of each
    sentence subtracted."""
    weights = _float_tensors(path)
    model = recognise(weights)
    feature = SpeechBrainFbank(n_mels=model.input_size, mean_norm=True)
    return ForeignModel(model=model, weights=weights, feature=feature)


def _float_tensors(path: Path) -> Arrays:
    """A state dict's tensors, in float32 where they are real numbers, without a common
    ``module.``"""
    tensors = read_torch_tensors(path)
    # saved from inside of DistributedDataParallel
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {
        name: value.astype("float32") if value.dtype.kind == "f" else value
        for name, value in tensors.items()
    }
