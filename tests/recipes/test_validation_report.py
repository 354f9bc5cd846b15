"""``validate`` after ``fit``: the same numbers, both enrolments, the report, and averaged
checkpoints."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from recipe_cli import RUN_DIR

from vprtrain.__main__ import main
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.commands import program

METRICS = ("eer", "min_dcf", "threshold")


@pytest.fixture(scope="module")
def run_dir(cli_straight, tmp_path_factory) -> Path:
    """A copy of a finished small run."""
    copy = tmp_path_factory.mktemp("validated") / RUN_DIR
    return Path(shutil.copytree(cli_straight, copy, symlinks=True))


def test_the_report_has_the_numbers_of_fit_and_both_enrolments(
    corpus, run_dir, recipe_here, run_py, tmp_path
):
    last = open_checkpoint(run_dir / "last_model")
    validate = [*run_py, "validate", f"--checkpoint={last.folder}"]
    said = recipe_here(*validate, "--json")
    assert said.returncode == 0, said.stderr
    expected = {name: last.state.metrics[name] for name in METRICS}
    assert json.loads(said.stdout) == {**expected, "backend": "cosine"}

    report = run_dir / "validation" / last.folder.name / "trials"
    content = json.loads((report / "report.json").read_text())
    assert {name: content[name] for name in METRICS} == expected
    assert content["checkpoint"] == str(last.folder)
    assert content["command"] == f"vprtrain validate --checkpoint={last.folder} --json"
    assert datetime.fromisoformat(content["date"]).tzinfo is not None
    counts = content["results"]["averaged enrolment"]
    assert counts["speakers"] > 1 and counts["recordings"] > counts["speakers"]
    assert content["data_set"].endswith("trials.txt")
    assert f"on {content['data_set']}</h1>" in (report / "report.html").read_text()
    assert content["weights_sha256"] == last.state.files["model.pdparams"]
    assert list(content["results"]) == ["averaged enrolment", "concatenated enrolment"]
    assert content["results"]["concatenated enrolment"]["threshold"] != expected["threshold"]
    assert "data:image/png;base64," in (report / "report.html").read_text()
    open_checkpoint(last.folder)  # nothing was written into it

    normalised = (f"--cohort={corpus / 'train.tsv'}", "--top=4", "--bootstrap=20")
    elsewhere = recipe_here(*validate, f"--out={tmp_path / 'out'}", *normalised)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert f"averaged enrolment: eer {last.state.metrics['eer']:.2%}" in elsewhere.stdout
    assert "concatenated enrolment: eer " in elsewhere.stdout
    assert "averaged enrolment, as-norm: eer " in elsewhere.stdout
    assert (tmp_path / "out" / "det.png").stat().st_size > 1000


def test_several_lists_in_one_call(corpus, run_dir, recipe_here, run_py, tmp_path):
    last = open_checkpoint(run_dir / "last_model")
    validate = [*run_py, "validate", f"--checkpoint={last.folder}", f"--out={tmp_path / 'out'}"]
    lists = f"{{own: {corpus / 'trials.txt'}, again: {corpus / 'trials.txt'}}}"
    options = (f"--data.trials={lists}", f"--data.eval_manifest={corpus / 'eval.tsv'}")
    said = recipe_here(*validate, *options, f"--data.enroll={corpus / 'enroll.map'}", "--json")
    assert said.returncode == 0, said.stderr
    content = json.loads(said.stdout)
    expected = {name: last.state.metrics[name] for name in METRICS}
    assert content["results"]["own, averaged enrolment"] == expected
    assert content == {**expected, "backend": "cosine", "results": content["results"]}
    assert len(content["results"]) == 4


def test_a_manifest_without_its_trials_is_refused(run_dir, recipe_here, run_py):
    """Otherwise the run's own trials would be scored silently."""
    options = (f"--checkpoint={run_dir}", "--data.eval_manifest=other.tsv")
    done = recipe_here(*run_py, "validate", *options)
    assert done.returncode == 2 and "go with --data.trials" in done.stderr


def test_averaged_checkpoints_are_validated_like_any(run_dir, recipe_here, run_py, tmp_path, capfd):
    mean = tmp_path / "mean"
    average = ["average", "last-2", f"--checkpoint={run_dir}", f"--out={mean}", "--json"]
    assert program.status(main, average) == 0
    assert json.loads(capfd.readouterr().out) == {"path": str(mean)}
    said = recipe_here(*run_py, "validate", f"--checkpoint={mean}", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout).keys() == {*METRICS, "backend"}
    assert (tmp_path / "validation" / "mean" / "trials" / "report.html").exists()
