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
from typing import Any

from vprtrain.errors import shown
from vprtrain.extractors.graph_sizes import GraphSizes
from vprtrain.extractors.static_operators import (
    EXPORTED,
    FURTHER,
    OPTIONAL_INPUTS,
    SIZE_INPUTS,
)
from vprtrain.extractors.static_values import (
    Tensor,
    attributes_of,
    fields_of,
    items_of,
    numbers_of,
    require,
    tensor_of,
)

_SAME_NUMBERS = ("0.combine", "1.assign", "1.cast", "1.stack")
_WINDOWS = {"strides", "paddings", "dilations", "kernel_sizes", "output_padding"}
_OPERATOR_KEYS = {"#", "A", "I", "O", "OA"}
_PARAMETER_KEYS = {"#", "A", "DA", "O", "OA", "QA"}
# Of a weight: the number of the type in the weights' file, and the bytes of a value.
_WEIGHT_TYPES = {
    **{"0.t_bool": (0, 1), "0.t_i32": (2, 4), "0.t_i64": (3, 8)},
    **{"0.t_f32": (5, 4), "0.t_f64": (6, 8), "0.t_ui8": (20, 1)},
}
_WEIGHT_HEADER = struct.Struct("<IQII")  # three versions, always 0, and the bytes that follow

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
    top = fields_of(program, {"base_code", "program"}, "the file")
    require(fields_of(top["base_code"], None, "base_code").get("magic") == "pir", "its magic")
    (region,) = items_of(
        fields_of(top["program"], {"regions"}, "the program")["regions"], 1, "regions"
    )
    (block,) = items_of(fields_of(region, {"#", "blocks"}, "a region")["blocks"], 1, "blocks")
    parts = fields_of(block, {"#", "args", "ops"}, "a block")
    require(region["#"] == "region_0" and block["#"] == "block_0", "the names of its parts")
    items_of(parts["args"], 0, "arguments")
    graph = _Graph()
    for operator in items_of(parts["ops"], None, "operators"):
        graph.add(operator)
    require(graph.outputs == 1, f"{graph.outputs} outputs, expected 1")
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
            self._add_weight(fields_of(operator, _PARAMETER_KEYS, "a weight"))
            return
        if not isinstance(name, str) or not (signature := EXPORTED.get(name) or FURTHER.get(name)):
            raise ValueError(f"it has the operator {shown(name)}, which no model needs")
        parts = fields_of(operator, _OPERATOR_KEYS, name)
        inputs = self._inputs(parts["I"], name, signature[0])
        found = attributes_of(parts["A"], name)
        found.pop("struct_name", None)
        expected = dict(pair.split(":") for pair in signature[1].split())
        require(
            {key: kind.partition(".a_")[2] for key, (kind, _) in found.items()} == expected,
            f"the attributes of {name}",
        )
        attributes_of(parts["OA"], name)
        results = items_of(parts["O"], None, f"results of {name}")
        for result in results:
            self._add_result(result, name)
        values = {key: value for key, (_, value) in found.items()}
        self._ask(name, inputs, values, [result["%"] for result in results])
        self.outputs += name == "1.fetch"

    def _inputs(self, found: object, name: str, count: int | None) -> list[int]:
        """The numbers of an operator's inputs."""
        numbers = []
        for place, operand in enumerate(items_of(found, count, f"inputs of {name}")):
            number = fields_of(operand, {"%"}, f"an input of {name}")["%"]
            is_left_out = number == 0 and place in OPTIONAL_INPUTS.get(name, ())
            require(
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
            sizes.ask(name, numbers_of(values[window]))
        for result in results:
            if name == "1.full":
                sizes.ask(name, values["shape"])
                sizes.know(result, [values["value"]])
            elif name == "1.full_int_array":
                sizes.know(result, numbers_of(values["value"]))
            elif name in _SAME_NUMBERS:
                sizes.join(result, inputs)

    def _add_weight(self, parts: Mapping[str, Any]) -> None:
        attributes = items_of(parts["A"], 4, "attributes of a weight")
        name = attributes[3]
        require(isinstance(name, str) and name not in self.weights, "the name of a weight")
        for key, count in (("DA", 0), ("QA", 0), ("OA", 3)):
            items_of(parts[key], count, f"{key} of a weight")
        flags = [*attributes[:3], *parts["OA"]]
        require(all(flag in (0, 1) and type(flag) is int for flag in flags), "a weight's flags")
        tensors = self._add_result(parts["O"], "a weight")
        require(len(tensors) == 1, "the type of a weight")
        self.weights[name] = tensors[0]

    def _add_result(self, result: object, name: str) -> list[Tensor]:
        """Check a result: a tensor, or a list of tensors."""
        parts = fields_of(result, {"%", "TT"}, f"a result of {name}")
        number = parts["%"]
        require(
            type(number) is int and 0 < number < 2**31 and number not in self.results,
            f"the number of a result of {name}",
        )
        self.results.add(number)
        kind = fields_of(parts["TT"], {"#", "D"}, f"the type of {name}")
        if kind["#"] == "0.t_vec":
            return [
                tensor_of(each, name) for each in items_of(kind["D"], None, "a list of tensors")
            ]
        return [tensor_of(kind, name)]
