"""Text lists of people: manifests, trials, Kaldi's tables. They are read in one way."""

from vprtrain.lists.columns import read_columns
from vprtrain.lists.names import first_alike
from vprtrain.lists.paths import is_foreign, refuse_foreign
from vprtrain.lists.text import (
    lines_where,
    read_blocks,
    read_lines,
    refuse_encoding,
    refuse_header,
)

__all__ = [
    "first_alike",
    "is_foreign",
    "lines_where",
    "read_blocks",
    "read_columns",
    "read_lines",
    "refuse_encoding",
    "refuse_foreign",
    "refuse_header",
]
