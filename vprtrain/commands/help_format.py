"""The help text of options: what jsonargparse says of types and defaults, in fewer words."""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Callable

from jsonargparse import DefaultHelpFormatter

MARKUP = re.compile(r"(?::\w+:)?`{1,2}~?([^`]*)`{1,2}")
_DETAILS = re.compile(r" ?\(((?:required|type: |default: ).*)\)$", re.DOTALL)
_ANY_CLASS = "CLASS_PATH_OR_NAME"

# In this order. A default of null, false or () says nothing that the option's text does not say.
_SHORTER = (
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"\bOptional\[(\w+)\]", r"\1"),
    (r" \| null\b", ""),
    (r"\bOptional\[(Literal\[[^]]*\])\]", r"\1"),
    (r"\bUnion\[(\w+), Literal\['(\w+)'\]\]", r"\1 or \2"),
    (r"type: (?:str|Literal\[[^]]*\])(?:, |$)", ""),
    (r"(?:, |^)default: (?:null\b|False\b|\(\))", ""),
    (r"\{'class_path': '(?:\w+\.)*(\w+)', 'init_args': \{\}\}", r"\1"),
    (r"\{'class_path': '(?:\w+\.)*(\w+)', 'init_args': (\{[^{}]*\})\}", r"\1 with \2"),
    (r"known subclasses: ", "known: "),
    (r"\bvprtrain\.(?:[a-z]\w*\.)*([A-Z]\w*)", r"\1"),
    (r"type: (\w+)(.*), known: \1, ", r"type: \1\2, known: "),
)


class PlainHelp(DefaultHelpFormatter):
    """Help without markup, without long names of types, and without defaults that say nothing."""

    def _expand_help(self, action: Action) -> str:
        text = MARKUP.sub(r"\1", super()._expand_help(action))
        if action.nargs == "*":
            text = text.replace(" (required)", "")  # none is enough
        details = _DETAILS.search(text)
        return text if details is None else f"{text[: details.start()]}{_shorter(details[1])}"

    def _metavar_formatter(
        self, action: Action, default_metavar: str
    ) -> Callable[[int], tuple[str, ...]]:
        if isinstance(action.metavar, str) and _ANY_CLASS in action.metavar:
            return lambda size: ("CLASS",) * size
        return super()._metavar_formatter(action, default_metavar)


def _shorter(details: str) -> str:
    for pattern, short in _SHORTER:
        details = re.sub(pattern, short, details)
    details = details.strip(" ,")
    return f" ({details})" if details else ""
