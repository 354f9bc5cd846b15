"""RepVGG of WeSpeaker, in the form of training and in that of use (deploy)."""

from __future__ import annotations

from collections.abc import Iterator

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Shapes,
    Sizes,
    depths,
    from_zero,
)
from vprtrain.conversion.architectures.pooling import spectrogram_sizes
from vprtrain.conversion.architectures.residual import EMBEDDING_RENAMES, POOLING_EPS
from vprtrain.models.repvgg import RepVGG


def _sizes(shapes: Shapes) -> Iterator[Sizes]:
    blocks = depths(shapes, r"stage(\d+)\.(\d+)\.")
    deploy = "stage0.rbr_reparam.weight" in shapes
    conv = "rbr_reparam.weight" if deploy else "rbr_dense.conv.weight"
    widths = [shapes[f"stage{i + 1}.0.{conv}"][0] for i in range(len(blocks))]
    second = "stage1.1." if blocks[0] > 1 else "stage2.0."
    pooled = spectrogram_sizes(
        shapes, linear="seg", channels=widths[-1], reduction=1 << len(blocks) - 1
    )
    for sizes in pooled:
        yield {
            **sizes,
            "embedding_dim": shapes["seg.bias"][0],
            "widths": widths,
            "blocks": blocks,
            "dilated": "stage0.rbr_dense_dilation.conv.weight" in shapes
            or (deploy and shapes["stage0.rbr_reparam.weight"][-1] == 5),
            "groups": widths[0] // shapes[second + conv][1],
            "squeeze_excitation": "stage0.se.fc_1.weight" in shapes,
            "deploy": deploy,
        }


ARCHITECTURES = tuple(
    Architecture(
        model=RepVGG,
        toolkits=("wespeaker",),
        has=(mark, "seg.weight"),
        sizes=_sizes,
        fixed=POOLING_EPS,
        renames=(
            (r"^stage0\.", "stem."),
            (r"^stage(\d+)\.", from_zero("stages.{}.")),
            (r"\brbr_dense\.", "branches.0."),
            (r"\brbr_(1x1|dense_dilation)\.", "branches.1."),
            (r"\brbr_identity\.", "branches.2."),
            (r"\brbr_reparam\.", "conv."),
            (r"\bse\.fc_", "gate.linear"),
            (r"^seg\.", "embedding."),
            *EMBEDDING_RENAMES,
        ),
    )
    for mark in ("stage0.rbr_dense.conv.weight", "stage0.rbr_reparam.weight")
)
