"""CsvLog: the rows, and a file that reads like that of an uninterrupted run."""

import csv

import pytest
import recovery
from probes import FailAt, StopAfter, train

from vprtrain.callbacks import CsvLog
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Callback

CLOCK = ("examples_per_second", "data_wait_share")


def rows(run_dir):
    """Without those that depend on the clock."""
    with open(run_dir / "metrics.csv", newline="") as file:
        return [row for row in csv.reader(file) if row[3] not in CLOCK]


def test_a_row_for_each_number(tmp_path):
    run = train(CsvLog(), run_dir=tmp_path, log_every=6)
    found = rows(tmp_path)
    assert found[0] == ["kind", "epoch", "step", "name", "value"]
    named = {(kind, int(step), name): float(value) for kind, _, step, name, value in found[1:]}
    training = ("loss", "accuracy", "margin", "learning_rate")
    assert named.keys() == {
        *(("train", step, name) for step in (1, 6, 12) for name in training),
        *(("validation", step, name) for step in (6, 12) for name in ("error", "bias")),
    }
    assert [row[1] for row in found[1:] if row[0] == "validation"] == ["1", "1", "2", "2"]
    for name, value in run.result.metrics.items():
        assert named["validation", 12, name] == value


@pytest.mark.parametrize("cut", [1, 5, 6, 8])
def test_a_cut_run_leaves_the_same_file(tmp_path, cut):
    train(CsvLog(), run_dir=tmp_path / "whole", log_every=4)
    train(CsvLog(), StopAfter(cut), run_dir=tmp_path / "cut", log_every=4)
    train(CsvLog(), run_dir=tmp_path / "cut", log_every=4)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.parametrize("torn", ["", "train,1,11,lo", "train,1,11,loss,0.1\ntra", "\0\0\0"])
def test_rows_after_the_checkpoint_are_cut_off(tmp_path, torn):
    train(CsvLog(), run_dir=tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        train(CsvLog(), FailAt(11), run_dir=tmp_path / "cut")
    assert rows(tmp_path / "cut")[-1][2] == "10"
    with open(tmp_path / "cut" / "metrics.csv", "a") as file:
        file.write(torn)
    train(CsvLog(), run_dir=tmp_path / "cut")
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_validation_that_is_made_up_for_is_there_once(tmp_path):
    """A stop cut it short; then it took place, but the run died before the next checkpoint."""

    class CutShort(Callback):
        def on_validation_batch_end(self, run):
            run.request_stop("test")

    recovery.fit(tmp_path / "whole", CsvLog(), commit_every="never")
    recovery.fit(tmp_path / "cut", CsvLog(), CutShort(), commit_every="never")
    assert open_checkpoint(tmp_path / "cut" / "last_model").state.validation_pending

    class Dies(Callback):
        def on_validation_end(self, run, metrics):
            raise OSError("the disk is gone")

    with pytest.raises(OSError):
        recovery.fit(tmp_path / "cut", CsvLog(), Dies(), commit_every="never")
    assert rows(tmp_path / "cut")[-1][0] == "validation"
    recovery.fit(tmp_path / "cut", CsvLog(), commit_every="never")
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_foreign_file_is_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("a table of my own\n")
    train(CsvLog(), run_dir=tmp_path)
    assert (tmp_path / "metrics.csv.aside1").read_text() == "a table of my own\n"
    assert rows(tmp_path)[0][0] == "kind"


def test_a_run_that_writes_nothing_has_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(CsvLog())
    train(CsvLog(), run_dir=tmp_path, fast_dev_run=2)
    assert list(tmp_path.iterdir()) == []
