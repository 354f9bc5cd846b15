"""``vprtrain score``: anyone's scores of any trial list."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vprtrain.commands import program
from vprtrain.commands.score import score
from vprtrain.scoring.calibrate import fit_calibration
from vprtrain.scoring.likelihood import cllr
from vprtrain.scoring.metrics import compute_eer, compute_min_dcf

main = program.choose(score, description="", prog="vprtrain")
FORMS = {
    "cnceleb": lambda e, t, same: f"{e} {t} {int(same)}",
    "voxceleb": lambda e, t, same: f"{int(same)} {e} {t}",
    "kaldi": lambda e, t, same: f"{e} {t} {'target' if same else 'nontarget'}",
}


@pytest.fixture
def case(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of 8 x 40 trials in files of every form."""
    rng = np.random.default_rng(0)
    pairs = [(f"e{e}", f"t{t}", e == t % 8) for e in range(8) for t in range(40)]
    labels = np.array([same for _, _, same in pairs])
    scores = rng.normal(size=len(pairs)) + 2 * labels
    for name, form in FORMS.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{form(*pair)}\n" for pair in pairs))
    lines = [
        f"{e} {t} {value!r}\n" for (e, t, _), value in zip(pairs, scores.tolist(), strict=True)
    ]
    (tmp_path / "scores.txt").write_text("".join(lines[::-1]))
    (tmp_path / "enroll_list.txt").write_text("".join(f"e{e}\t{e}\n" for e in range(8)))
    (tmp_path / "test_list.txt").write_text("".join(f"t{t}\t{t % 8}\n" for t in range(40)))
    return scores, labels


