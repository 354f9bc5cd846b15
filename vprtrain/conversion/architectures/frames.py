"""Networks of convolutions over frames: the x-vectors of 3D-Speaker and ppvector."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import Architecture, Shapes, Sizes, from_zero
from vprtrain.models.tdnn import TDNN


def _xvector(shapes: Shapes) -> list[Sizes]:
    channels, input_size, _ = shapes["frame_1.conv_1d.weight"]
    return [
        {
            "input_size": input_size,
            "embedding_dim": shapes["seg_1.bias"][0],
            "channels": channels,
            "pooled_channels": shapes["frame_5.conv_1d.weight"][0],
        }
    ]


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
        has=("frame_1.conv_1d.weight",),
        sizes=_xvector,
        renames=(
            (r"^frame_(\d+)\.", from_zero("frames.{}.")),
            (r"\bconv_1d\.", "conv."),
            (r"\bbn\.", "norm."),
            (r"^seg_1\.", "embedding."),
        ),
    ),
    Architecture(
        model=TDNN,
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
