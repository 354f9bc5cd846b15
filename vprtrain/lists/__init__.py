"""Text lists of people: manifests, trials, Kaldi's tables, RTTM. They are read in one way."""

from vprtrain.lists.columns import read_columns
from vprtrain.lists.kaldi import read_table, read_wav_scp
from vprtrain.lists.names import first_alike
from vprtrain.lists.paths import foreign_path_error, is_foreign
from vprtrain.lists.rttm import Span, read_rttm, read_uem
from vprtrain.lists.segment import Segment
from vprtrain.lists.segment_writers import (
    SEGMENT_FORMATS,
    segment_format,
    segments_text,
    uem_text,
    write_segments,
)
from vprtrain.lists.text import (
    encoding_error,
    lines_where,
    read_blocks,
    read_lines,
    refuse_header,
)

__all__ = [
    "SEGMENT_FORMATS",
    "Segment",
    "Span",
    "encoding_error",
    "first_alike",
    "foreign_path_error",
    "is_foreign",
    "lines_where",
    "read_blocks",
    "read_columns",
    "read_lines",
    "read_rttm",
    "read_table",
    "read_uem",
    "read_wav_scp",
    "refuse_header",
    "segment_format",
    "segments_text",
    "uem_text",
    "write_segments",
]
