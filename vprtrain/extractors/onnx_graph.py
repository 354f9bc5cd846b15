"""The check of an ONNX model, which is a program and may come from a stranger, before onnxruntime
reads it.

An ONNX file is a protobuf message. Its fields are walked here without the ``onnx`` package, which
the use of a model does not need. A field that occurs again is checked again, because protobuf
merges the occurrences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from vprtrain.errors import shown

OPERATORS = frozenset(
    {
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant"),
        *("Conv", "Div", "Equal", "Expand", "Floor", "Gather", "GatherElements", "GreaterOrEqual"),
        *("Identity", "Less", "Log", "MatMul", "Max", "MaxPool", "Mul", "Pad", "Pow", "Range"),
        *("Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape"),
        *("Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose"),
        "Unsqueeze",
    }
)
"""What ``paddle2onnx`` makes of the models and features of vprtrain."""

FURTHER = frozenset(
    {
        *("And", "ArgMax", "ArgMin", "ConstantOfShape", "ConvTranspose", "Cos", "Elu", "Erf"),
        *("Exp", "Flatten", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater"),
        *("HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization", "LeakyRelu"),
        *("LessOrEqual", "LogSoftmax", "Min", "Mod", "Neg", "Not", "Or", "PRelu", "ReduceL1"),
        *("ReduceL2", "ReduceLogSumExp", "ReduceMin", "ReduceProd", "ReduceSumSquare", "Selu"),
        *("Sign", "Sin", "Softplus", "Sum", "Tile", "Where"),
    }
)
"""Operators for models of other classes. None has a graph inside (Loop, Scan, If): a loop may have
no end."""
_ALLOWED = OPERATORS | FURTHER

_DOMAINS = ("", "ai.onnx")
_MOST_FIELDS = 2_000_000
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

Value = int | memoryview
Check = Callable[[Value], None]
Parts: TypeAlias = "Mapping[int, Parts | Check]"
"""What is looked at in a message, by the numbers of its fields: messages, and checks of values."""


def check_onnx_graph(data: bytes) -> None:
    """Check which operators a model has, and that all its data is in the file itself.

    Raises:
        ValueError: the file is not a protobuf message, has an operator that no exported model has,
            a function or a graph inside of an operator, or data in other files.
    """
    _Walk().message(memoryview(data), _MODEL)


class _Walk:
    """A walk through one file. It ends, however many fields the file has."""

    def __init__(self) -> None:
        self._fields = 0

    def message(self, data: memoryview, parts: Parts) -> None:
        """Check the fields of a message by their numbers. Others are skipped."""
        for number, value in _fields(data):
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise ValueError(f"it has more than {_MOST_FIELDS} fields")
            part = parts.get(number)
            if callable(part):
                part(value)
            elif part is not None:
                if not isinstance(value, memoryview):
                    raise ValueError(f"field {number} is a number, expected a message")
                self.message(value, part)


def _fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a protobuf message: number and value."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"it has a field of the kind {kind}, which ONNX does not have")
        if length > len(data) - at:
            raise ValueError("it ends within a field")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the position after it."""
    number = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number & (2**64 - 1), at
    raise ValueError("it ends within a number, or has one of more than 64 bits")


def _text(value: Value) -> str:
    return bytes(value[:80]).decode(errors="replace") if isinstance(value, memoryview) else ""


def _operator(value: Value) -> None:
    if _text(value) not in _ALLOWED:
        raise ValueError(f"it has the operator {shown(_text(value))}, which no exported model has")


def _domain(value: Value) -> None:
    if _text(value) not in _DOMAINS:
        raise ValueError(f"it has an operator of the domain {shown(_text(value))}")


def _refused(what: str) -> Check:
    def refuse(value: Value) -> None:
        raise ValueError(f"it has {what}, which no exported model has")

    return refuse


def _location(value: Value) -> None:
    if value != 0:
        raise ValueError("it has data outside of the file")


# The messages of onnx.proto3: what is looked at, by the numbers of the fields.
_TENSOR: Parts = {13: _refused("data outside of the file"), 14: _location}
_ATTRIBUTE: Parts = {
    5: _TENSOR,
    10: _TENSOR,
    **dict.fromkeys((6, 11), _refused("a graph inside of an operator")),
    21: _refused("a reference to an attribute"),
    **dict.fromkeys((22, 23), _refused("a sparse tensor")),
}
_NODE: Parts = {4: _operator, 5: _ATTRIBUTE, 7: _domain}
_GRAPH: Parts = {1: _NODE, 5: _TENSOR, 15: _refused("a sparse tensor")}
_MODEL: Parts = {7: _GRAPH, 20: _refused("a training graph"), 25: _refused("a function")}
