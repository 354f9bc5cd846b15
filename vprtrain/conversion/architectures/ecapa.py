"""ECAPA-TDNN of SpeechBrain (3D-Speaker's copy has the same names) and ppvector."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import Architecture, Shapes, Sizes
from vprtrain.models.ecapa_tdnn import EcapaTdnn


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


ARCHITECTURES = (
    Architecture(
        model=EcapaTdnn,
        has=("mfa.conv.conv.weight",),
        sizes=_sizes,
        renames=(
            (r"\b(conv\d?|fc)\.conv\.", r"\1."),
            (r"\b(norm|asp_bn)\.norm\.", r"\1."),
        ),
    ),
)
