"""Trials by condition: genres, tables, durations, and the metrics of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vprtrain.errors import UsageError
from vprtrain.scoring import (
    Trials,
    bootstrap_intervals,
    compute_eer,
    compute_min_dcf,
    genres,
    rate_by_condition,
    read_conditions,
    trial_conditions,
    trial_speakers,
)


def trials_of(*lines: str) -> Trials:
    """Trials of lines of ``enrol test 1|0``."""
    enroll, test, labels = zip(*(line.split() for line in lines), strict=True)
    sides = [
        {name: place for place, name in enumerate(dict.fromkeys(each))} for each in (enroll, test)
    ]
    return Trials(
        enroll_ids=tuple(sides[0]),
        test_ids=tuple(sides[1]),
        enroll=np.array([sides[0][name] for name in enroll], np.int32),
        test=np.array([sides[1][name] for name in test], np.int32),
        targets=np.array(labels) == "1",
    )


def named(found) -> list[str]:
    return [found.names[place] for place in found.places]


def test_genres_are_read_from_the_names_of_cnceleb() -> None:
    ids = (
        "test/id00800-singing-01-005.wav",
        "id00010/live_broadcast-02-001.flac",
        "id00800-enroll",
    )
    assert genres(ids) == {ids[0]: "singing", ids[1]: "live_broadcast"}
    trials = trials_of(
        f"id00800-enroll {ids[0]} 1", "id00800-enroll test/id00801-vlog-01-001.wav 0"
    )
    assert named(trial_conditions("genre", trials)) == ["singing", "vlog"]
    with pytest.raises(UsageError, match=r"no test utterance of the trials has a genre.*'b'"):
        trial_conditions("genre", trials_of("a b 1"))


def test_a_trial_has_the_pair_of_its_sides_where_both_are_in_the_table(tmp_path: Path) -> None:
    table = tmp_path / "channels.csv"
    table.write_text('id,channel,room\na,phone,1\nb,studio,2\n"c",phone,\n')
    trials = trials_of("a c 1", "a b 0", "b c 0")
    assert named(trial_conditions("channel", trials, table=table)) == [
        *("phone", "phone, studio", "phone, studio"),
    ]
    assert named(trial_conditions("room", trials, table=table)) == [
        "1, unknown",
        "1, 2",
        "2, unknown",
    ]
    test_only = trials_of("e c 1", "e b 0", "e x 0")  # e has no line
    assert named(trial_conditions("channel", test_only, table=table)) == [
        "phone",
        "studio",
        "unknown",
    ]


def test_durations_are_those_of_the_shorter_side(tmp_path: Path) -> None:
    seconds = {"a": 1.9, "b": 2.0, "c": 30.0, "d": 7.0}
    trials = trials_of("a c 1", "c b 1", "c c 1", "c d 0")
    expected = ["below 2 s", "2 to 5 s", "10 s or more", "5 to 10 s"]
    assert named(trial_conditions("duration", trials, durations=seconds)) == expected
    (tmp_path / "t.tsv").write_text("id\tduration\na\t1.9\nb\t2\nc\t30\nd\t7\n")
    assert named(trial_conditions("duration", trials, table=tmp_path / "t.tsv")) == expected
    enrolled = {"e": ("a", "b")}
    found = trial_conditions("duration", trials_of("e c 1"), durations=seconds, enrollment=enrolled)
    assert named(found) == ["2 to 5 s"]
    with pytest.raises(UsageError, match=r"1 utterances of the trials have no duration: 'x'"):
        trial_conditions("duration", trials_of("a x 1"), durations=seconds)
    with pytest.raises(UsageError, match=r"expected rising seconds"):
        trial_conditions("duration", trials, durations=seconds, edges=(2.0, 2.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,room\na,1\n", r"has no column 'channel': its first line names 'room'"),
        ("id,channel\na,1,2\n", r"line 2: 'a' has 3 columns"),
        ("id,channel\na,1\n\na,2\n", r"line 4: 'a' occurs twice"),
        ("id,channel,channel\na,1,2\n", "has several columns 'channel'"),
        ('id,channel\na,"x\nb\n', r"line 3: 'b' has 1 columns"),
        (f"id,channel\na,{'x' * 200_000}\n", r"line 2: field larger than field limit"),
        ("id\na\n", r"no column after the ids"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_conditions(tmp_path / "t.csv", "channel")


def test_a_quotation_mark_that_is_open_ends_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,channel\na,"x\nb,y\n')
    assert read_conditions(tmp_path / "t.csv", "channel") == {"a": "x", "b": "y"}


def test_a_condition_without_a_table_says_what_is_needed() -> None:
    with pytest.raises(UsageError, match=r"--by channel needs --by_table"):
        trial_conditions("channel", trials_of("a b 1"))
    with pytest.raises(UsageError, match=r"--by duration needs --by_table"):
        trial_conditions("duration", trials_of("a b 1"))


def test_the_metrics_of_a_condition_are_those_of_its_trials_alone() -> None:
    rng = np.random.default_rng(0)
    names = [
        f"id{speaker:05}/{genre}-01-00{take}"
        for speaker in range(9)
        for take in range(2)
        for genre in ("song", "talk")
    ]
    lines = [f"{a} {b} {int(a[:7] == b[:7])}" for a in names for b in names if a < b]
    trials = trials_of(*lines)
    scores = rng.normal(size=len(trials)) + 2 * trials.targets
    conditions = trial_conditions("genre", trials)
    found = rate_by_condition(scores, trials, conditions, threshold=1.0, bootstrap=50).conditions
    assert list(found) == ["song", "song, talk", "talk"]
    speakers = trial_speakers(trials)
    for name, metrics in found.items():
        part = np.array(named(conditions)) == name
        chosen = scores[part], trials.targets[part]
        assert (metrics.eer, metrics.threshold) == compute_eer(*chosen)
        assert metrics.min_dcf == compute_min_dcf(*chosen)
        assert metrics.miss_rate == pytest.approx(np.mean(chosen[0][chosen[1]] < 1))
        assert metrics.false_accept_rate == pytest.approx(np.mean(chosen[0][~chosen[1]] >= 1))
        assert metrics.target_trials == chosen[1].sum() and metrics.speakers == 9
        intervals = bootstrap_intervals(
            *chosen, *(side[part] for side in speakers), replicates=50, p_targets=(0.01,)
        )
        assert metrics.eer_interval == intervals.eer
        assert metrics.min_dcf_interval == intervals.min_dcf[0.01]


def test_a_condition_of_one_kind_has_no_eer() -> None:
    trials = trials_of("a a1 1", "a b1 0", "b b2 1", "b a2 0", "a b2 0")
    table = {"a1": "x", "b1": "x", "b2": "y", "a2": "z"}
    from vprtrain.scoring import value_conditions

    conditions = value_conditions("channel", trials, table)
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.3])
    found = rate_by_condition(scores, trials, conditions, threshold=0.5, bootstrap=20)
    assert found.conditions["z"].eer is None and found.conditions["z"].false_accept_rate == 0
    assert found.conditions["z"].miss_rate is None and found.conditions["x"].eer == 0
    assert found.conditions["x"].eer_interval is None  # most draws of its speakers have one kind
    header, *rows, note = found.lines()
    assert len({len(line) for line in (header, *rows)}) == 1 and note.startswith("*")
    assert found.as_json()["channel"]["z"] == {
        **dict.fromkeys(("eer", "min_dcf", "threshold", "miss_rate")),
        **{"target_trials": 0, "nontarget_trials": 1, "speakers": 2, "false_accept_rate": 0.0},
    }
