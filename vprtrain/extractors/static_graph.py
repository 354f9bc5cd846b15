"""The check of a static Paddle model, which is a program and may come from a stranger, before
Paddle reads it.

Paddle's C++ code believes a graph file and its weights: a missing key, a number of the wrong type
or a size that the weights do not have can end the process. So the form of both files is checked
here, as far as Paddle relies on it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from vprtrain.errors import shown
from vprtrain.extractors.graph_sizes import GraphSizes
from vprtrain.extractors.static_operators import (
    EXPORTED,
    FURTHER,
    OPTIONAL_INPUTS,
    SIZE_INPUTS,
)

_MOST_AXES = 8
_SAME_NUMBERS = ("0.combine", "1.assign", "1.cast", "1.stack")
_WINDOWS = {"strides", "paddings", "dilations", "kernel_sizes", "output_padding"}
_OPERATOR_KEYS = {"#", "A", "I", "O", "OA"}
_PARAMETER_KEYS = {"#", "A", "DA", "O", "OA", "QA"}
_DTYPES = (
    *("bool", "float32", "float64", "int32", "int64", "uint8", "complex64"),
    "Undefined(ALL_DTYPE)",
)
_TENSOR_TYPES = (*("0.t_bool", "0.t_f32", "0.t_f64", "0.t_i32", "0.t_i64", "0.t_ui8", "0.t_c64"),)
# Of a weight: the number of the type in the weights' file, and the bytes of a value.
_WEIGHT_TYPES = {
    **{"0.t_bool": (0, 1), "0.t_i32": (2, 4), "0.t_i64": (3, 8)},
    **{"0.t_f32": (5, 4), "0.t_f64": (6, 8), "0.t_ui8": (20, 1)},
}
_WEIGHT_HEADER = struct.Struct("<IQII")  # three versions, always 0, and the bytes that follow


class Tensor(NamedTuple):
    """The type of a result of a graph."""

    kind: str
    shape: tuple[int, ...]


Weights = dict[str, Tensor]
"""A graph's weights by name."""


def check_static_graph(program: object) -> Weights:
    """Check the JSON value of a graph file.

    Returns:
        The weights that the graph uses.

    Raises:
        ValueError: the value has not the form of an exported graph, or has an operator that no
            model needs, such as one that reads a file, or a loop.
    """
    top = _fields(program, {"base_code", "program"}, "the file")
    _require(_fields(top["base_code"], None, "base_code").get("magic") == "pir", "its magic")
    (region,) = _items(_fields(top["program"], {"regions"}, "the program")["regions"], 1, "regions")
    (block,) = _items(_fields(region, {"#", "blocks"}, "a region")["blocks"], 1, "blocks")
    parts = _fields(block, {"#", "args", "ops"}, "a block")
    _require(region["#"] == "region_0" and block["#"] == "block_0", "the names of its parts")
    _items(parts["args"], 0, "arguments")
    graph = _Graph()
    for operator in _items(parts["ops"], None, "operators"):
        graph.add(operator)
    _require(graph.outputs == 1, f"{graph.outputs} outputs, expected 1")
    return graph.weights


def check_static_weights(data: bytes, weights: Weights) -> None:
    """Check the file of a graph's weights: one after the other, in the order of their names, each
    with a description of its type and shape.

    Raises:
        ValueError: the file does not hold exactly these weights.
    """
    at = 0
    for name, (kind, shape) in sorted(weights.items()):
        if kind not in _WEIGHT_TYPES or any(size < 0 for size in shape):
            raise ValueError(f"weight {shown(name)} has the type {kind} and the shape {shape}")
        number, value_bytes = _WEIGHT_TYPES[kind]
        description = bytes((8, number)) + b"".join(b"\x10" + _varint(size) for size in shape)
        header = _WEIGHT_HEADER.pack(0, 0, 0, len(description)) + description
        if data[at : at + len(header)] != header:
            raise ValueError(f"weight {shown(name)} is not what the graph expects, {shape}")
        at += len(header) + math.prod(shape) * value_bytes
    if at != len(data):
        raise ValueError(f"it has {len(data)} bytes, expected {at} for these weights")


