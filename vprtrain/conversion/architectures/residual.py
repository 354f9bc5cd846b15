"""ResNets over spectrograms and their relatives: of WeSpeaker, 3D-Speaker and ppvector."""

from __future__ import annotations

import math

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Rename,
    Shapes,
    Sizes,
    depths,
    from_zero,
)
from vprtrain.models.res2net import PPVectorRes2Net, Res2Net
from vprtrain.models.resnet import ResNet34
from vprtrain.models.resnet_se import ResNetSE
from vprtrain.models.resnet_tdnn import ResNetTDNN

_RENAMES: tuple[Rename, ...] = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d+)\.", from_zero("stages.{}.")),
    (r"^seg_1\.", "embedding."),
)
_PPVECTOR_RENAMES: tuple[Rename, ...] = (
    *_RENAMES,
    (r"\bdownsample\.", "shortcut."),
    (r"\bse\.fc\.0\.", "se.linear1."),
    (r"\bse\.fc\.2\.", "se.linear2."),
    (r"^pooling_bn\.norm\.", "pooling_norm."),
    (r"^fc\.conv\.", "embedding."),
    (r"\b(conv|norm)\.\1\.", r"\1."),
)


def common_sizes(shapes: Shapes, *, last: str) -> Sizes:
    """The sizes that all networks with ``layer1``, ``layer2``, ... share; ``last`` is a block's
    last convolution."""
    blocks = depths(shapes, r"layer(\d+)\.(\d+)\.")
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


def res2_sizes(shapes: Shapes) -> Sizes:
    """The sizes that all networks of Res2 blocks share."""
    sizes = common_sizes(shapes, last="conv3")
    # Of the last stage, where rounding down had the least effect.
    stage = len(sizes["blocks"])
    part = shapes[f"layer{stage}.0.convs.0.weight"][0]
    sizes["base_width"] = -(-64 * part // (sizes["channels"] << stage - 1))
    sizes["scale"] = shapes[f"layer{stage}.0.conv1.weight"][0] // part
    return sizes


def _resnet34(shapes: Shapes) -> list[Sizes]:
    return [common_sizes(shapes, last="conv2")]


def _resnet_se(shapes: Shapes) -> list[Sizes]:
    gates = shapes["layer1.0.se.fc.0.weight"]
    return [{**common_sizes(shapes, last="conv3"), "reduction": max(gates) // min(gates)}]


def _res2net(shapes: Shapes) -> list[Sizes]:
    return [res2_sizes(shapes)]


def _resnet_tdnn(shapes: Shapes) -> list[Sizes]:
    blocks = depths(shapes, r"layer(\d+)\.(\d+)\.")
    stages = range(1, len(blocks) + 1)
    channels = [shapes[f"layer{stage}.0.conv3.weight"][0] for stage in stages]
    embedding_dim, pooled = shapes["fc_embed.weight"]
    return [
        {
            "input_size": pooled // (2 * channels[-1]) << len(blocks) - 1,
            "embedding_dim": embedding_dim,
            "channels": channels,
            "blocks": blocks,
            "gated_stages": sum(f"layer{stage}.0.se.fc.0.weight" in shapes for stage in stages),
        }
    ]


ARCHITECTURES = (
    Architecture(
        model=ResNetTDNN,
        toolkits=("speechbrain",),
        has=("layer1.0.bn3.weight", "fc_embed.weight", "norm_embed.weight"),
        sizes=_resnet_tdnn,
        renames=(
            *_PPVECTOR_RENAMES,
            (r"^attention\.0\.", "pooling.tdnn.conv."),
            (r"^attention\.2\.", "pooling.tdnn.norm."),
            (r"^attention\.3\.", "pooling.conv."),
            (r"^norm_stats\.", "pooling_norm."),
            (r"^fc_embed\.", "embedding."),
            (r"^norm_embed\.", "embedding_norm."),
        ),
        frames_before_mels=True,
    ),
    Architecture(
        model=ResNetSE,
        toolkits=("ppvector",),
        has=("layer1.0.se.fc.0.weight",),
        lacks=("fc_embed.weight",),
        sizes=_resnet_se,
        renames=_PPVECTOR_RENAMES,
    ),
    Architecture(
        model=PPVectorRes2Net,
        toolkits=("ppvector",),
        has=("layer1.0.convs.0.weight", "layer1.0.downsample.0.weight"),
        sizes=_res2net,
        renames=_PPVECTOR_RENAMES,
    ),
    Architecture(
        model=Res2Net,
        toolkits=("3dspeaker", "wespeaker"),
        has=("layer1.0.convs.0.weight",),
        lacks=(
            "layer1.0.downsample.0.weight",
            "fuse34.local_att.0.weight",
            "fuse_mode1234.local_att.0.weight",
        ),
        sizes=_res2net,
        renames=_RENAMES,
    ),
    Architecture(
        model=ResNet34,
        toolkits=("wespeaker", "3dspeaker"),
        has=("layer1.0.conv2.weight",),
        lacks=("layer1.0.se.fc.0.weight",),
        sizes=_resnet34,
        renames=_RENAMES,
    ),
)
