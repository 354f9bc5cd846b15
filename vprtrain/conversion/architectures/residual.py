"""ResNets over spectrograms and their relatives: of WeSpeaker, 3D-Speaker and ppvector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Rename,
    Shapes,
    Sizes,
    depths,
    from_zero,
)
from vprtrain.conversion.architectures.pooling import POOLING_RENAMES, spectrogram_sizes
from vprtrain.models.df_resnet import DFResNet
from vprtrain.models.res2net import PPVectorRes2Net, Res2Net
from vprtrain.models.resnet import ResNet
from vprtrain.models.resnet_se import ResNetSE
from vprtrain.models.resnet_tdnn import ResNetTDNN

POOLING_EPS: Mapping[str | None, Sizes] = {
    "3dspeaker": {"pooling_eps": 1e-8},
    "wespeaker": {"pooling_eps": 1e-7},
}
EMBEDDING_RENAMES: tuple[Rename, ...] = (
    *POOLING_RENAMES,
    (r"^seg_1\.", "embedding."),
    (r"^seg_bn_1\.", "second_embedding.1."),
    (r"^seg_2\.", "second_embedding.2."),
)
_STAGE_RENAMES: tuple[Rename, ...] = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d+)\.", from_zero("stages.{}.")),
)
_PPVECTOR_RENAMES: tuple[Rename, ...] = (
    *_STAGE_RENAMES,
    (r"\bdownsample\.", "shortcut."),
    (r"\bse\.fc\.0\.", "se.linear1."),
    (r"\bse\.fc\.2\.", "se.linear2."),
    (r"^pooling_bn\.norm\.", "pooling_norm."),
    (r"^fc\.conv\.", "embedding."),
    (r"\b(conv|norm)\.\1\.", r"\1."),
)


def embedded_sizes(shapes: Shapes, *, last: str) -> Iterator[Sizes]:
    """The readings of the sizes that all networks with ``layer1``, ``layer2``, ... and ``seg_1``
    share; ``last`` is a block's last convolution."""
    blocks = depths(shapes, r"layer(\d+)\.(\d+)\.")
    pooled = spectrogram_sizes(
        shapes,
        linear="seg_1",
        channels=shapes[f"layer{len(blocks)}.0.{last}.weight"][0],
        reduction=1 << len(blocks) - 1,
    )
    for sizes in pooled:
        yield {
            **sizes,
            "embedding_dim": shapes["seg_1.bias"][0],
            "channels": shapes["conv1.weight"][0],
            "blocks": blocks,
            "second_embedding": "seg_2.weight" in shapes,
        }


