"""Building blocks, precision and sparse rows that models, losses and features share."""

from vprtrain.layers.blocks import (
    BasicBlock,
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
from vprtrain.layers.initialisation import Conv1D, Conv2D, Linear, draw_as_paddle, redraw
from vprtrain.layers.precision import as_float32, full_precision
from vprtrain.layers.rows import RowTable, rows_updated

__all__ = [
    "BasicBlock",
    "Conv1D",
    "Conv2D",
    "Linear",
    "RowTable",
    "Shortcut",
    "Stem",
    "TDNNBlock",
    "as_float32",
    "clipped_relu",
    "conv_norm",
    "draw_as_paddle",
    "frame_mask",
    "full_precision",
    "masked",
    "mean_over_frames",
    "redraw",
    "relu",
    "rows_updated",
    "silu",
    "strided_lengths",
]
