"""Recognising the architecture of a reference implementation's weights by names and shapes."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle

from vprtrain.errors import CheckpointError
from vprtrain.models.campplus import CAMPPlus
from vprtrain.models.ecapa_tdnn import EcapaTdnn
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.eres2net import ERes2Net, ERes2NetV2
from vprtrain.models.res2net import PPVectorRes2Net, Res2Net
from vprtrain.models.resnet import ResNet34
from vprtrain.models.resnet_se import ResNetSE
from vprtrain.models.tdnn import TDNN

Shapes = Mapping[str, tuple[int, ...]]
Sizes = dict[str, Any]


def recognise(
    reference_state: Mapping[str, np.ndarray], given: Mapping[str, Any] | None = None
) -> SpeakerEncoder:
    """A new model with the architecture and sizes of a reference's state dict.

    The names are those that :func:`vprtrain.conversion.reference.state_from_reference` takes, which
    then gives the model's own state. Options that no shape shows (such as dilations) get the
    reference's defaults, and ``input_size`` is assumed to be a multiple of the strides over it.

    Args:
        given: init_args that are known from elsewhere; those that the model does not have are
            ignored.

    Raises:
        CheckpointError: the architecture is unknown, or the shapes contradict each other.
    """
    shapes = {name: tuple(value.shape) for name, value in reference_state.items()}
    for mark, (model, sizes) in _ARCHITECTURES.items():
        if mark in shapes:
            try:
                init_args = {**sizes(shapes), **(given or {})}
                taken = inspect.signature(model).parameters.keys() & init_args.keys()
                return _built(model, {name: init_args[name] for name in taken}, shapes)
            except (LookupError, ValueError, ArithmeticError) as error:
                raise CheckpointError(
                    f"these weights look like a {model.__name__}, but no {model.__name__} has "
                    "their shapes "
                    ""
                    f"({type(error).__name__}: {error})"
                ) from error
    known = ", ".join(
        model.__name__ for model in dict.fromkeys(model for model, _ in _ARCHITECTURES.values())
    )
    raise CheckpointError(
        f"these weights have no known architecture ({known}): their first names are {[*shapes][:4]}"
    )


def _built(model: type[SpeakerEncoder], init_args: Sizes, shapes: Shapes) -> SpeakerEncoder:
    """Build the model, after checking that the sizes from a stranger's file fit the file."""
    with paddle.LazyGuard():  # nothing is allocated
        numbers = sum(parameter.size for parameter in model(**init_args).parameters())
    held = sum(map(math.prod, shapes.values()))
    if numbers > 2 * held:
        raise ValueError(f"it would have {numbers} numbers, but the file holds {held}")
    return model(**init_args)


def _campplus(shapes: Shapes) -> Sizes:
    init_channels, joined, _ = shapes["xvector.tdnn.linear.weight"]
    head_channels = shapes["head.conv1.weight"][0]
    first = "xvector.block1.tdnnd1."
    growth_rate = shapes[f"{first}cam_layer.linear_local.weight"][0]
    return {
        "input_size": joined // head_channels * 8,
        "embedding_dim": shapes["xvector.dense.linear.weight"][0],
        "growth_rate": growth_rate,
        "bottleneck": shapes[f"{first}linear1.weight"][0] // growth_rate,
        "init_channels": init_channels,
        "head_channels": head_channels,
        "blocks": _depths(shapes, r"xvector\.block(\d+)\.tdnnd(\d+)\."),
        "bias": "head.conv1.bias" in shapes,
        "affine": "xvector.dense.nonlinear.batchnorm.weight" in shapes,
    }


