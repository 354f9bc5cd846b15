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
        "1.gather": (3, ""),
        "1.gelu": (1, "approximate:bool"),
        "1.layer_norm": (3, "epsilon:f32 begin_norm_axis:i32"),
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
        "1.unsqueeze": (2, ""),
        **dict.fromkeys(("1.max", "1.mean"), (2, "keepdim:bool")),
        **dict.fromkeys(
            (
                *("1.abs", "1.assign", "1.exp", "1.log", "1.log10", "1.log1p", "1.relu"),
                *("1.rsqrt", "1.shape64", "1.sigmoid", "1.sqrt", "1.square", "1.tanh"),
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

_WINDOW_2D = f"{_WINDOW} padding_algorithm:str groups:i32 dilations:array data_format:str"

FURTHER: Mapping[str, tuple[int | None, str]] = MappingProxyType(
    {
        "1.argmax": (2, "keepdims:bool flatten:bool dtype:dtype"),
        "1.conv2d_transpose": (3, f"{_WINDOW_2D} output_padding:array"),
        "1.cumsum": (2, "flatten:bool exclusive:bool reverse:bool"),
        "1.depthwise_conv2d": (2, _WINDOW_2D),
        "1.dropout": (3, "is_test:bool mode:str seed:i32 fix_seed:bool"),
        "1.embedding": (2, "padding_idx:i64 sparse:bool"),
        "1.fft_r2c": (1, "axes:array normalization:str forward:bool onesided:bool"),
        "1.flip": (1, "axis:array"),
        "1.full_like": (2, _SHAPE),
        "1.group_norm": (3, "epsilon:f64 groups:i32 data_format:str"),
        "1.hardsigmoid": (1, "slope:f32 offset:f32"),
        "1.hardtanh": (1, "t_min:f32 t_max:f32"),
        "1.instance_norm": (3, "epsilon:f32"),
        "1.leaky_relu": (1, "negative_slope:f64"),
        "1.log_softmax": (1, "axis:i32"),
        "1.logsumexp": (1, "axis:array keepdim:bool reduce_all:bool"),
        "1.min": (2, "keepdim:bool"),
        "1.mish": (1, "lambda:f32"),
        "1.p_norm": (1, "porder:f32 axis:i32 epsilon:f32 keepdim:bool asvector:bool"),
        "1.pad": (2, "paddings:array"),
        "1.pad3d": (2, "mode:str pad_value:f64 data_format:str"),
        "1.pow": (1, "y:f32"),
        "1.prelu": (2, "data_format:str mode:str"),
        "1.prod": (2, "keepdim:bool reduce_all:bool"),
        "1.roll": (2, "axis:array"),
        "1.selu": (1, "scale:f32 alpha:f32"),
        "1.softplus": (1, "beta:f64 threshold:f64"),
        "1.split": (3, ""),
        "1.strided_slice": (4, "axes:array"),
        "1.tile": (2, ""),
        "1.topk": (2, "axis:i32 largest:bool sorted:bool"),
        "1.unfold": (1, f"kernel_sizes:array {_WINDOW} dilations:array"),  # earlier exports
        "1.where": (3, ""),
        **dict.fromkeys(("1.celu", "1.elu"), (1, "alpha:f32")),
        **dict.fromkeys(
            (
                *("1.cos", "1.hardswish", "1.imag", "1.logical_not", "1.numel"),
                *("1.real", "1.relu6", "1.silu", "1.sin", "1.softsign", "1.swish"),
            ),
            (1, ""),
        ),
        **dict.fromkeys(
            (
                *("1.bmm", "1.greater_than", "1.less_equal", "1.logical_and", "1.logical_or"),
                *("1.minimum", "1.not_equal"),
            ),
            (2, ""),
        ),
    }
)
"""Operators for models of other classes: functions of their inputs, without graphs inside."""

OPTIONAL_INPUTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "1.batch_norm_": (3, 4),
        "1.dropout": (1,),
        **dict.fromkeys(("1.group_norm", "1.instance_norm", "1.layer_norm"), (1, 2)),
    }
)
"""The inputs for which the number 0 stands for one that is left out: a scale, a bias, a seed."""

SIZE_INPUTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "1.arange": (0, 1, 2),
        "1.conv2d_transpose": (2,),
        "1.expand": (1,),
        "1.full_with_tensor": (1,),
        "1.pad3d": (1,),
        "1.pool2d": (1,),
        "1.tile": (1,),
    }
)
"""The inputs that say how large the result is."""
