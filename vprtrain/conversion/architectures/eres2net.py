"""ERes2Net and ERes2NetV2 of 3D-Speaker and ppvector."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Rename,
    Shapes,
    Sizes,
    from_zero,
)
from vprtrain.conversion.architectures.residual import res2_sizes
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
    (r"^seg_1\.", "embedding."),
    (r"^seg_bn_1\.", "second_embedding.1."),
    (r"^seg_2\.", "second_embedding.2."),
)


def _eres2net_v2(shapes: Shapes) -> list[Sizes]:
    sizes = res2_sizes(shapes)
    sizes["expansion"] = shapes["layer1.0.conv3.weight"][0] // sizes["channels"]
    sizes["second_embedding"] = "seg_2.weight" in shapes
    return [sizes]


def _eres2net(shapes: Shapes) -> list[Sizes]:
    return [
        {
            **sizes,
            "bias": "conv1.bias" in shapes,
            "affine": "seg_bn_1.weight" in shapes,
        }
        for sizes in _eres2net_v2(shapes)
    ]


ARCHITECTURES = (
    Architecture(
        model=ERes2NetV2,
        toolkits=("3dspeaker",),
        has=("fuse34.local_att.0.weight",),
        sizes=_eres2net_v2,
        renames=_RENAMES,
    ),
    Architecture(
        model=ERes2Net,
        toolkits=("3dspeaker", "wespeaker", "ppvector"),
        has=("fuse_mode1234.local_att.0.weight",),
        sizes=_eres2net,
        renames=_RENAMES,
    ),
)
