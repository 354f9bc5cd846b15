"""YAML that comes with a checkpoint, and may come from a stranger."""

from __future__ import annotations

from typing import Any

import yaml

from vprtrain.errors import cause

MOST_YAML_BYTES = 64 * 1024
"""The largest text that is read. A configuration has a few kilobytes, and PyYAML takes
seconds for the worst text of this size."""


def parse_yaml(data: bytes) -> Any:
    """The value of a YAML text of plain values, without anchors and aliases.

    An alias repeats a value for a few bytes, so that a short text describes a value without an end.

    Raises:
        ValueError: the text is longer than :data:`MOST_YAML_BYTES`, is not YAML, has an anchor or
            an alias, or is nested too deeply. The message is one line.
    """
    if len(data) > MOST_YAML_BYTES:
        raise ValueError(f"it has {len(data)} bytes, expected at most {MOST_YAML_BYTES}")
    try:
        return yaml.load(data, _PlainLoader)
    except Exception as error:  # PyYAML raises many kinds for texts that are almost YAML
        raise ValueError(cause(error)) from error


class _PlainLoader(yaml.SafeLoader):
    """A loader of plain values that refuses anchors and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # not in PyYAML's stubs
        if event.anchor is not None:
            raise yaml.YAMLError(f"it has an anchor or an alias ({event.anchor[:40]})")
        return super().compose_node(parent, index)
