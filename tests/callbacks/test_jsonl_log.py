"""JsonlLog: the content of a line, and a file that reads like that of an uninterrupted run."""

import json
import logging

import paddle
import pytest
from probes import StopAfter, last, train
from toy import ToyModule

from vprtrain.callbacks import CosineWarmup, JsonlLog, MarginSchedule, MixedPrecision
from vprtrain.engine import Callback
from vprtrain.errors import RunError


def lines(run_dir, *, time=False):
    read = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return (
        read
        if time
        else [{name: value for name, value in line.items() if name != "time"} for line in read]
    )


def schedules():
    return CosineWarmup(warmup_epochs=0.5), MarginSchedule(
        final=0.2, start_epoch=0.0, fix_epoch=1.5
    )


def test_a_line_per_log_point_and_validation(tmp_path):
    run = train(JsonlLog(), *schedules(), run_dir=tmp_path, log_every=4, clip_norm=1.0)
    read = lines(tmp_path, time=True)
    assert [(line["kind"], line["epoch"], line["step"]) for line in read] == [
        ("train", 1, 1),
        ("train", 1, 4),
        ("validation", 1, 6),
        ("train", 2, 8),
        ("train", 2, 12),
        ("validation", 2, 12),
    ]
    point = read[4]
    assert list(point) == [
        "kind",
        "epoch",
        "step",
        "loss",
        "accuracy",
        "grad_norm",
        "margin",
        "learning_rate",
        "time",
    ]
    assert point["margin"] == 0.2
    assert point["learning_rate"] == run.run.learning_rate
    assert point["time"].keys() == {"examples_per_second", "data_wait_share", "eta_seconds"}
    assert point["time"]["eta_seconds"] == 0.0
    assert read[5] == {
        "kind": "validation",
        "epoch": 2,
        "step": 12,
        **run.result.metrics,
        "time": {},
    }


def test_the_loss_is_the_mean_since_the_log_point_before(tmp_path):
    train(JsonlLog(), run_dir=tmp_path / "each", log_every=1)
    train(JsonlLog(), run_dir=tmp_path / "some", log_every=4)
    each = {
        line["step"]: line["loss"] for line in lines(tmp_path / "each") if line["kind"] == "train"
    }
    some = {
        line["step"]: line["loss"] for line in lines(tmp_path / "some") if line["kind"] == "train"
    }
    assert some[1] == each[1]
    assert some[8] == pytest.approx(sum(each[step] for step in (5, 6, 7, 8)) / 4, rel=1e-6)


@pytest.mark.parametrize("cut", [1, 5, 6, 8])
def test_a_cut_run_leaves_the_same_file(tmp_path, cut):
    train(JsonlLog(), *schedules(), run_dir=tmp_path / "whole", log_every=4)
    train(JsonlLog(), *schedules(), StopAfter(cut), run_dir=tmp_path / "cut", log_every=4)
    train(JsonlLog(), *schedules(), run_dir=tmp_path / "cut", log_every=4)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_what_was_logged_after_the_last_commit_is_cut_off(tmp_path):
    class FailAt(Callback):
        def on_log(self, run):
            if run.progress.step == 10:
                raise OSError("the disk is gone")

    train(JsonlLog(), run_dir=tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        train(JsonlLog(), FailAt(), run_dir=tmp_path / "cut")
    path, offset = (
        tmp_path / "cut" / "metrics.jsonl",
        last(tmp_path / "cut").state.metrics_offset,
    )
    assert lines(tmp_path / "cut")[-1]["step"] == 10
    assert 0 < offset < path.stat().st_size
    with open(path, "ab") as file:
        file.write(b'{"kind": "tra')  # a kill in the middle of a line
    train(JsonlLog(), run_dir=tmp_path / "cut")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_a_new_run_begins_a_new_file(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "what a run left that was killed before its first checkpoint\n"
    )
    train(JsonlLog(), run_dir=tmp_path)
    assert lines(tmp_path)[0]["step"] == 1


def test_a_file_shorter_than_committed_is_said(tmp_path, caplog):
    train(JsonlLog(), StopAfter(8), run_dir=tmp_path)
    path, offset = tmp_path / "metrics.jsonl", last(tmp_path).state.metrics_offset
    assert path.stat().st_size == offset
    kept = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(kept)
    with caplog.at_level(logging.WARNING):
        train(JsonlLog(), run_dir=tmp_path)
    assert (
        f"{path} has {len(kept)} bytes, fewer than when the checkpoint was taken ({offset})"
        in caplog.text
    )
    assert [line["step"] for line in lines(tmp_path)] == [1, 10, 12, 12]
    assert last(tmp_path).state.metrics_offset == path.stat().st_size


def test_a_run_that_writes_nothing_has_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(JsonlLog())
    train(JsonlLog(), run_dir=tmp_path, fast_dev_run=2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_is_null(tmp_path):
    """Gradients in float16 overflow now and then, and JSON has no infinity."""

    class Overflowing(ToyModule):
        def training_step(self, batch):
            loss, scalars = super().training_step(batch)
            return loss, scalars | {"norm": paddle.to_tensor(float("inf"))}

    train(JsonlLog(), MixedPrecision(), module=Overflowing, run_dir=tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert lines(tmp_path)[0]["norm"] is None
    assert "Infinity" not in text


def test_a_link_in_the_logs_place_is_not_written_through(tmp_path):
    """A stranger's run directory must not change files elsewhere."""
    train(JsonlLog(), StopAfter(4), run_dir=tmp_path / "run")
    victim = tmp_path / "thesis.txt"
    victim.write_text("mine" * 1000)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    (tmp_path / "run" / "metrics.jsonl").symlink_to(victim)
    with pytest.raises(RunError, match=r"metrics\.jsonl could not be written"):
        train(JsonlLog(), run_dir=tmp_path / "run")
    assert victim.read_text() == "mine" * 1000
