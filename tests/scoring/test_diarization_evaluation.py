"""Many recordings: files and folders of RTTM and UEM, the totals, the table and the report."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vprtrain.errors import RunError, UsageError
from vprtrain.lists import Segment, Span
from vprtrain.scoring.diarization_evaluation import (
    TOTAL,
    DiarizationEvaluation,
    evaluate_diarization,
    read_scored_parts,
    read_timelines,
)
from vprtrain.scoring.diarization_report import write_diarization_report

NASTY = "<script>$x$</script>"
REFERENCE = {
    "b": [Segment(0, 10, "ann"), Segment(8, 14, "bob")],
    "a": [Segment(0, 4, NASTY)],
    "c": [Segment(1, 3, "ann")],
}
HYPOTHESIS = {
    "a": [Segment(0, 5, "x")],
    "b": [Segment(1, 12, "x"), Segment(12, 16, "y")],
    "z": [Segment(0, 1, "x")],
}


@pytest.fixture
def evaluation() -> DiarizationEvaluation:
    return evaluate_diarization(REFERENCE, HYPOTHESIS)


def test_all_recordings_of_the_reference_count(evaluation: DiarizationEvaluation) -> None:
    assert list(evaluation.recordings) == ["a", "b", "c"]
    assert (evaluation.missing, evaluation.surplus, evaluation.unlisted) == (["c"], ["z"], [])
    assert evaluation.total.speech == 4 + 16 + 2
    assert evaluation.total.der == (1 + 7 + 2) / 22
    assert evaluation.recordings["c"].missed == 2


def test_the_uem_chooses_the_recordings_and_their_parts() -> None:
    scored = {"a": [Span(0, 2)], "b": [Span(0, 4)], "y": [Span(0, 9)]}
    found = evaluate_diarization(REFERENCE, HYPOTHESIS, scored=scored)
    assert list(found.recordings) == ["a", "b"]
    assert (found.total.speech, found.total.missed) == (6, 1)
    assert (found.missing, found.unlisted) == ([], ["c"])


def test_the_options_reach_every_recording() -> None:
    found = evaluate_diarization(REFERENCE, HYPOTHESIS, collar=0.5, skip_overlap=True)
    assert found.total.speech == 3 + (8 + 4 - 1 - 1) + 1


def test_names_that_end_before_a_dot_are_those_of_ami() -> None:
    reference = {"ES2002a": [Segment(0, 4, "ann")], "x.y": [Segment(0, 4, "ann")]}
    hypothesis = {"ES2002a.Mix-Headset": [Segment(0, 4, "x")], "x.y": [Segment(0, 3, "x")]}
    found = evaluate_diarization(reference, hypothesis)
    assert (found.total.missed, found.missing, found.surplus) == (1, [], [])
    with pytest.raises(UsageError, match=r"Array1-01' of the hypothesis are both .* 'ES2002a'"):
        evaluate_diarization(reference, {**hypothesis, "ES2002a.Array1-01": []})


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the hypothesis has none .*as 'a', found such as 'z'"):
        evaluate_diarization(REFERENCE, {"z": []})
    with pytest.raises(UsageError, match="the UEM has none"):
        evaluate_diarization(REFERENCE, HYPOTHESIS, scored={"q": [Span(0, 1)]})


def test_the_json_has_rates_and_the_mapping(evaluation: DiarizationEvaluation) -> None:
    found = json.loads(json.dumps(evaluation.as_json()))
    assert found["der"] == 10 / 22
    assert found["recordings"]["b"] == {
        "der": 7 / 16,
        "missed": 3 / 16,
        "false_alarm": 2 / 16,
        "confusion": 2 / 16,
        "jer": pytest.approx(0.5),
        "speech": 16.0,
        "speakers": 2,
        "found_speakers": 2,
        "mapping": {"x": "ann", "y": "bob"},
    }
    assert (found["collar"], found["skip_overlap"], found["missing"]) == (0.0, False, ["c"])


def test_the_table_has_every_recording_and_the_total(evaluation: DiarizationEvaluation) -> None:
    header, *rows = evaluation.table()
    assert [row[0] for row in rows] == ["a", "b", "c", TOTAL]
    assert {len(row) for row in [header, *rows]} == {9}
    assert rows[1] == ["b", "16.0 s", "43.75%", "18.75%", "12.50%", "12.50%", "50.00%", "2", "2"]


def rttm(recording: str, speaker: str = "ann") -> str:
    return f"SPEAKER {recording} 1 0 1 <NA> <NA> {speaker} <NA> <NA>\n"


def test_a_folder_of_files_is_read(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "one.rttm").write_text(rttm("a") + rttm("b"))
    (tmp_path / "more" / "two.rttm").write_text(rttm("c", "bob"))
    (tmp_path / "silent.rttm").write_text("")
    (tmp_path / "notes.txt").write_text("no RTTM")
    assert read_timelines(tmp_path) == {
        "a": [Segment(0, 1, "ann")],
        "b": [Segment(0, 1, "ann")],
        "c": [Segment(0, 1, "bob")],
        "silent": [],
    }
    assert read_timelines(tmp_path / "silent.rttm") == {"silent": []}
    (tmp_path / "one.uem").write_text("a 1 0 5\n")
    assert read_scored_parts(tmp_path) == {"a": [Span(0, 5)]}


def test_a_recording_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.rttm").write_text(rttm("a"))
    with pytest.raises(UsageError, match=r"one\.rttm and .*two\.rttm: both have .* 'a'"):
        read_timelines(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected \.uem files in this folder, found none"):
        read_scored_parts(tmp_path)


class Page(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_a_page_with_plots(evaluation: DiarizationEvaluation, tmp_path: Path) -> None:
    write_diarization_report(
        tmp_path / "out",
        evaluation,
        facts={"reference": NASTY, "uem": None},
        reference=REFERENCE,
        hypothesis=HYPOTHESIS,
    )
    names = ["errors.png", "report.html", "report.json"]
    names += [f"timeline_{number}.png" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found == {"reference": NASTY, "uem": None, **evaluation.as_json()}
    page = Page()
    page.feed((tmp_path / "out" / "report.html").read_text())
    assert "script" not in page.tags
    assert page.tags.count("img") == 4
    assert {NASTY, TOTAL, "43.75%", "0 s on each side of a boundary", "c"} <= set(page.texts)


def test_a_report_that_cannot_be_written_is_an_error(
    evaluation: DiarizationEvaluation, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        write_diarization_report(
            tmp_path / "out", evaluation, facts={}, reference=REFERENCE, hypothesis=HYPOTHESIS
        )