def res2_sizes(shapes: Shapes) -> Sizes:
    """How the blocks of a network of Res2 blocks are split."""
    # Of the last stage, where rounding down had the least effect.
    stage = len(depths(shapes, r"layer(\d+)\.(\d+)\."))
    part = shapes[f"layer{stage}.0.convs.0.weight"][0]
    return {
        "base_width": -(-64 * part // (shapes["conv1.weight"][0] << stage - 1)),
        "scale": shapes[f"layer{stage}.0.conv1.weight"][0] // part,
    }


def _resnet(shapes: Shapes) -> Iterator[Sizes]:
    is_bottleneck = "layer1.0.conv3.weight" in shapes
    for sizes in embedded_sizes(shapes, last="conv3" if is_bottleneck else "conv2"):
        yield {**sizes, "block": "bottleneck" if is_bottleneck else "basic"}


def _simam_resnet(shapes: Shapes) -> list[Sizes]:
    blocks = depths(shapes, r"front\.layer(\d+)\.(\d+)\.")
    widest = shapes[f"front.layer{len(blocks)}.0.conv2.weight"][0]
    return [
        {
            "input_size": shapes["pooling.attention.3.weight"][0] // widest << len(blocks) - 1,
            "embedding_dim": shapes["bottleneck.bias"][0],
            "channels": shapes["front.conv1.weight"][0],
            "blocks": blocks,
            "block": "simam",
            "pooling": "LASP",
            "pooling_eps": 1e-5,
        }
    ]


def _res2net(shapes: Shapes) -> Iterator[Sizes]:
    for sizes in embedded_sizes(shapes, last="conv3"):
        yield {**sizes, **res2_sizes(shapes)}


def _df_resnet(shapes: Shapes) -> Iterator[Sizes]:
    blocks = depths(shapes, r"stages\.(\d+)\.(\d+)\.")
    pooled = spectrogram_sizes(
        shapes,
        linear="seg_1",
        channels=shapes[f"downsample_layers.{len(blocks)}.0.weight"][0],
        reduction=1 << len(blocks),
    )
    for sizes in pooled:
        yield {
            **sizes,
            "embedding_dim": shapes["seg_1.bias"][0],
            "channels": shapes["downsample_layers.0.0.weight"][0],
            "blocks": blocks,
            "second_embedding": "seg_2.weight" in shapes,
        }


def _ppvector_sizes(shapes: Shapes) -> Sizes:
    blocks = depths(shapes, r"layer(\d+)\.(\d+)\.")
    widest = shapes[f"layer{len(blocks)}.0.conv3.weight"][0]
    embedding_dim, pooled, _ = shapes["fc.conv.weight"]
    return {
        # Mean and deviation of each channel at each remaining mel.
        "input_size": pooled // (2 * widest) << len(blocks) - 1,
        "embedding_dim": embedding_dim,
        "channels": shapes["conv1.weight"][0],
        "blocks": blocks,
    }


def _resnet_se(shapes: Shapes) -> list[Sizes]:
    gates = shapes["layer1.0.se.fc.0.weight"]
    return [{**_ppvector_sizes(shapes), "reduction": max(gates) // min(gates)}]


def _ppvector_res2net(shapes: Shapes) -> list[Sizes]:
    return [{**_ppvector_sizes(shapes), **res2_sizes(shapes)}]


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
        sizes=_ppvector_res2net,
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
        fixed=POOLING_EPS,
        renames=(*_STAGE_RENAMES, *EMBEDDING_RENAMES),
    ),
    Architecture(
        model=ResNet,
        toolkits=("wespeaker", "3dspeaker"),
        has=("layer1.0.conv2.weight",),
        lacks=("layer1.0.se.fc.0.weight",),
        sizes=_resnet,
        fixed=POOLING_EPS,
        renames=(*_STAGE_RENAMES, *EMBEDDING_RENAMES),
    ),
    Architecture(
        model=ResNet,
        toolkits=("wespeaker",),
        has=("front.layer1.0.conv2.weight", "pooling.attention.3.weight"),
        sizes=_simam_resnet,
        renames=(
            (r"^front\.", ""),
            *_STAGE_RENAMES,
            (r"\bdownsample\.", "shortcut."),
            (r"^pooling\.attention\.0\.", "pooling.tdnn.conv."),
            (r"^pooling\.attention\.2\.", "pooling.tdnn.norm."),
            (r"^pooling\.attention\.3\.", "pooling.conv."),
            (r"^bottleneck\.", "embedding."),
        ),
    ),
    Architecture(
        model=DFResNet,
        toolkits=("wespeaker",),
        has=("downsample_layers.0.0.weight", "stages.0.0.conv1.weight"),
        sizes=_df_resnet,
        fixed=POOLING_EPS,
        renames=(
            # The strided convolution before each stage is the stage's first block.
            (r"^stages\.(\d+)\.(\d+)\.", lambda name: f"stages.{name[1]}.{int(name[2]) + 1}."),
            (r"^downsample_layers\.0\.0\.", "stem.conv1."),
            (r"^downsample_layers\.0\.1\.", "stem.bn1."),
            (r"^downsample_layers\.(\d+)\.0\.", from_zero("stages.{}.0.conv.")),
            (r"^downsample_layers\.(\d+)\.1\.", from_zero("stages.{}.0.bn.")),
            *EMBEDDING_RENAMES,
        ),
    ),
)
