"""Text lists of people: manifests, trials, Kaldi's tables. They are read in one way."""

from vprtrain.lists.columns import read_columns
from vprtrain.lists.kaldi import read_table, read_wav_scp
from vprtrain.lists.names import first_alike
from vprtrain.lists.paths import foreign_path_error, is_foreign
from vprtrain.lists.text import (
    encoding_error,
    lines_where,
    read_blocks,
    read_lines,
    refuse_header,
)

__all__ = [
    "encoding_error",
    "first_alike",
    "foreign_path_error",
    "is_foreign",
    "lines_where",
    "read_blocks",
    "read_columns",
    "read_lines",
    "read_table",
    "read_wav_scp",
    "refuse_header",
]
