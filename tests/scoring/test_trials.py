from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.scoring.trials import read_enrollment, read_trials, usable_trials

LINES = {
    "CN-Celeb": "{enroll} {test} {digit}",
    "VoxCeleb": "{digit} {enroll} {test}",
    "Kaldi": "{enroll}\t{test} {word}",
}
ids = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=2, max_size=9
)


@given(
    trials=st.lists(
        st.tuples(ids, ids, st.booleans()), min_size=1, max_size=20, unique_by=itemgetter(0, 1)
    ),
    form=st.sampled_from(list(LINES)),
)
def test_every_format_is_recognised(
    tmp_path_factory: pytest.TempPathFactory, trials: list[tuple[str, str, bool]], form: str
) -> None:
    path = tmp_path_factory.mktemp("trials") / "trials.txt"
    lines = [
        LINES[form].format(
            enroll=f"e-{enroll}",
            test=f"t-{test}",
            digit=int(same),
            word="target" if same else "nontarget",
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
    assert len(set(read.enroll_ids)) == len(read.enroll_ids) and len(set(read.test_ids)) == len(
        read.test_ids
    )
    assert read.targets.dtype == np.bool_ and read.enroll.dtype == read.test.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a b 1\n1 a b\n",
            r"line 2: expected 'enrol test 1\|0' as in the lines before, found '1 a b'",
        ),
        ("a b 1\na b target\n", "line 2: expected 'enrol test 1"),
        ("a b target\n\na b 1\n", "line 3: expected 'enrol test target"),
        ("1 a b\n2 a b\n", "line 2: expected '1"),
        ("a b 1\na b\n", "line 2"),
        ("a b\n", "line 1: expected .* fits none of them; a list of ppvector also needs"),
        ("a b 1 0.5\n", "line 1: expected .* fits none"),
        ("1 b 0\n", "line 1: expected .* fits more than one"),
        ("\n\n", "the trial list is empty"),
        (
            "a b 1\n\nc b 0\na b 0\n",
            "lines 1 and 4: the pair 'a b' is labelled as",
        ),
        ("0 a b\n1 a b\n0 a b\n", "lines 1 and 2: the pair 'a b'"),
        ("a b target\na b nontarget\n", "lines 1 and 2: the pair 'a b'"),
        ("enroll,test,label\na,b,1\n", "line 1: expected .* fits none"),
        ("enroll test label\na b 1\n", "line 1: expected .* fits none"),
    ],
)
def test_other_lines_are_refused_with_their_number(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(UsageError, match=r"t\.txt.*" + message):
        read_trials(tmp_path / "t.txt")


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"t\.txt: no such file"):
        read_trials(tmp_path / "t.txt")
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-16 text"):
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
        ("s1 a.wav\ns1 b.wav\n", "line 2: 's1' has a second line"),
        ("s1 a.wav\ns2\n", "line 2: 's2' has no utterances"),
        ("", "the enrolment map is empty"),
    ],
)
def test_ambiguous_enrolments_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "enroll.map").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_enrollment(tmp_path / "enroll.map")


def test_ppvectors_lists_are_all_pairs(tmp_path: Path) -> None:
    (tmp_path / "enroll.txt").write_text("data/a 1.wav\t3\ndata/b.wav\t1\n")
    (tmp_path / "trials.txt").write_text("data/c.wav\t1\n\ndata/d.wav\t2\ndata/e.wav\t3\n")
    trials = read_trials(tmp_path / "trials.txt", enroll_list=tmp_path / "enroll.txt")
    assert trials.enroll_ids == ("data/a 1.wav", "data/b.wav")
    assert trials.test_ids == ("data/c.wav", "data/d.wav", "data/e.wav")
    assert trials.enroll.tolist() == [0, 0, 0, 1, 1, 1] and trials.test.tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]
    assert trials.targets.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.wav\t1\na.wav\t2\n", "line 2: .* gives a second label"),
        ("a.wav\t1\na.wav \t2\n", "line 2: .* gives a second label"),
        ("a.wav\t \n", "line 1: .* has no tab, utterance or label"),
        (
            "a.wav 1\n",
            "line 1: 'a.wav 1' has no tab, utterance or label; expected 'utterance<TAB>label'",
        ),
        ("\n", "the list is empty"),
    ],
)
def test_other_lists_of_ppvectors_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "good.txt").write_text("b.wav\t1\n")
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.txt.*" + message):
        read_trials(tmp_path / "good.txt", enroll_list=tmp_path / "bad.txt")


def test_a_trial_may_be_listed_twice(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa b 1\r\na b 1\r\nb a 0\r\n")
    assert read_trials(tmp_path / "t.txt").targets.tolist() == [True, True, False]


def test_too_many_pairs_are_refused_before_they_are_made(tmp_path: Path) -> None:
    for name in ("enroll.txt", "trials.txt"):
        (tmp_path / name).write_text("".join(f"{number}.wav\t1\n" for number in range(10_001)))
    with pytest.raises(UsageError, match="make 100020001 trials, expected at most 100000000"):
        read_trials(tmp_path / "trials.txt", enroll_list=tmp_path / "enroll.txt")


def test_trials_of_missing_utterances_are_dropped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("e1 a 1\ne1 b 0\ne2 b 1\ne2 c 0\n")
    trials = read_trials(tmp_path / "t.txt")
    kept, missing, dropped = usable_trials(trials, {"e1", "e2", "b", "c"})
    assert (missing, dropped) == (("a",), 1)
    assert kept.enroll_ids == ("e1", "e2") and kept.test_ids == ("b", "c")
    assert kept.enroll.tolist() == [0, 1, 1] and kept.test.tolist() == [0, 0, 1]
    assert kept.targets.tolist() == [False, True, False] and kept.enroll.dtype == np.int32
    enrollment = {"e1": ("x", "y"), "e2": ("z",)}
    kept, missing, dropped = usable_trials(trials, {"x", "z", "a", "b", "c"}, enrollment)
    assert (kept.enroll_ids, missing, dropped) == (("e2",), ("y",), 2)
    assert usable_trials(trials, {"x", "y", "z", "a", "b", "c"}, enrollment) == (trials, (), 0)
    # An enrol id that is not in the map is missing, even if it is the id of a recording.
    kept, missing, dropped = usable_trials(
        trials, {"x", "y", "e2", "a", "b", "c"}, {"e1": ("x", "y")}
    )
    assert (kept.enroll_ids, missing, dropped) == (("e1",), ("e2",), 2)
