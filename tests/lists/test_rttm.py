"""RTTM and UEM: read rightly, or refused in one line that names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.lists import Segment, Span, read_rttm, read_uem, rttm, segments_text, uem_text


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_several_recordings_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.rttm",
        ";; made by hand\n"
        "SPKR-INFO b 1 <NA> <NA> <NA> unknown eve <NA> <NA>\n"
        "SPEAKER b 1 2.5 1 <NA> <NA> 张三 <NA> <NA>\n"
        "SPEAKER\ta\t1\t0.25\t0.5\t<NA>\t<NA>\tbob\t<NA>\t<NA>  ;; sure\n"
        "\n"
        "SPEAKER b 1 0 1e1 <NA> <NA> eve 0.9\n"
        "SPEAKER c 1 4 0 <NA> <NA> eve\n",
    )
    assert read_rttm(path) == {
        "b": [Segment(0, 10, "eve"), Segment(2.5, 3.5, "张三")],
        "a": [Segment(0.25, 0.75, "bob")],
        "c": [],
    }


def test_a_system_may_have_found_no_speech(tmp_path: Path) -> None:
    assert read_rttm(written(tmp_path / "x.rttm", "")) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a 1", "expected 'SPEAKER recording .*found 'a 1'"),
        ("TALKER a 1 0 1 <NA> <NA> eve <NA> <NA>", "expected 'SPEAKER"),
        ("SPEAKER a 1 0 1 <NA> <NA>", "expected 'SPEAKER"),
        ("SPEAKER a 1 0 1 <NA> <NA> eve <NA> <NA> <NA>", "expected 'SPEAKER"),
        ("SPEAKER a 1 0 1 <NA> <NA> <NA> <NA> <NA>", "expected 'SPEAKER"),
        ("SPEAKER a 1 x 1 <NA> <NA> eve <NA> <NA>", "'x' is not a time; expected .*seconds"),
        ("SPEAKER a 1 -1 1 <NA> <NA> eve <NA> <NA>", "'-1' is not a time"),
        ("SPEAKER a 1 0 -1 <NA> <NA> eve <NA> <NA>", "'-1' is not a time"),
        ("SPEAKER a 1 nan 1 <NA> <NA> eve <NA> <NA>", "'nan' is not a time"),
        ("SPEAKER a 1 0 inf <NA> <NA> eve <NA> <NA>", "'inf' is not a time"),
        ("SPEAKER a 1 0 1e9 <NA> <NA> eve <NA> <NA>", "'1e9' is not a time"),
    ],
)
def test_nonsense_is_refused_with_the_line(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path / "x.rttm", f"SPEAKER a 1 0 1 <NA> <NA> eve <NA> <NA>\n\n{line}\n")
    with pytest.raises(UsageError, match=rf"x\.rttm, line 3: {said}") as caught:
        read_rttm(path)
    assert "\n" not in str(caught.value)


def test_the_number_of_segments_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rttm, "_MOST_LINES", 2)
    path = written(tmp_path / "x.rttm", 3 * "SPEAKER a 1 0 1 <NA> <NA> eve <NA> <NA>\n")
    with pytest.raises(UsageError, match="line 3: more than 2 segments"):
        read_rttm(path)


def test_the_scored_parts_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.uem", ";; all\na 1 5 9.5\nb 1 0 3\na 1 0 2\n")
    assert read_uem(path) == {"a": [Span(0, 2), Span(5, 9.5)], "b": [Span(0, 3)]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty; expected lines of 'recording channel start end'"),
        ("a 1 0\n", "line 1: expected 'recording"),
        ("a 1 0 1\na 1 5 5\n", "line 2: the end 5 is not after the start 5"),
        ("a 1 0 x\n", "line 1: 'x' is not a time"),
    ],
)
def test_a_malformed_uem_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_uem(written(tmp_path / "x.uem", text))


names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters=";"), min_size=1
).filter(lambda name: name != "<NA>" and len(name.split()) == 1)
segments = st.builds(
    lambda start, duration, name: Segment(start / 1000, (start + duration) / 1000, name),
    st.integers(0, 10**7),
    st.integers(1, 10**6),
    names,
)


@given(st.lists(segments, min_size=1), names)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, timeline: list[Segment], recording: str
) -> None:
    path = tmp_path_factory.mktemp("rttm") / "x.rttm"
    written(path, segments_text(timeline, "rttm", recording=recording))
    ((found_name, found),) = read_rttm(path).items()
    assert found_name == recording
    assert [
        (round(1000 * each.start), round(1000 * each.end), each.speaker) for each in found
    ] == sorted(
        (round(1000 * each.start), round(1000 * each.end), each.speaker) for each in timeline
    )


def test_a_written_uem_is_read_back(tmp_path: Path) -> None:
    spans = [Span(0, 1.5), Span(2, 300)]
    assert read_uem(written(tmp_path / "x.uem", uem_text("a b", spans))) == {"a_b": spans}
