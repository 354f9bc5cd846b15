"""Segments as text of several formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vprtrain.errors import UsageError
from vprtrain.lists import SEGMENT_FORMATS, Segment, segment_format, segments_text, write_segments

SEGMENTS = [
    Segment(0, 1.2345678, "Eve, M."),
    Segment(1, 1.0001, "张三"),
    Segment(4.5, 5, "Eve, M."),
]
TEXTS = {
    "rttm": "SPEAKER my_talk 1 0.000 1.235 <NA> <NA> Eve,_M. <NA> <NA>\n"
    "SPEAKER my_talk 1 1.000 0.001 <NA> <NA> 张三 <NA> <NA>\n"
    "SPEAKER my_talk 1 4.500 0.500 <NA> <NA> Eve,_M. <NA> <NA>\n",
    "csv": 'start,end,speaker\n0.0,1.235,"Eve, M."\n1.0,1.001,张三\n4.5,5.0,"Eve, M."\n',
    "audacity": "0.000\t1.235\tEve, M.\n1.000\t1.001\t张三\n4.500\t5.000\tEve, M.\n",
}


@pytest.mark.parametrize("form", TEXTS)
def test_every_format_holds_times_and_speakers(form: str) -> None:
    assert segments_text(SEGMENTS, form, recording="my talk") == TEXTS[form]


def test_json_has_the_keys_of_the_command() -> None:
    assert json.loads(segments_text(SEGMENTS, "json", recording="my talk")) == {
        "segments": [
            {"start": 0.0, "end": 1.235, "speaker": "Eve, M."},
            {"start": 1.0, "end": 1.001, "speaker": "张三"},
            {"start": 4.5, "end": 5.0, "speaker": "Eve, M."},
        ]
    }


@pytest.mark.parametrize("form", SEGMENT_FORMATS)
def test_the_suffix_chooses_the_format(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x{SEGMENT_FORMATS[form].suffix.upper()}"
    assert segment_format(path) == form
    write_segments(path, SEGMENTS, recording="a")
    assert path.read_text(encoding="utf-8") == segments_text(SEGMENTS, form, recording="a")


def test_no_speech_is_no_error() -> None:
    assert segments_text([], "rttm", recording="a") == ""


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(UsageError, match=r"x\.xml: the suffix '\.xml' stands for no format"):
        segment_format("x.xml")
    with pytest.raises(UsageError, match="format 'xml' is not known: choose one of rttm"):
        segments_text(SEGMENTS, "xml", recording="a")
    alike = [Segment(0, 1, "a b"), Segment(1, 2, "a_b")]
    with pytest.raises(UsageError, match="'a b' and 'a_b' are the same in RTTM"):
        segments_text(alike, "rttm", recording="a")
