"""A griffe extension: what the reference needs to know about this package's habits.

The Sphinx roles of docstrings (``:class:`Name```) become links. A name is resolved as Python would
resolve it where the docstring stands; if the site does not describe it, it stays a code span.

A package whose names are imported lazily lists them in ``__init__.pyi``; they are its ``__all__``.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc|obj):`(~?)([^`]+)`")
_LITERAL_BLOCK = re.compile(r"::$", flags=re.MULTILINE)


class HouseHabits(griffe.Extension):
    """Rewrites the docstrings of a package, and completes the exports of its lazy faces."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Called by griffe when the whole package is loaded."""
        _visit(pkg)


def _visit(scope: griffe.Object) -> None:
    if scope.docstring is not None:
        scope.docstring.value = markdown(scope.docstring.value, scope)
    if isinstance(scope, griffe.Module) and "lazy_loader" in scope.members:
        scope.exports = [*sorted(scope.imports.keys() - {"lazy_loader"})]
    for member in scope.members.values():
        if isinstance(member, griffe.Object):
            _visit(member)


def markdown(text: str, scope: griffe.Object) -> str:
    """The docstring ``text`` of ``scope`` with Markdown in the place of Sphinx markup."""
    return _LITERAL_BLOCK.sub(":", _ROLE.sub(lambda role: _link(role[1], role[2], scope), text))


def _link(short: str, name: str, scope: griffe.Object) -> str:
    title = name.rpartition(".")[2] if short else name
    target = _resolved(name, scope)
    return f'<autoref identifier="{target}" optional><code>{title}</code></autoref>'


def _resolved(name: str, scope: griffe.Object) -> str:
    """The full path that a name has in a scope; the name itself if it leads nowhere."""
    first, _, rest = name.partition(".")
    try:
        return ".".join(filter(None, [scope.resolve(first), rest]))
    except griffe.NameResolutionError:
        return name
