"""CAM++ of 3D-Speaker, WeSpeaker and ppvector."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Shapes,
    Sizes,
    depths,
    from_zero,
)
from vprtrain.models.campplus import CAMPPlus


def _sizes(shapes: Shapes) -> list[Sizes]:
    init_channels, joined, _ = shapes["xvector.tdnn.linear.weight"]
    head_channels = shapes["head.conv1.weight"][0]
    first = "xvector.block1.tdnnd1."
    growth_rate = shapes[f"{first}cam_layer.linear_local.weight"][0]
    return [
        {
            "input_size": joined // head_channels * 8,
            "embedding_dim": shapes["xvector.dense.linear.weight"][0],
            "growth_rate": growth_rate,
            "bottleneck": shapes[f"{first}linear1.weight"][0] // growth_rate,
            "init_channels": init_channels,
            "head_channels": head_channels,
            "blocks": depths(shapes, r"xvector\.block(\d+)\.tdnnd(\d+)\."),
            "bias": "head.conv1.bias" in shapes,
            "affine": "xvector.dense.nonlinear.batchnorm.weight" in shapes,
        }
    ]


ARCHITECTURES = (
    Architecture(
        model=CAMPPlus,
        toolkits=("3dspeaker", "wespeaker", "ppvector"),
        has=("xvector.block1.tdnnd1.cam_layer.linear_local.weight",),
        sizes=_sizes,
        fixed={
            "wespeaker": {"pooling_eps": 1e-7},
            **{other: {"pooling_eps": 1e-20} for other in ("3dspeaker", "ppvector", None)},
        },
        renames=(
            (r"^xvector\.", ""),
            (r"^block(\d+)\.tdnnd(\d+)\.", from_zero("blocks.{}.{}.")),
            (r"^transit(\d+)\.", from_zero("transits.{}.")),
            (r"^dense\.linear\.", "dense."),
            (r"^dense\.nonlinear\.batchnorm\.", "dense_norm."),
            (r"^out_nonlinear\.batchnorm\.", "out_norm."),
            (r"\bnonlinear(\d?)\.batchnorm\.", r"norm\1."),
            (r"^(tdnn|transits\.\d+)\.linear\.", r"\1.conv."),
        ),
    ),
)
