from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.scoring.trials import read_enrollment, read_trials

LINES = {
    "CN-Celeb": "{enroll} {test} {digit}",
    "VoxCeleb": "{digit} {enroll} {test}",
    "Kaldi": "{enroll}\t{test} {word}",
}
ids = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=2, max_size=9)


@given(
    trials=st.lists(st.tuples(ids, ids, st.booleans()), min_size=1, max_size=20),
    form=st.sampled_from(list(LINES)),
)
def test_every_form_is_recognised(
    tmp_path_factory: pytest.TempPathFactory, trials: list[tuple[str, str, bool]], form: str
) -> None:
    path = tmp_path_factory.mktemp("trials") / "trials.txt"
    lines = [
        LINES[form].format(
            enroll=f"e-{enroll}", test=f"t-{test}", digit=int(same), word="target" if same else "nontarget"
        )
        for enroll, test, same in trials
    ]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8", newline="")
    read = read_trials(path)
    assert len(read) == len(trials)
    found = [
        (read.enroll_ids[enroll], read.test_ids[test], bool(target))
        for enroll, test, target in zip(read.enroll, read.test, read.targets, strict=True)
    ]
    assert found == [(f"e-{enroll}", f"t-{test}", same) for enroll, test, same in trials]
    assert len(set(read.enroll_ids)) == len(read.enroll_ids) and len(set(read.test_ids)) == len(read.test_ids)
    assert read.targets.dtype == np.bool_ and read.enroll.dtype == read.test.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1\n1 a b\n", r"line 2: expected 'enrol test 1\|0' as before, found '1 a b'"),
        ("a b 1\na b target\n", "line 2: expected 'enrol test 1"),
        ("a b target\n\na b 1\n", "line 3: expected 'enrol test target"),
        ("1 a b\n2 a b\n", "line 2: expected '1"),
        ("a b 1\na b\n", "line 2"),
        ("a b\n", "line 1: expected .* fits none"),
        ("a b 1 0.5\n", "line 1: expected .* fits none"),
        ("1 b 0\n", "line 1: expected .* fits more than one"),
        ("\n\n", "the trial list is empty"),
    ],
)
def test_other_lines_are_refused_with_their_number(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(UsageError, match=r"t\.txt.*" + message):
        read_trials(tmp_path / "t.txt")


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"t\.txt: no such file"):
        read_trials(tmp_path / "t.txt")
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_trials(tmp_path / "t.txt")


def test_an_enrolment_map_gives_every_id_its_utterances(tmp_path: Path) -> None:
    (tmp_path / "enroll.map").write_text("s1-enroll s1/a.wav s1/b.wav\n\ns2-enroll s2/c.wav\n")
    assert read_enrollment(tmp_path / "enroll.map") == {
        "s1-enroll": ("s1/a.wav", "s1/b.wav"),
        "s2-enroll": ("s2/c.wav",),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s1 a.wav\ns1 b.wav\n", "line 2: 's1' comes a second time"),
        ("s1 a.wav\ns2\n", "line 2: 's2' has no utterances"),
        ("", "the enrolment map is empty"),
    ],
)
def test_enrolments_that_are_unclear_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "enroll.map").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_enrollment(tmp_path / "enroll.map")
