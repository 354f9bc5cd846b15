"""Packages that only some callbacks need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vprtrain.errors import UsageError


def import_extra(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        extra: the extra of vprtrain that installs it.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{error}: pip install 'vprtrain[{extra}]'") from error