def _ecapa_tdnn(shapes: Shapes) -> Sizes:
    channels, input_size, _ = shapes["blocks.0.conv.conv.weight"]
    (aggregated,) = shapes["mfa.conv.conv.bias"]
    embedding_dim, pooled, _ = shapes["fc.conv.weight"]
    attention = next(
        (name for name in ("asp.tdnn.conv.conv.bias", "asp.linear1.bias") if name in shapes), None
    )
    names = {(False, 1): "TAP", (False, 2): "TSVP", (True, 1): "SAP", (True, 2): "ASP"}
    return {
        "input_size": input_size,
        "embedding_dim": embedding_dim,
        "channels": channels,
        "scale": channels // shapes["blocks.1.res2net_block.blocks.0.conv.conv.weight"][0],
        "se_channels": shapes["blocks.1.se_block.conv1.conv.weight"][0],
        "pooling": names[attention is not None, pooled // aggregated],
        **({"attention_channels": shapes[attention][0]} if attention else {}),
    }


def _xvector(shapes: Shapes) -> Sizes:
    channels, input_size, _ = shapes["frame_1.conv_1d.weight"]
    return {
        "input_size": input_size,
        "embedding_dim": shapes["seg_1.bias"][0],
        "channels": channels,
        "pooled_channels": shapes["frame_5.conv_1d.weight"][0],
    }


def _ppvector_tdnn(shapes: Shapes) -> Sizes:
    channels, input_size, _ = shapes["td_layer1.weight"]
    return {
        "input_size": input_size,
        "embedding_dim": shapes["fc.conv.weight"][0],
        "channels": channels,
        "pooled_channels": shapes["td_layer5.weight"][0],
        "pooling": "ASP",
        "affine": True,
        "norm_after_pooling": True,
    }


def _resnet(shapes: Shapes, *, last: str) -> Sizes:
    """The sizes that all networks with ``layer1``, ``layer2``, ... share; ``last`` is a block's
    last convolution."""
    blocks = _depths(shapes, r"layer(\d+)\.(\d+)\.")
    widest = shapes[f"layer{len(blocks)}.0.{last}.weight"][0]
    if "seg_1.bias" in shapes:
        (embedding_dim,) = shapes["seg_1.bias"]
        pooled = math.prod(shapes["seg_1.weight"]) // embedding_dim  # in whichever order
    else:
        embedding_dim, pooled, _ = shapes["fc.conv.weight"]
    return {
        # Mean and deviation of each channel at each remaining mel.
        "input_size": pooled // (2 * widest) << len(blocks) - 1,
        "embedding_dim": embedding_dim,
        "channels": shapes["conv1.weight"][0],
        "blocks": blocks,
    }


def _resnet34(shapes: Shapes) -> Sizes:
    return _resnet(shapes, last="conv2")


def _resnet_se(shapes: Shapes) -> Sizes:
    gates = shapes["layer1.0.se.fc.0.weight"]
    return {**_resnet(shapes, last="conv3"), "reduction": max(gates) // min(gates)}


def _res2net(shapes: Shapes) -> Sizes:
    sizes = _resnet(shapes, last="conv3")
    # Of the last stage, where rounding down had the least effect.
    stage = len(sizes["blocks"])
    part = shapes[f"layer{stage}.0.convs.0.weight"][0]
    sizes["base_width"] = -(-64 * part // (sizes["channels"] << stage - 1))
    sizes["scale"] = shapes[f"layer{stage}.0.conv1.weight"][0] // part
    return sizes


def _eres2net_v2(shapes: Shapes) -> Sizes:
    sizes = _res2net(shapes)
    sizes["expansion"] = shapes["layer1.0.conv3.weight"][0] // sizes["channels"]
    sizes["second_embedding"] = "seg_2.weight" in shapes
    return sizes


def _eres2net(shapes: Shapes) -> Sizes:
    return {
        **_eres2net_v2(shapes),
        "bias": "conv1.bias" in shapes,
        "affine": "seg_bn_1.weight" in shapes,
    }


def _depths(shapes: Shapes, pattern: str) -> list[int]:
    """For each first number in the names that start with ``pattern``: how many second numbers there
    are."""
    found = {
        tuple(map(int, match.groups())) for name in shapes if (match := re.match(pattern, name))
    }
    stages = [stage for stage, _ in found]
    return [stages.count(stage) for stage in sorted(set(stages))]


# An entry that distinguishes an architecture from those further down.
_ARCHITECTURES: dict[str, tuple[type[SpeakerEncoder], Callable[[Shapes], Sizes]]] = {
    "xvector.block1.tdnnd1.cam_layer.linear_local.weight": (CAMPPlus, _campplus),
    "mfa.conv.conv.weight": (EcapaTdnn, _ecapa_tdnn),
    "frame_1.conv_1d.weight": (TDNN, _xvector),
    "td_layer1.weight": (TDNN, _ppvector_tdnn),
    "fuse34.local_att.0.weight": (ERes2NetV2, _eres2net_v2),
    "fuse_mode1234.local_att.0.weight": (ERes2Net, _eres2net),
    "layer1.0.se.fc.0.weight": (ResNetSE, _resnet_se),
    "layer1.0.downsample.0.weight": (PPVectorRes2Net, _res2net),
    "layer1.0.convs.0.weight": (Res2Net, _res2net),
    "layer1.0.conv2.weight": (ResNet34, _resnet34),
}
