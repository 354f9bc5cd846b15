"""Convolutions over time of an ONNX model that was converted from Paddle."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_HEIGHTS = ([2], [-2])
"""The place of an image's height among its four axes"""


def flatten_convolutions(path: Path) -> None:
    """Make the convolutions over time of an ONNX file one-dimensional. Nothing else changes.

    In Paddle they are convolutions of images of the height 1, between an Unsqueeze and a Squeeze.
    Without these two onnxruntime folds the batch normalisation behind a convolution into it; the
    published CAM++ is then opened in less than half the time.
    """
    import onnx

    model = onnx.load(path)
    graph = _Graph(model.graph)
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        graph.flatten(node)
    onnx.save(model, path)


class _Graph:
    """A graph with what its tensors are: constants, results and operands of nodes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._written_by = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def flatten(self, node: onnx.NodeProto) -> None:
        """Replace Unsqueeze, Conv and Squeeze by a Conv, if the nodes around this one are these."""
        before, readers = self._written_by.get(node.input[0]), self._readers[node.output[0]]
        sizes = {attribute.name: attribute.ints for attribute in node.attribute}
        if not (
            node.input[1] in self._constants
            and before is not None
            and len(readers) == 1
            and self._changes_height(before, "Unsqueeze")
            and self._changes_height(readers[0], "Squeeze")
            and (sizes["kernel_shape"][0], *sizes["pads"][::2]) == (1, 0, 0)
        ):
            return
        after = readers[0]
        for each in sizes.values():
            each[:] = each[1::2]
        weights = self._graph.initializer.add()
        weights.CopyFrom(self._constants[node.input[1]])
        weights.name = f"{node.output[0]}.weights"
        del weights.dims[2]
        image = node.input[0]
        node.input[:2] = [before.input[0], weights.name]
        node.output[0] = after.output[0]
        self._graph.node.remove(after)
        self._readers[image].remove(node)
        if not self._readers[image]:
            self._graph.node.remove(before)

    def _changes_height(self, node: onnx.NodeProto, operator: str) -> bool:
        """Whether a node adds (Unsqueeze) or removes (Squeeze) the height of an image."""
        from onnx import numpy_helper

        if node.op_type != operator or node.input[1] not in self._constants:
            return False
        return numpy_helper.to_array(self._constants[node.input[1]]).tolist() in _HEIGHTS