def _varint(number: int) -> bytes:
    """A whole number in protobuf's form, seven bits a byte."""
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


class _Graph:
    """The operators so far: their results by number, and the weights."""

    def __init__(self) -> None:
        self.results: set[int] = set()
        self.weights: Weights = {}
        self.outputs = 0
        self._sizes = GraphSizes()

    def add(self, operator: object) -> None:
        """Check one operator, whose inputs are results of those before it."""
        if not isinstance(operator, dict):
            raise ValueError(f"an operator is {shown(operator)}")
        name = operator.get("#")
        if name == "p":
            self._add_weight(_fields(operator, _PARAMETER_KEYS, "a weight"))
            return
        if not isinstance(name, str) or not (signature := EXPORTED.get(name) or FURTHER.get(name)):
            raise ValueError(f"it has the operator {shown(name)}, which no model needs")
        parts = _fields(operator, _OPERATOR_KEYS, name)
        inputs = self._inputs(parts["I"], name, signature[0])
        found = _attributes(parts["A"], name)
        found.pop("struct_name", None)
        expected = dict(pair.split(":") for pair in signature[1].split())
        _require(
            {key: kind.partition(".a_")[2] for key, (kind, _) in found.items()} == expected,
            f"the attributes of {name}",
        )
        _attributes(parts["OA"], name)
        results = _items(parts["O"], None, f"results of {name}")
        for result in results:
            self._add_result(result, name)
        values = {key: value for key, (_, value) in found.items()}
        self._ask(name, inputs, values, [result["%"] for result in results])
        self.outputs += name == "1.fetch"

    def _inputs(self, found: object, name: str, count: int | None) -> list[int]:
        """The numbers of an operator's inputs."""
        numbers = []
        for place, operand in enumerate(_items(found, count, f"inputs of {name}")):
            number = _fields(operand, {"%"}, f"an input of {name}")["%"]
            is_left_out = number == 0 and place in OPTIONAL_INPUTS.get(name, ())
            _require(
                type(number) is int and (is_left_out or number in self.results),
                f"an input of {name}",
            )
            numbers.append(number)
        return numbers

    def _ask(
        self, name: str, inputs: list[int], values: Mapping[str, Any], results: list[int]
    ) -> None:
        """Count the values that an operator makes, as far as the graph says how many."""
        sizes = self._sizes
        sizes.ask(name, operands=[inputs[place] for place in SIZE_INPUTS.get(name, ())])
        for window in _WINDOWS & values.keys():
            sizes.ask(name, _plain(values[window]))
        for result in results:
            if name == "1.full":
                sizes.ask(name, values["shape"])
                sizes.know(result, [values["value"]])
            elif name == "1.full_int_array":
                sizes.know(result, _plain(values["value"]))
            elif name in _SAME_NUMBERS:
                sizes.join(result, inputs)

    def _add_weight(self, parts: Mapping[str, Any]) -> None:
        attributes = _items(parts["A"], 4, "attributes of a weight")
        name = attributes[3]
        _require(isinstance(name, str) and name not in self.weights, "the name of a weight")
        for key, count in (("DA", 0), ("QA", 0), ("OA", 3)):
            _items(parts[key], count, f"{key} of a weight")
        flags = [*attributes[:3], *parts["OA"]]
        _require(all(flag in (0, 1) and type(flag) is int for flag in flags), "a weight's flags")
        tensors = self._add_result(parts["O"], "a weight")
        _require(len(tensors) == 1, "the type of a weight")
        self.weights[name] = tensors[0]

    def _add_result(self, result: object, name: str) -> list[Tensor]:
        """Check a result: a tensor, or a list of tensors."""
        parts = _fields(result, {"%", "TT"}, f"a result of {name}")
        number = parts["%"]
        _require(
            type(number) is int and 0 < number < 2**31 and number not in self.results,
            f"the number of a result of {name}",
        )
        self.results.add(number)
        kind = _fields(parts["TT"], {"#", "D"}, f"the type of {name}")
        if kind["#"] == "0.t_vec":
            return [_tensor(each, name) for each in _items(kind["D"], None, "a list of tensors")]
        return [_tensor(kind, name)]


