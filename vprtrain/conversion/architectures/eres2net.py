"""ERes2Net and ERes2NetV2 of 3D-Speaker, WeSpeaker and ppvector."""

from __future__ import annotations

from collections.abc import Iterator

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Rename,
    Shapes,
    Sizes,
    from_zero,
)
from vprtrain.conversion.architectures.residual import (
    EMBEDDING_RENAMES,
    POOLING_EPS,
    embedded_sizes,
    res2_sizes,
)
from vprtrain.models.eres2net import ERes2Net, ERes2NetV2

_RENAMES: tuple[Rename, ...] = (
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
    (r"^layer(\d+)\.", from_zero("stages.{}.")),
    (r"\blocal_att\.0\.", "conv1."),
    (r"\blocal_att\.1\.", "bn1."),
    (r"\blocal_att\.3\.", "conv2."),
    (r"\blocal_att\.4\.", "bn2."),
    *EMBEDDING_RENAMES,
)
_WESPEAKER_PARTS: tuple[Rename, ...] = (
    # In the stages whose parts are fused, the first part has names of its own.
    (r"^(layer[34]\.\d+\.(?:convs|bns))\.(\d+)\.", lambda name: f"{name[1]}.{int(name[2]) + 1}."),
    (r"\b(conv|bn)2_1\.", r"\1s.0."),
)


def _eres2net_v2(shapes: Shapes) -> Iterator[Sizes]:
    for sizes in embedded_sizes(shapes, last="conv3"):
        expansion = shapes["layer1.0.conv3.weight"][0] // sizes["channels"]
        yield {**sizes, **res2_sizes(shapes), "expansion": expansion}


def _eres2net(shapes: Shapes) -> Iterator[Sizes]:
    for sizes in _eres2net_v2(shapes):
        yield {
            **sizes,
            "bias": "conv1.bias" in shapes,
            "affine": "seg_bn_1.weight" in shapes,
        }


ARCHITECTURES = (
    Architecture(
        model=ERes2NetV2,
        toolkits=("3dspeaker",),
        has=("fuse34.local_att.0.weight",),
        sizes=_eres2net_v2,
        fixed=POOLING_EPS,
        renames=_RENAMES,
    ),
    Architecture(
        model=ERes2Net,
        toolkits=("3dspeaker", "wespeaker", "ppvector"),
        has=("fuse_mode1234.local_att.0.weight",),
        lacks=("layer3.0.conv2_1.weight",),
        sizes=_eres2net,
        fixed=POOLING_EPS,
        renames=_RENAMES,
    ),
    Architecture(
        model=ERes2Net,
        toolkits=("wespeaker",),
        has=("fuse_mode1234.local_att.0.weight", "layer3.0.conv2_1.weight"),
        sizes=_eres2net,
        fixed=POOLING_EPS,
        renames=(*_WESPEAKER_PARTS, *_RENAMES),
    ),
)
