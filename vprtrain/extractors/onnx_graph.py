"""The check of an ONNX model, which is a program and may come from a stranger, before onnxruntime
reads it.

An ONNX file is a protobuf message. Its fields are read here without the ``onnx`` package, which the
use of a model does not need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vprtrain.errors import shown
from vprtrain.extractors.graph_sizes import GraphSizes

OPERATORS = frozenset(
    {
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant"),
        *("Conv", "ConvInteger", "Div", "DynamicQuantizeLinear", "Equal", "Erf", "Exp", "Expand"),
        *("Floor", "Gather", "GatherElements", "Gemm", "GreaterOrEqual", "Identity"),
        *("LayerNormalization", "Less", "Log", "MatMul", "MatMulInteger", "Max", "MaxPool", "Mul"),
        *("Pad", "Pow", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu"),
        *("Reshape", "Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub"),
        *("Tanh", "Transpose", "Unsqueeze"),
    }
)
"""What ``paddle2onnx`` makes of the models and features of vprtrain, and onnxruntime's optimizer
and quantiser of that."""

FURTHER = frozenset(
    {
        *("And", "ArgMax", "ArgMin", "Celu", "ConstantOfShape", "ConvTranspose", "Cos", "CumSum"),
        *("Dropout", "Elu", "Flatten", "GatherND", "GlobalAveragePool", "GlobalMaxPool", "Greater"),
        *("HardSigmoid", "HardSwish", "InstanceNormalization", "LeakyRelu", "LessOrEqual"),
        *("LogSoftmax", "Min", "Mod", "Neg", "Not", "Or", "PRelu", "ReduceL1", "ReduceL2"),
        *("ReduceLogSumExp", "ReduceMin", "ReduceProd", "ReduceSumSquare", "Selu", "Sign", "Sin"),
        *("Softplus", "Softsign", "Sum", "Tile", "TopK", "Where"),
    }
)
"""Operators for models of other classes. None has a graph inside (Loop, Scan, If): a loop may have
no end."""

_KNOWN = OPERATORS | FURTHER
_REFUSED_ATTRIBUTES = {
    **dict.fromkeys((6, 11), "a graph inside of an operator"),
    **dict.fromkeys((22, 23), "a sparse tensor"),
    21: "a reference to an attribute",
}
_REFUSED_TENSORS = {
    **dict.fromkeys((3, 4, 5, 6, 7, 10, 11), "numbers in another form"),
    13: "data outside of the file",
}

# The inputs that say how large the result is.
_SIZE_INPUTS = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Tile": (1,),
}
_SAME_NUMBERS = ("Cast", "Identity", "Squeeze", "Unsqueeze")
_MOST_SHAPE_BYTES = 512

_DOMAINS = ("", "ai.onnx")
_MOST_FIELDS = 2_000_000
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
# Of a tensor: the NumPy type by the number of the type.
_TYPES = {
    **{1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2"},
    **{11: "<f8", 12: "<u4", 13: "<u8"},
}

Value = int | memoryview
Message = dict[int, list[Value]]
"""The values of a message by the numbers of their fields."""


def check_onnx_graph(data: bytes) -> None:
    """Check which operators a model has, that all its data is in the file itself and has the size
    of its shape, and how large the results are that it asks for.

    Raises:
        ValueError: the file is not a protobuf message, has an operator that no exported model has,
            a function or a graph inside of an operator, data in other files, or a shape that is
            too large.
    """
    _Model().check(memoryview(data))


class _Model:
    """The check of one file. The numbers of the fields are those of onnx.proto."""

    def __init__(self) -> None:
        self._fields_left = _MOST_FIELDS
        self._sizes = GraphSizes()

    def check(self, data: memoryview) -> None:
        model = self._message(data)
        _refuse(model, {20: "a training graph", 25: "a function"})
        graph = self._message(_one(model, 7))
        _refuse(graph, {15: "a sparse tensor"})
        for tensor in graph.get(5, []):
            self._tensor(tensor)
        for node in graph.get(1, []):
            self._node(node)

    def _node(self, value: Value) -> None:
        node = self._message(value)
        operator = _text(_one(node, 4))
        if operator not in _KNOWN:
            raise ValueError(f"it has the operator {shown(operator)}, which no exported model has")
        domain = _text(_one(node, 7))
        if domain not in _DOMAINS:
            raise ValueError(f"it has an operator of the domain {shown(domain)}")
        inputs, outputs = (
            [bytes(_as_bytes(name)) for name in node.get(field, [])] for field in (1, 2)
        )
        for attribute in node.get(5, []):
            self._attribute(attribute, operator, outputs)
        if operator == "Concat" or operator in _SAME_NUMBERS:
            parts = inputs if operator == "Concat" else inputs[:1]
            for name in outputs:
                self._sizes.join(name, parts)
        asked = [inputs[place] for place in _SIZE_INPUTS.get(operator, ()) if place < len(inputs)]
        self._sizes.ask(operator, operands=asked)

    def _attribute(self, value: Value, operator: str, outputs: list[bytes]) -> None:
        attribute = self._message(value)
        _refuse(attribute, _REFUSED_ATTRIBUTES)
        if 5 in attribute:
            self._tensor(_one(attribute, 5), *outputs)
        for tensor in attribute.get(10, []):
            self._tensor(tensor)
        self._sizes.ask(operator, _numbers(attribute, 3) + _numbers(attribute, 8))

    def _tensor(self, value: Value, *names: bytes) -> None:
        """Check a tensor and remember its numbers under its own name and others."""
        tensor = self._message(value)
        _refuse(tensor, _REFUSED_TENSORS)
        if any(_numbers(tensor, 14)):
            raise ValueError("it has data outside of the file")
        shape = _numbers(tensor, 1)
        kind = next(iter(_numbers(tensor, 2)), 0)
        data = _as_bytes(_one(tensor, 9))
        if kind not in _TYPES or any(size < 0 for size in shape):
            raise ValueError(f"it has a tensor of the type {kind} and the shape {shown(shape)}")
        dtype = np.dtype(_TYPES[kind])
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(
                f"it has {len(data)} bytes for a tensor of {dtype} and the shape {shown(shape)}"
            )
        if 0 < len(data) <= _MOST_SHAPE_BYTES:
            for name in (bytes(_as_bytes(_one(tensor, 8))), *names):
                self._sizes.know(name, np.frombuffer(data, dtype).tolist())

    def _message(self, value: Value) -> Message:
        message: Message = {}
        for number, part in _fields(_as_bytes(value)):
            self._fields_left -= 1
            if self._fields_left < 0:
                raise ValueError(f"it has more than {_MOST_FIELDS} fields")
            message.setdefault(number, []).append(part)
        return message


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
    if at < len(data) and data[at] < 0x80:  # nearly all: a graph has tens of thousands
        return data[at], at + 1
    number = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number & (2**64 - 1), at
    raise ValueError("it ends within a number, or has one of more than 64 bits")


def _one(message: Message, field: int) -> Value:
    """The only value of a field; empty bytes if it is left out. Protobuf would merge several."""
    values = message.get(field, [memoryview(b"")])
    if len(values) > 1:
        raise ValueError(f"it has {len(values)} values of the field {field}, expected one")
    return values[0]


def _as_bytes(value: Value) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("it has a number, expected bytes or a message")
    return value


def _numbers(message: Message, field: int) -> list[int]:
    """The whole numbers of a field, which protobuf writes one by one or together."""
    numbers: list[int] = []
    for value in message.get(field, []):
        at = 0
        while isinstance(value, memoryview) and at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
        if isinstance(value, int):
            numbers.append(value)
    return [number - 2**64 if number >= 2**63 else number for number in numbers]


def _text(value: Value) -> str:
    return bytes(value[:80]).decode(errors="replace") if isinstance(value, memoryview) else ""


def _refuse(message: Message, refused: dict[int, str]) -> None:
    for field in refused.keys() & message.keys():
        raise ValueError(f"it has {refused[field]}, which no exported model has")
