"""ECAPA-TDNN of SpeechBrain (3D-Speaker's copy has the same names), ppvector and WeSpeaker."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import (
    Architecture,
    Shapes,
    Sizes,
    from_zero,
)
from vprtrain.conversion.architectures.pooling import POOLING_RENAMES, pooling_sizes
from vprtrain.models.ecapa_tdnn import EcapaTdnn, WeSpeakerEcapaTdnn


def _sizes(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["blocks.0.conv.conv.weight"]
    (aggregated,) = shapes["mfa.conv.conv.bias"]
    embedding_dim, pooled, _ = shapes["fc.conv.weight"]
    attention = next(
        (name for name in ("asp.tdnn.conv.conv.bias", "asp.linear1.bias") if name in shapes), None
    )
    names = {(False, 1): "TAP", (False, 2): "TSVP", (True, 1): "SAP", (True, 2): "ASP"}
    return [
        {
            "input_size": input_size,
            "embedding_dim": embedding_dim,
            "channels": channels,
            "scale": channels // shapes["blocks.1.res2net_block.blocks.0.conv.conv.weight"][0],
            "se_channels": shapes["blocks.1.se_block.conv1.conv.weight"][0],
            "pooling": names[attention is not None, pooled // aggregated],
            **({"attention_channels": shapes[attention][0]} if attention else {}),
        }
    ]


def _wespeaker_sizes(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["layer1.conv.weight"]
    aggregated, _, _ = shapes["conv.weight"]
    embedding_dim, pooled = shapes["linear.weight"]
    sizes = {
        "input_size": input_size,
        "embedding_dim": embedding_dim,
        "channels": channels,
        "scale": channels // shapes["layer2.se_res2block.1.convs.0.weight"][0],
        "se_channels": shapes["layer2.se_res2block.3.linear1.weight"][0],
        "aggregated_channels": aggregated,
        "embedding_norm": "bn2.weight" in shapes,
    }
    poolings = pooling_sizes(shapes, channels=aggregated, pooled=pooled)
    return [{**sizes, **pooling} for pooling in poolings]


ARCHITECTURES = (
    Architecture(
        model=EcapaTdnn,
        toolkits=("speechbrain", "3dspeaker", "ppvector"),
        has=("mfa.conv.conv.weight",),
        sizes=_sizes,
        renames=(
            (r"\b(conv\d?|fc)\.conv\.", r"\1."),
            (r"\b(norm|asp_bn)\.norm\.", r"\1."),
        ),
    ),
    Architecture(
        model=WeSpeakerEcapaTdnn,
        toolkits=("wespeaker",),
        has=("layer1.conv.weight", "layer2.se_res2block.1.convs.0.weight"),
        sizes=_wespeaker_sizes,
        renames=(
            *POOLING_RENAMES,
            (r"^conv\.", "mfa.conv."),
            (r"^pooling\.", "asp."),
            (r"^bn\.", "asp_bn."),
            (r"^linear\.", "fc."),
            (r"^bn2\.", "embedding_norm."),
            (r"^layer(\d+)\.", from_zero("blocks.{}.")),
            (r"\bse_res2block\.0\.", "tdnn1."),
            (r"\bse_res2block\.1\.convs\.(\d+)\.", r"res2net_block.blocks.\1.conv."),
            (r"\bse_res2block\.1\.bns\.(\d+)\.", r"res2net_block.blocks.\1.norm."),
            (r"\bse_res2block\.2\.", "tdnn2."),
            (r"\bse_res2block\.3\.linear(\d)\.", r"se_block.conv\1."),
            (r"\bbn\.", "norm."),
        ),
    ),
)
