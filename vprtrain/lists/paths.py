"""Paths in lists that were written on another system."""

from __future__ import annotations

import os
import re

from vprtrain.errors import UsageError, shown
from vprtrain.files import StrPath

_FOREIGN = re.compile(r"\\|^[A-Za-z]:/|^[A-Za-z]+://")


def is_foreign(written: str, folder: StrPath) -> bool:
    """Whether a path of a list is a path of Windows or an address, and no file here has that name.

    Args:
        folder: where relative paths of the list start.
    """
    return _FOREIGN.search(written) is not None and not os.path.exists(
        os.path.join(folder, written)
    )


def foreign_path_error(where: str, written: str) -> UsageError:
    """The error for a path for which :func:`is_foreign` is true.

    Args:
        where: the list and the line.
    """
    return UsageError(
        f"{where}: {shown(written)} is a path of Windows or an address, and no file here has that "
        "name; expected a path on this machine, with / between folders"
    )