@pytest.mark.parametrize("form", [*FORMS, "ppvector"])
def test_every_form_of_trials_gives_the_metrics_as_json(
    case: tuple[np.ndarray, np.ndarray],
    form: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(tmp_path / f"{form}.txt"), str(tmp_path / "scores.txt")]
    if form == "ppvector":
        files = [
            str(tmp_path / "test_list.txt"),
            files[1],
            f"--enroll_list={tmp_path / 'enroll_list.txt'}",
        ]
    assert program.status(main, ["score", *files, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    scores, labels = case
    eer, threshold = compute_eer(scores, labels)
    assert (found["eer"], found["threshold"]) == (eer, threshold)
    assert found["min_dcf"] == compute_min_dcf(scores, labels)
    assert (found["target_trials"], found["nontarget_trials"], found["dropped_trials"]) == (
        40,
        280,
        0,
    )
    assert found["fa_rate"] == np.mean(scores[~labels] >= found["fa_rate_threshold"]) <= 0.01
    assert not said.err


def test_costs_likelihood_ratios_and_intervals_on_request(
    case: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["score", str(tmp_path / "kaldi.txt"), str(tmp_path / "scores.txt")]
    arguments += ["--p_target=0.05", "--c_miss=10", "--llr", "--bootstrap=50", "--seed=3"]
    assert program.status(main, [*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores, labels = case
    assert found["min_dcf"] == compute_min_dcf(scores, labels, 0.05, 10)
    assert found["cllr"] == cllr(scores, labels) > found["min_cllr"]
    assert found["actual_dcf"] >= found["min_dcf"]
    assert found["speakers"] == 8
    assert found["eer_interval"][0] < found["eer"] < found["eer_interval"][1]
    assert found["min_dcf_interval"][0] < found["min_dcf_interval"][1]
    assert program.status(main, arguments) == 0
    text = capsys.readouterr().out
    assert f"EER {found['eer']:.4%} [" in text and "over 8 speakers" in text and "Cllr" in text


def test_the_metrics_of_each_condition(
    case: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table names the test utterances only."""
    scores, labels = case
    table = "".join(f"t{t}\t{'phone' if t < 16 else 'studio'}\t{t + 1}\n" for t in range(40))
    (tmp_path / "table.tsv").write_text("id\tchannel\tduration\n" + table)
    files = [str(tmp_path / "kaldi.txt"), str(tmp_path / "scores.txt")]
    by = [*files, "--by=channel", f"--by_table={tmp_path / 'table.tsv'}", "--bootstrap=30"]
    assert program.status(main, ["score", *by, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["by"]["channel"]
    is_phone = np.tile(np.arange(40) < 16, 8)
    for name, part in (("phone", is_phone), ("studio", ~is_phone)):
        assert found[name]["eer"] == compute_eer(scores[part], labels[part])[0]
        assert found[name]["min_dcf"] == compute_min_dcf(scores[part], labels[part])
        low, high = found[name]["eer_interval"]
        assert low <= high
    assert program.status(main, ["score", *by]) == 0
    said = capsys.readouterr().out
    assert "\nphone " in said and "* at the threshold" in said
    assert program.status(main, ["score", *files, f"--by_table={tmp_path / 'table.tsv'}"]) == 2
    assert "--by_table goes with --by" in capsys.readouterr().err


def test_scores_are_calibrated_on_another_list(
    case: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same distribution here: then the ratios are about right, whatever the scores' own
    scale."""
    scores, labels = case
    rng = np.random.default_rng(1)
    known = 2 * labels + rng.normal(size=len(labels))
    lines = [
        line.rsplit(maxsplit=1)[0] for line in (tmp_path / "cnceleb.txt").read_text().splitlines()
    ]
    (tmp_path / "known.txt").write_text(
        "".join(f"{a} {b!r}\n" for a, b in zip(lines, known.tolist(), strict=True))
    )
    trials, calibrate = (
        str(tmp_path / "kaldi.txt"),
        f"--calibrate_on=[{tmp_path}/cnceleb.txt,{tmp_path}/known.txt]",
    )
    assert (
        program.status(main, ["score", trials, str(tmp_path / "scores.txt"), calibrate, "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    llrs = fit_calibration({"score": known}, labels).apply({"score": scores})
    assert (
        found["cllr"] == pytest.approx(cllr(llrs, labels))
        and found["eer"] == compute_eer(scores, labels)[0]
    )
    assert found["min_cllr"] < found["cllr"] < 0.9 * cllr(scores, labels)


def test_dropped_trials_and_swapped_labels_are_said(
    case: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (tmp_path / "scores.txt").read_text().splitlines()
    distances = [f"{e} {t} {-float(value)}" for e, t, value in map(str.split, lines)]
    (tmp_path / "scores.txt").write_text("\n".join(["other pair 0.5", *distances[2:]]))
    assert (
        program.status(
            main, ["score", str(tmp_path / "kaldi.txt"), str(tmp_path / "scores.txt"), "--json"]
        )
        == 0
    )
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (
        found["dropped_trials"] == 2 and found["target_trials"] + found["nontarget_trials"] == 318
    )
    first, second, third = said.err.splitlines()
    assert first == "warning: 2 trials have no score and were dropped: e7 t38; e7 t39"
    assert second.startswith("warning: 1 lines of ") and third.startswith("warning: the EER is ")


@pytest.mark.parametrize(
    "option",
    ["--p_target=1", "--c_miss=0", "--c_fa=-1", "--fa_rate=2", "--bootstrap=-1", "--seed=-1"],
)
def test_options_that_make_no_sense_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.status(main, ["score", "trials", "scores", option]) == 2
    assert "expected" in capsys.readouterr().err


def test_infinite_scores_are_refused_in_one_line(
    case: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.txt").write_text("e0 t0 inf\n")
    assert (
        program.status(main, ["score", str(tmp_path / "kaldi.txt"), str(tmp_path / "scores.txt")])
        == 2
    )
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "line 1: the score 'inf' is not a finite number" in said[0]


def test_a_calibration_by_duration_is_better_where_short_recordings_score_higher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The level of the scores falls with the log seconds of the shorter side."""
    rng = np.random.default_rng(0)
    seconds = {f"u{place}": float(rng.choice([1.0, 3.0, 9.0])) for place in range(60)}
    table = "".join(f"{key},{value}\n" for key, value in seconds.items())
    (tmp_path / "durations.csv").write_text("id,duration\n" + table)
    for name in ("known", "asked"):
        trials, scores = [], []
        for a in range(60):
            for b in range(a):
                shorter = min(seconds[f"u{a}"], seconds[f"u{b}"])
                score = 2.0 * (a % 6 == b % 6) - 2 * np.log(shorter) + rng.normal()
                trials.append(f"u{a} u{b} {int(a % 6 == b % 6)}\n")
                scores.append(f"u{a} u{b} {float(score)!r}\n")
        (tmp_path / f"{name}.txt").write_text("".join(trials))
        (tmp_path / f"{name}_scores.txt").write_text("".join(scores))
    files = [str(tmp_path / name) for name in ("asked.txt", "asked_scores.txt")]
    known = f"--calibrate_on=[{tmp_path}/known.txt,{tmp_path}/known_scores.txt]"
    by_score, by_both = (
        run_json(capsys, "score", *files, known, *more)
        for more in ([], [f"--durations={tmp_path / 'durations.csv'}"])
    )
    assert by_both["cllr"] < by_score["cllr"] - 0.1 and by_both["eer"] < by_score["eer"] - 0.05
    assert by_both["cllr"] == pytest.approx(by_both["min_cllr"], abs=0.05)
    assert program.status(main, ["score", *files, f"--durations={tmp_path / 'durations.csv'}"]) == 2
    assert "--durations goes with --calibrate_on" in capsys.readouterr().err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, float]:
    """The JSON object that the command prints."""
    capsys.readouterr()
    assert program.status(main, [*arguments, "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found
