"""Weights of public PyTorch implementations under our names and layouts, without PyTorch.

Sources of the architectures: CAMPPlus and TDNN from modelscope/3D-Speaker, EcapaTdnn from
speechbrain/speechbrain (3D-Speaker's copy has the same keys).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
from paddle import nn

from vprtrain.errors import CheckpointError
from vprtrain.models.campplus import CAMPPlus
from vprtrain.models.ecapa_tdnn import EcapaTdnn
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.eres2net import ERes2Net, ERes2NetV2
from vprtrain.models.res2net import PPVectorRes2Net, Res2Net
from vprtrain.models.resnet import ResNet34
from vprtrain.models.resnet_se import ResNetSE
from vprtrain.models.tdnn import TDNN

Rename: TypeAlias = tuple[str, str | Callable[[re.Match[str]], str]]


def _from_zero(form: str) -> Callable[[re.Match[str]], str]:
    """The reference counts from one, a LayerList counts from zero."""
    return lambda match: form.format(*(int(number) - 1 for number in match.groups()))


# Regular expression and replacement, applied in order; a model that is not listed has the
# reference's names.
_RENAMES: dict[type[SpeakerEncoder], tuple[Rename, ...]] = {
    CAMPPlus: (
        (r"^xvector\.", ""),
        (r"^block(\d+)\.tdnnd(\d+)\.", _from_zero("blocks.{}.{}.")),
        (r"^transit(\d+)\.", _from_zero("transits.{}.")),
        (r"^dense\.linear\.", "dense."),
        (r"^dense\.nonlinear\.batchnorm\.", "dense_norm."),
        (r"^out_nonlinear\.batchnorm\.", "out_norm."),
        (r"\bnonlinear(\d?)\.batchnorm\.", r"norm\1."),
        (r"^(tdnn|transits\.\d+)\.linear\.", r"\1.conv."),
    ),
    EcapaTdnn: (
        (r"\b(conv\d?|fc)\.conv\.", r"\1."),
        (r"\b(norm|asp_bn)\.norm\.", r"\1."),
    ),
    **dict.fromkeys(
        (ERes2Net, ERes2NetV2),
        (
            (r"^(conv1|bn1)\.", r"stem.\1."),
            (r"\bfuse_models\.", "fusions."),
            (r"^layer1_downsample\.", "fusions.0.downsample."),
            (r"^layer2_downsample\.", "fusions.1.downsample."),
            (r"^layer3_downsample\.", "fusions.2.downsample."),
            (r"^fuse_mode12\.", "fusions.0.attention."),
            (r"^fuse_mode123\.", "fusions.1.attention."),
            (r"^fuse_mode1234\.", "fusions.2.attention."),
            (r"^layer3_ds\.", "fusions.0.downsample."),
            (r"^fuse34\.", "fusions.0.attention."),
            (r"^layer(\d+)\.", _from_zero("stages.{}.")),
            (r"\blocal_att\.0\.", "conv1."),
            (r"\blocal_att\.1\.", "bn1."),
            (r"\blocal_att\.3\.", "conv2."),
            (r"\blocal_att\.4\.", "bn2."),
            (r"^seg_1\.", "embedding."),
            (r"^seg_bn_1\.", "second_embedding.1."),
            (r"^seg_2\.", "second_embedding.2."),
        ),
    ),
    **dict.fromkeys(
        (ResNet34, Res2Net, PPVectorRes2Net, ResNetSE),
        (
            (r"^(conv1|bn1)\.", r"stem.\1."),
            (r"^layer(\d+)\.", _from_zero("stages.{}.")),
            (r"^seg_1\.", "embedding."),
            # ppvector's
            (r"\bdownsample\.", "shortcut."),
            (r"\bse\.fc\.0\.", "se.linear1."),
            (r"\bse\.fc\.2\.", "se.linear2."),
            (r"^pooling_bn\.norm\.", "pooling_norm."),
            (r"^fc\.conv\.", "embedding."),
            (r"\b(conv|norm)\.\1\.", r"\1."),
        ),
    ),
    TDNN: (
        (r"^frame_(\d+)\.", _from_zero("frames.{}.")),
        (r"\bconv_1d\.", "conv."),
        (r"\bbn\.", "norm."),
        (r"^seg_1\.", "embedding."),
        # ppvector's
        (r"^td_layer(\d+)\.", _from_zero("frames.{}.conv.")),
        (r"^bn(\d+)\.", _from_zero("frames.{}.norm.")),
        (r"^pooling_bn\.norm\.", "pooling_norm."),
        (r"^fc\.conv\.", "embedding."),
        (r"\b(conv|norm)\.\1\.", r"\1."),
    ),
}
_BATCH_NORM: tuple[Rename, ...] = (
    (r"\.running_mean$", "._mean"),
    (r"\.running_var$", "._variance"),
)


def state_from_reference(
    model: SpeakerEncoder,
    reference_state: Mapping[str, np.ndarray],
    *,
    layout: Literal["torch", "paddle"] = "torch",
) -> dict[str, np.ndarray]:
    """A reference implementation's state dict as one for ``model.set_state_dict``.

    ``reference_state`` has the keys of the reference's PyTorch state dict. Only names and layouts
    change: ``Linear`` weights are transposed (those of kernel-1 convolutions that are ``Linear``
    here too), batch normalisation's statistics are renamed and its ``num_batches_tracked`` is
    dropped. With ppvector's state dict, ``layout`` is "paddle": its ``Linear`` weights are as here.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    renames = (*_RENAMES.get(type(model), ()), *_BATCH_NORM)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    transposed = {
        f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)
    }
    state: dict[str, np.ndarray] = {}
    unexpected: list[str] = []
    for key, value in reference_state.items():
        if key.endswith(".num_batches_tracked"):
            continue
        name = _renamed(key, renames)
        if name not in expected:
            unexpected.append(key)
            continue
        if name in transposed and not (layout == "paddle" and value.ndim == 2):
            value = value.reshape(value.shape[0], -1).T
        if value.shape != expected[name]:
            raise CheckpointError(
                f"reference tensor {key} has shape {tuple(reference_state[key].shape)}, but "
                f"{name} of this "
                ""
                f"{type(model).__name__} has {expected[name]}: build the model with the "
                "reference's "
                "sizes"
            )
        state[name] = np.ascontiguousarray(value)
    missing = sorted(expected.keys() - state.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"these weights are not those of this {type(model).__name__}: {len(missing)} of its "
            "tensors are "
            ""
            f"missing {missing[:5]}, {len(unexpected)} others are not known {unexpected[:5]}: "
            "check the architecture and its sizes"
        )
    return state


def _renamed(key: str, renames: tuple[Rename, ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