def _tensor(kind: object, name: str) -> Tensor:
    parts = _fields(kind, {"#", "D"}, f"the type of {name}")
    _require(parts["#"] == "0.t_dtensor", f"the type of {name}")
    numbers, shape, layout, *rest = _items(parts["D"], 5, f"the type of {name}")
    number_type = _fields(numbers, {"#"}, f"the type of {name}")["#"]
    _require(number_type in _TENSOR_TYPES, f"the type of {name}")
    _require(layout == "NCHW" and rest == [[], 0], f"the layout of {name}")
    sizes = _items(shape, None, f"the shape of {name}")
    _require(
        len(sizes) <= _MOST_AXES and all(_is_whole(size, -1, 2**31) for size in sizes),
        f"the shape of {name}",
    )
    return Tensor(number_type, tuple(sizes))


def _attributes(found: object, name: str) -> dict[str, tuple[str, Any]]:
    """Type and value of each attribute by its name."""
    attributes: dict[str, tuple[str, Any]] = {}
    for attribute in _items(found, None, f"attributes of {name}"):
        parts = _fields(attribute, {"N", "AT"}, f"an attribute of {name}")
        _require(
            isinstance(parts["N"], str) and parts["N"] not in attributes, f"attributes of {name}"
        )
        attributes[parts["N"]] = _typed(parts["AT"], name)
    return attributes


def _typed(value: object, name: str) -> tuple[str, Any]:
    parts = _fields(value, {"#", "D"}, f"an attribute of {name}")
    kind, data = parts["#"], parts["D"]
    match kind:
        case "0.a_str":
            fits = isinstance(data, str)
        case "0.a_bool":
            fits = isinstance(data, bool)
        case "0.a_i32":
            fits = _is_whole(data, -(2**31), 2**31)
        case "0.a_i64":
            fits = _is_whole(data, -(2**63), 2**63)
        case "0.a_f32" | "0.a_f64":
            fits = isinstance(data, int | float) and not isinstance(data, bool)
        case "0.a_array":
            items = _items(data, None, f"an attribute of {name}")
            kinds = {_typed(item, name)[0] for item in items}
            fits = len(kinds) < 2 and "0.a_array" not in kinds
        case "1.a_intarray":
            fits = isinstance(data, list) and all(_is_whole(item, -1, 2**31) for item in data)
        case "1.a_dtype":
            fits = data in _DTYPES
        case "1.a_place":
            fits = data in ([0, 0, ""], [1, 0, ""])
        case _:
            fits = False
    _require(fits, f"an attribute of {name}: {shown(value)}")
    return kind, data


def _plain(items: list[dict[str, Any]]) -> list[float]:
    """The numbers of an array that :func:`_typed` has checked; none for other items."""
    return [item["D"] for item in items if isinstance(item["D"], int | float)]


def _is_whole(value: object, least: int, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < end


def _fields(value: object, keys: set[str] | None, what: str) -> dict[str, Any]:
    """An object, which must have these keys (``None``: any)."""
    if not isinstance(value, dict) or (keys is not None and value.keys() != keys):
        expected = "an object" if keys is None else f"an object of {', '.join(sorted(keys))}"
        raise ValueError(f"{what} is {shown(value)}, expected {expected}")
    return value


def _items(value: object, count: int | None, what: str) -> list[Any]:
    """A list, which must have this many items (``None``: any)."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        expected = "a list" if count is None else f"{count} of them"
        raise ValueError(f"{what}: found {shown(value)}, expected {expected}")
    return value


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"{what} is not as in an exported model")
