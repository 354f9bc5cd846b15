"""The report: JSON for programs, and a page that needs no network."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vprtrain.errors import RunError
from vprtrain.scoring.evaluation_result import EvaluationResult
from vprtrain.scoring.rating import rate
from vprtrain.scoring.report import write_report

NASTY = "<script>alert('x')</script>&\"$"


class Page(HTMLParser):
    """Collects the tags, texts and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")
        ]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def result(name: str, shift: float) -> EvaluationResult:
    targets = np.arange(300) % 3 == 0
    scores = np.random.default_rng(1).normal(size=300) + shift * targets
    notes = {"dropped_trials": 2, "missing_recordings": [NASTY]}
    return EvaluationResult(
        name=name,
        scores=scores,
        targets=targets,
        rating=rate(scores, targets),
        speakers=1234,
        recordings=40,
        notes=notes,
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    results = [result("averaged enrolment", 2.0), result("concatenated enrolment", 1.0)]
    write_report(
        tmp_path / "out", title=NASTY, facts={"checkpoint": NASTY, "step": 7}, results=results
    )
    return tmp_path / "out"


def test_a_name_that_hides_or_is_not_utf_8_is_shown_and_kept(tmp_path: Path) -> None:
    name = "m\x1b[2J\udce9\u202e"
    facts = {"checkpoint": name, "missing": [name]}
    write_report(tmp_path, title=name, facts=facts, results=[result("averaged", 2.0)])
    assert json.loads((tmp_path / "report.json").read_text())["checkpoint"] == name
    page = (tmp_path / "report.html").read_text()
    assert page.count(r"m\x1b[2J\udce9\u202e") >= 3
    assert "\x1b" not in page and "\u202e" not in page


def test_the_numbers_are_those_of_the_rating(report: Path) -> None:
    content = json.loads((report / "report.json").read_text())
    headline = result("", 2.0).rating
    assert content["eer"] == headline.eer and content["threshold"] == headline.threshold
    assert content["min_dcf"] == headline.min_dcf[0.01].cost
    assert content["checkpoint"] == NASTY
    other = content["results"]["concatenated enrolment"]
    rating = result("", 1.0).rating
    assert other["eer"] == rating.eer and other["convex_hull_eer"] == rating.convex_hull_eer
    assert other["min_dcf_at"]["0.05"]["min_dcf"] == rating.min_dcf[0.05].cost
    assert (
        other["at_false_accept_rate"]["0.01"]["threshold"]
        == rating.at_false_accept_rate[0.01].threshold
    )
    assert (other["target_trials"], other["nontarget_trials"], other["dropped_trials"]) == (
        100,
        200,
        2,
    )


def test_what_was_counted_is_said(report: Path) -> None:
    content = json.loads((report / "report.json").read_text())["results"]["averaged enrolment"]
    assert (content["speakers"], content["recordings"]) == (1234, 40)
    page = Page()
    page.feed((report / "report.html").read_text())
    for label, value in (("speakers", "1,234"), ("recordings", "40"), ("target trials", "100")):
        assert page.texts[page.texts.index(label) + 1] == value


def test_facts_are_text_for_people(tmp_path: Path) -> None:
    model = {"class_path": "mine.Net", "init_args": {"size": 80, "pooling": "TSTP"}}
    facts = {"weights_sha256": "ab", "model": model, "cohort": None}
    write_report(tmp_path, title="t", facts=facts, results=[result("one", 1.0)])
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    texts = " ".join(page.texts)
    assert "weights sha256 ab" in texts
    assert "mine.Net (size: 80, pooling: TSTP)" in texts
    assert "null" not in texts and "cohort" not in texts


def test_the_page_refers_to_no_other_file(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page()
    page.feed(text)
    plots = sorted(path.name for path in report.glob("*.png"))
    assert len(plots) == 5 and page.tags.count("img") == 5
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 5
    assert (
        "http:" not in text
        and "https:" not in text
        and "@import" not in text
        and "url(" not in text
    )


def test_names_are_text_and_never_markup(report: Path) -> None:
    page = Page()
    page.feed((report / "report.html").read_text())
    assert "script" not in page.tags
    # In title, heading, checkpoint, and the missing recordings of both results.
    assert page.texts.count(NASTY) == 5


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file.* cannot be written .*give another --out"):
        write_report(tmp_path / "file", title="t", facts={}, results=[result("one", 1.0)])
