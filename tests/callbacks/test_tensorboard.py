"""TensorBoard: the event files, and what a resume hides."""

import struct

import pytest
from probes import StopAfter, train
from tensorboardX.proto.event_pb2 import Event, SessionLog

from vprtrain.callbacks import CosineWarmup, MarginSchedule, TensorBoard


def records(path):
    """The events. A TFRecord is a length, its checksum, the event, its checksum."""
    data, position = path.read_bytes(), 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        yield Event.FromString(data[position + 12 : position + 12 + length])
        position += 12 + length + 4


def scalars(run_dir):
    """``{(name, step): value}`` as TensorBoard shows them: a new session hides the older values
    from its step on."""
    shown = {}
    for path in sorted(
        run_dir.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns
    ):
        for event in records(path):
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                shown = {
                    (name, step): value
                    for (name, step), value in shown.items()
                    if step < event.step
                }
            for value in event.summary.value:
                shown[value.tag, event.step] = value.simple_value
    return shown


def test_what_is_logged_and_when(tmp_path):
    run = train(
        TensorBoard(),
        CosineWarmup(warmup_epochs=0.5),
        MarginSchedule(final=0.2, start_epoch=0.0, fix_epoch=1.0),
        run_dir=tmp_path,
        log_every=4,
        clip_norm=1.0,
    )
    shown = scalars(tmp_path)
    training = {
        "loss",
        "accuracy",
        "grad_norm",
        "margin",
        "learning_rate",
        "examples_per_second",
        "data_wait_share",
    }
    assert {key for key in shown if key[0].startswith("train/")} == {
        (f"train/{name}", step) for name in training for step in (1, 4, 8, 12)
    }
    assert {key for key in shown if key[0].startswith("validation/")} == {
        (f"validation/{name}", step) for name in ("error", "bias") for step in (6, 12)
    }
    assert shown["validation/error", 12] == pytest.approx(run.result.metrics["error"], rel=1e-6)
    assert shown["train/loss", 12] == pytest.approx(run.run.scalars["loss"], rel=1e-6)
    assert shown["train/learning_rate", 12] == pytest.approx(run.run.learning_rate, rel=1e-6)
    assert shown["train/margin", 12] == pytest.approx(0.2)


@pytest.mark.parametrize("cut", [5, 8])
def test_a_resume_neither_loses_nor_repeats_a_point(tmp_path, cut):
    """A point at the step of the checkpoint itself is kept too."""
    train(TensorBoard(), run_dir=tmp_path / "whole", log_every=4)
    train(TensorBoard(), StopAfter(cut), run_dir=tmp_path / "cut", log_every=4)
    train(TensorBoard(), run_dir=tmp_path / "cut", log_every=4)
    cut_run, whole = scalars(tmp_path / "cut"), scalars(tmp_path / "whole")
    assert cut_run.keys() == whole.keys()
    for key, value in whole.items():
        if not key[0].endswith(("per_second", "wait_share")):
            assert cut_run[key] == value, key


def test_what_was_logged_after_the_last_commit_is_hidden(tmp_path):
    class Fails(StopAfter):
        def on_train_batch_end(self, run):
            if run.progress.step == self.step:
                raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(TensorBoard(), Fails(11), run_dir=tmp_path)
    assert ("train/loss", 10) in scalars(tmp_path)
    train(TensorBoard(), StopAfter(7), run_dir=tmp_path)
    assert max(step for name, step in scalars(tmp_path) if name == "train/loss") == 6


def test_a_run_that_writes_nothing_has_no_events(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(TensorBoard())
    assert list(tmp_path.iterdir()) == []
