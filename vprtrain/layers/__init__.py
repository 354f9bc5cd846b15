"""Building blocks, precision and sparse rows that models, losses and features share."""

from vprtrain.layers.blocks import (
    BasicBlock,
    Conv1D,
    Shortcut,
    Stem,
    TDNNBlock,
    clipped_relu,
    conv_norm,
    frame_mask,
    masked,
    mean_over_frames,
    relu,
    silu,
    strided_lengths,
)
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.layers.rows import RowTable, rows_updated

__all__ = [
    "BasicBlock",
    "Conv1D",
    "RowTable",
    "Shortcut",
    "Stem",
    "TDNNBlock",
    "as_float32",
    "clipped_relu",
    "conv_norm",
    "frame_mask",
    "full_precision",
    "masked",
    "mean_over_frames",
    "relu",
    "rows_updated",
    "silu",
    "strided_lengths",
]
