"""The operators that a static Paddle graph may have, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SHAPE = "dtype:dtype place:place"
_WINDOW = "strides:array paddings:array"

EXPORTED: Mapping[str, tuple[int | None, str]] = MappingProxyType(
    {
        "0.combine": (None, ""),
        "0.split": (1, ""),
        "1.arange": (3, _SHAPE),
        "1.batch_norm_": (
            5,
            "is_test:bool momentum:f32 epsilon:f32 data_format:str use_global_stats:bool "
            "trainable_statistics:bool",
        ),
        "1.cast": (1, "dtype:dtype"),
        "1.clip": (3, ""),
        "1.concat": (2, ""),
        "1.conv2d": (
            2,
            f"{_WINDOW} padding_algorithm:str dilations:array groups:i32 data_format:str",
        ),
        "1.data": (0, "name:str shape:intarray dtype:dtype place:place"),
        "1.expand": (2, ""),
        "1.fetch": (1, "name:str col:i32"),
        "1.flatten": (1, "start_axis:i32 stop_axis:i32"),
        "1.full": (0, f"shape:intarray value:f64 {_SHAPE}"),
        "1.full_int_array": (0, f"value:array {_SHAPE}"),
        "1.full_with_tensor": (2, "dtype:dtype"),
        "1.matmul": (2, "transpose_x:bool transpose_y:bool"),
        "1.pool2d": (
            2,
            f"{_WINDOW} ceil_mode:bool exclusive:bool data_format:str pooling_type:str "
            "global_pooling:bool adaptive:bool padding_algorithm:str",
        ),
        "1.reshape": (2, ""),
        "1.scale": (2, "bias:f32 bias_after_scale:bool"),
        "1.slice": (3, "axes:array infer_flags:array decrease_axis:array"),
        "1.softmax": (1, "axis:i32"),
        "1.split_with_num": (2, "num:i32"),
        "1.squeeze": (2, ""),
        "1.stack": (1, "axis:i32"),
        "1.sum": (2, "dtype:dtype keepdim:bool"),
        "1.take_along_axis": (2, "axis:i32"),
        "1.transpose": (1, "perm:array"),
        "1.unfold": (1, f"kernel_sizes:array {_WINDOW} dilations:array"),
        "1.unsqueeze": (2, ""),
        **dict.fromkeys(("1.max", "1.mean"), (2, "keepdim:bool")),
        **dict.fromkeys(
            (
                *("1.abs", "1.assign", "1.log", "1.log10", "1.relu", "1.rsqrt", "1.shape64"),
                *("1.sigmoid", "1.sqrt", "1.square", "1.tanh"),
            ),
            (1, ""),
        ),
        **dict.fromkeys(
            (
                *("1.add", "1.divide", "1.elementwise_pow", "1.equal", "1.floor_divide"),
                *("1.greater_equal", "1.less_than", "1.maximum", "1.multiply", "1.subtract"),
            ),
            (2, ""),
        ),
    }
)
"""The operators in the exports of vprtrain's own models and features: the number of inputs
(``None``: any) and the attributes with their types. Each may have a ``struct_name`` too."""

FIRST_OPTIONAL_INPUT: Mapping[str, int] = MappingProxyType(
    {"1.batch_norm_": 3, "1.group_norm": 1, "1.instance_norm": 1, "1.layer_norm": 1}
)
"""From which input on the number 0 stands for one that is left out: a scale, a bias."""

FURTHER = frozenset(
    {
        *("1.bmm", "1.conv2d_transpose", "1.depthwise_conv2d", "1.elu", "1.exp", "1.fft_r2c"),
        *("1.flip", "1.gather", "1.gelu", "1.greater_than", "1.group_norm", "1.hardsigmoid"),
        *("1.hardswish", "1.hardtanh", "1.imag", "1.instance_norm", "1.layer_norm"),
        *("1.leaky_relu", "1.less_equal", "1.log1p", "1.logical_and", "1.logical_not"),
        *("1.logical_or", "1.logsumexp", "1.min", "1.minimum", "1.mish", "1.not_equal"),
        *("1.p_norm", "1.pad", "1.pad3d", "1.pow", "1.prelu", "1.prod", "1.real", "1.relu6"),
        *("1.roll", "1.selu", "1.silu", "1.softplus", "1.split", "1.strided_slice", "1.swish"),
        *("1.tile", "1.where"),
    }
)
"""Operators for models of other classes: functions of their inputs, without graphs inside."""
