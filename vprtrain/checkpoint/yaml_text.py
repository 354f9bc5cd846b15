"""YAML that comes with a checkpoint, and may come from a stranger."""

from __future__ import annotations

from typing import Any

import yaml

from vprtrain.errors import cause

MOST_YAML_BYTES = 128 * 1024
"""The largest text that is read. A configuration has a few kilobytes, and PyYAML takes
seconds for the worst text of this size."""
_MOST_NODES = 100_000


def parse_yaml(data: bytes, loader_type: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value of a YAML text of plain values.

    An alias repeats a value for a few bytes, so that a short text can describe a value without an
    end. The writers of configurations make aliases too: the value may have as many parts, each
    repetition counted, as a text without aliases.

    Args:
        data: the text.
        loader_type: PyYAML's loader, or one that reads more tags and is as safe.

    Raises:
        ValueError: the text is longer than :data:`MOST_YAML_BYTES`, is not YAML, is nested too
            deeply, or describes too many values. The message is one line.
    """
    if len(data) > MOST_YAML_BYTES:
        raise ValueError(f"it has {len(data)} bytes, expected at most {MOST_YAML_BYTES}")
    try:
        loader = loader_type(data)
        node = loader.get_single_node()
        if node is None:
            return None
        if (count := _nodes(node, {})) > _MOST_NODES:
            raise ValueError(f"its aliases make {count:.2g} values, expected at most {_MOST_NODES}")
        return loader.construct_document(node)
    except Exception as error:  # PyYAML raises many kinds for texts that are almost YAML
        raise ValueError(cause(error)) from error


def _nodes(node: yaml.Node, known: dict[int, float]) -> float:
    """The number of nodes below and with a node, those of aliases counted at each place.

    Args:
        known: the numbers so far, by the id of the node.
    """
    if id(node) not in known:
        known[id(node)] = float("inf")  # until it is known: a node in itself has no end
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_nodes(part, known) for part in parts)
    return known[id(node)]
