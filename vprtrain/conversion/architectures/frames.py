"""Networks of convolutions over frames: the x-vectors of 3D-Speaker, WeSpeaker, SpeechBrain and
ppvector."""

from __future__ import annotations

import re

from vprtrain.conversion.architectures.architecture import Architecture, Shapes, Sizes, from_zero
from vprtrain.conversion.architectures.pooling import POOLING_RENAMES, pooling_sizes
from vprtrain.models.tdnn import TDNN


def _xvector(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["frame_1.conv_1d.weight"]
    pooled_channels, _, _ = shapes["frame_5.conv_1d.weight"]
    embedding_dim, pooled = shapes["seg_1.weight"]
    sizes = {
        "input_size": input_size,
        "embedding_dim": embedding_dim,
        "channels": channels,
        "pooled_channels": pooled_channels,
        "second_embedding": "seg_2.weight" in shapes,
    }
    poolings = pooling_sizes(shapes, channels=pooled_channels, pooled=pooled)
    return [{**sizes, **pooling} for pooling in poolings]


def _speechbrain_xvector(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["blocks.0.conv.weight"]
    return [
        {
            "input_size": input_size,
            "embedding_dim": shapes["blocks.16.w.bias"][0],
            "channels": channels,
            "pooled_channels": shapes["blocks.12.conv.weight"][0],
            "padding": "reflect",
            "negative_slope": 0.01,
            "affine": True,
            "pooling_eps": 1e-10,
        }
    ]


def _of_three(match: re.Match[str]) -> str:
    return f"frames.{int(match[1]) // 3}.{match[2]}."


def _ppvector_tdnn(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["td_layer1.weight"]
    return [
        {
            "input_size": input_size,
            "embedding_dim": shapes["fc.conv.weight"][0],
            "channels": channels,
            "pooled_channels": shapes["td_layer5.weight"][0],
            "pooling": "ASP",
            "affine": True,
            "norm_after_pooling": True,
        }
    ]


ARCHITECTURES = (
    Architecture(
        model=TDNN,
        toolkits=("3dspeaker", "wespeaker"),
        has=("frame_1.conv_1d.weight",),
        sizes=_xvector,
        fixed={"wespeaker": {"pooling_eps": 1e-7}},
        renames=(
            (r"^frame_(\d+)\.", from_zero("frames.{}.")),
            (r"\bconv_1d\.", "conv."),
            (r"\bbn\.", "norm."),
            *POOLING_RENAMES,
            (r"^seg_1\.", "embedding."),
            (r"^seg_bn_1\.", "second_embedding.1."),
            (r"^seg_2\.", "second_embedding.2."),
        ),
    ),
    Architecture(
        model=TDNN,
        toolkits=("speechbrain",),
        has=("blocks.0.conv.weight", "blocks.12.conv.weight", "blocks.16.w.weight"),
        sizes=_speechbrain_xvector,
        # Convolution, activation and batch normalisation are three entries of one list.
        renames=(
            (r"^blocks\.(\d+)\.(conv|norm)\.", _of_three),
            (r"^blocks\.16\.w\.", "embedding."),
        ),
    ),
    Architecture(
        model=TDNN,
        toolkits=("ppvector",),
        has=("td_layer1.weight",),
        sizes=_ppvector_tdnn,
        renames=(
            (r"^td_layer(\d+)\.", from_zero("frames.{}.conv.")),
            (r"^bn(\d+)\.", from_zero("frames.{}.norm.")),
            (r"^pooling_bn\.norm\.", "pooling_norm."),
            (r"^fc\.conv\.", "embedding."),
            (r"\b(conv|norm)\.\1\.", r"\1."),
        ),
    ),
)
