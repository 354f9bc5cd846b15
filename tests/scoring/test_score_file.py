from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vprtrain.errors import UsageError
from vprtrain.scoring.score_file import read_scores, write_scores
from vprtrain.scoring.trials import Trials


def make_trials(pairs: list[tuple[int, int]]) -> Trials:
    return Trials(
        enroll_ids=tuple(f"e{number}" for number in range(5)),
        test_ids=tuple(f"t{number}" for number in range(6)),
        enroll=np.array([enroll for enroll, _ in pairs], dtype=np.int32),
        test=np.array([test for _, test in pairs], dtype=np.int32),
        targets=np.array([enroll == test for enroll, test in pairs]),
    )


pairs_and_scores = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 5)),
    st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
)


@given(scored=pairs_and_scores, seed=st.integers(0, 100))
def test_scores_come_back_bit_for_bit_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, scored: dict[tuple[int, int], float], seed: int
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.txt"
    trials, scores = make_trials(list(scored)), np.array(list(scored.values()))
    write_scores(path, trials, scores)
    assert np.array_equal(read_scores(path, trials).scores, scores)
    lines = path.read_text().splitlines()
    shuffled = np.random.default_rng(seed).permutation(lines).tolist()
    # with a fourth column, as in WeSpeaker
    path.write_text("\n".join(f"{line} target" for line in shuffled) + "\n")
    found = read_scores(path, trials)
    assert np.array_equal(found.scores, scores)
    assert (found.dropped, found.unscored, found.surplus) == (0, (), 0)


def test_ids_with_blanks_come_back_too(tmp_path: Path) -> None:
    """The lists of ppvector allow such ids."""
    trials = replace(
        make_trials([(0, 0), (1, 2)]), enroll_ids=("my set/a.wav", "b.wav", "c", "d", "e")
    )
    write_scores(tmp_path / "scores.txt", trials, np.array([0.25, -0.5]))
    assert read_scores(tmp_path / "scores.txt", trials).scores.tolist() == [0.25, -0.5]


def test_unscored_trials_are_dropped_and_surplus_lines_are_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.txt").write_text(
        "e1 t1 0.5\ne9 t1 0.1\ne1 t9 0.1\ne2 t2 0.1\ne0 t1 -0.5\n\ne0 t1 -0.5\n"
    )
    found = read_scores(tmp_path / "s.txt", make_trials([(0, 0), (0, 1), (1, 1), (0, 1)]))
    assert found.scores.tolist() == [-0.5, 0.5, -0.5]
    assert (found.dropped, found.unscored, found.surplus) == (1, ("e0 t0",), 3)
    assert found.trials.enroll_ids == ("e0", "e1") and found.trials.test_ids == ("t1",)
    assert found.trials.targets.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e0 t0 0.1\ne0 t1\n", "line 2: expected 'enrol test score', found 'e0 t1'"),
        ("e0 t0 x\n", "line 1: the score 'x' is not a finite number"),
        ("e0 t0 nan\n", "line 1: the score 'nan' is not a finite number"),
        ("e0 t0 0\ne0 t1 -inf\n", "line 2: the score '-inf' is not a finite number"),
        (
            "e0 t0 0.1\ne0 t1 0\ne0 t0 0.2\n",
            r"lines [1-9] and [1-9]: 1 pair\(s\) have two different scores, 'e0 t0' is the first",
        ),
        ("t0 e0 0.1\n", r"no score for any of the 2 trials \(the first is 'e0 t0'\)"),
        ("", "no score for any"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(UsageError, match=r"s\.txt.*" + message):
        read_scores(tmp_path / "s.txt", make_trials([(0, 0), (0, 1)]))
