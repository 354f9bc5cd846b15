"""jsonargparse's error messages as one line.

Unknown names never get here (:mod:`vprtrain.commands.name_check`); what is left are values that do
not fit, missing options and unreadable files. ``tests/commands/test_parser_messages.py`` keeps the
raw messages of the versions that pyproject.toml allows.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# From the outside in: an option, then its class, then an argument of that class, and so on.
_STEP = re.compile(r"""Parser key "(?P<option>[^"]+)":?|Problem with given class_path '[^']+':""")
_POSITIONAL = re.compile(r"unrecognized arguments: (\S+)")
_MISSING = re.compile(r"the following arguments are required: (.+)")


def one_line(message: str, positionals: Collection[str] = ()) -> str:
    """The place of the mistake, what was expected there, and the value that was found.

    Args:
        positionals: the names of the arguments that are no options.
    """
    if stray := _POSITIONAL.match(message):
        return (
            f"unexpected argument '{stray[1]}': options start with --, and no option may stand "
            "between the other arguments"
        )
    steps = list(_STEP.finditer(message))
    place = ".".join(step["option"] or "init_args" for step in steps)
    if missing := _MISSING.search(message):
        prefix = f"{place}." if place else ""
        names = missing[1].split(", ")
        marked = (name if name in positionals else f"--{prefix}{name}" for name in names)
        return f"missing: {', '.join(marked)}"
    if not steps:
        return plain(message)
    return f"option '--{place}': {plain(message[steps[-1].end() :])}"


def plain(message: str) -> str:
    """A message about one value, with types by their names and without a union's ``None``."""
    text, _, given = message.partition("Given value:")
    text = text.partition("Given value type:")[0].rpartition("Errors:")[2]
    reasons = [
        " ".join(part.split()) for part in re.split(r"\n\s*- ", text) if "'NoneType'" not in part
    ]
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " or ".join(filter(None, reasons)))
    line = re.sub(r"\bExpected an? ", "expected ", line).replace(". Got value: ", ", got ")
    value = re.search(r"val='(.*)'\)|(\S.*)", given)  # an argument of a class comes as NestedArg
    return line if value is None or ", got " in line else f"{line}, got {value[1] or value[2]}"
