"""EtaLogger: a line per log point, and a bar on a terminal."""

import fcntl
import logging
import os
import pty
import re
import struct
import termios
import threading
from contextlib import contextmanager, redirect_stderr

import pytest
from probes import StopAfter, Watch, train
from toy import ToyData, ToyModule

from vprtrain.callbacks import CosineWarmup, EtaLogger, MarginSchedule


def messages(caplog, *callbacks, **options):
    with caplog.at_level(logging.INFO, logger="vprtrain.callbacks.eta_logger"):
        run = train(EtaLogger(), *callbacks, **options)
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "vprtrain.callbacks.eta_logger"
    ], run


def test_the_first_line_says_what_comes(caplog):
    lines, _ = messages(caplog, StopAfter(1))
    assert lines[0] == "training: 12 steps (6 per epoch), callbacks in order: EtaLogger, StopAfter"


def test_a_line_per_log_point(caplog):
    lines, run = messages(
        caplog,
        CosineWarmup(peak=0.01, warmup_epochs=0.5),
        MarginSchedule(final=0.2, start_epoch=0.0, fix_epoch=1.0),
        log_every=4,
        clip_norm=1.0,
    )
    points = [line for line in lines if line.startswith("epoch")]
    assert [line.split(":")[0] for line in points] == [
        "epoch 1 step 1/12",
        "epoch 1 step 4/12",
        "epoch 2 step 8/12",
        "epoch 2 step 12/12",
    ]
    number = r"\d+(\.\d+)?(e-\d+)?"
    for line in points:
        assert re.search(
            rf": loss {number}, accuracy {number}, grad_norm {number}, lr {number}, "
            r"margin 0\.\d\d\d, "
            rf"{number} examples/s, data wait \d+\.\d%, ETA \d\d:\d\d$",
            line,
        ), line
    assert f"loss {run.run.scalars['loss']:.4g}, " in points[-1]
    assert "lr 1e-05," not in points[1]
    assert "margin 0.200" in points[-1]
    assert points[-1].endswith("ETA 00:00")


def test_a_line_per_validation(caplog):
    lines, run = messages(caplog)
    said = [line for line in lines if line.startswith("validation")]
    values = " ".join(f"{name} {value:.5g}" for name, value in run.result.metrics.items())
    assert len(said) == 2
    assert said[-1] == f"validation at step 12: {values}"


def test_a_validation_that_was_cut_is_said(caplog):
    lines, _ = messages(caplog, StopAfter(6))
    assert lines[-1] == "validation at step 6: ended without metrics"


def test_throughput_wait_and_time_left_by_the_clock(caplog):
    now = 0.0

    class Slow(ToyData):
        def train_batches(self, epoch, start):
            nonlocal now
            for batch in super().train_batches(epoch, start):
                now += 3.0
                yield batch

    class Working(ToyModule):
        def training_step(self, batch):
            nonlocal now
            now += 1.0
            return super().training_step(batch)

    lines, run = messages(
        caplog,
        module=Working,
        data=Slow(),
        clock=lambda: now,
        validate_every="never",
        log_every=4,
        max_epochs=10,
    )
    point = next(line for line in lines if line.startswith("epoch 1 step 4/60"))
    # 56 steps of 4 s, 4 examples each
    assert point.endswith("1.0 examples/s, data wait 75.0%, ETA 03:44")
    assert run.engine.live.eta_seconds == 0.0


def test_the_unit_is_the_datas_own(caplog):
    class Utterances(ToyData):
        unit = "utterances"

    lines, _ = messages(caplog, StopAfter(1), data=Utterances())
    assert " utterances/s, " in lines[1]


@contextmanager
def terminal():
    """Standard error on a terminal of 200 columns. After the context, the list holds what it
    showed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    chunks, shown = [], []

    def read():
        try:
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
        except OSError:  # the other end of the terminal was closed
            os.close(ours)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with os.fdopen(theirs, "w") as stderr, redirect_stderr(stderr):
            yield shown
    finally:
        reader.join()
        shown.append(b"".join(chunks).decode())


class CountedValidation(ToyData):
    validation_steps = 2


def test_a_bar_on_a_terminal(caplog):
    with terminal() as output:
        lines, run = messages(
            caplog,
            CosineWarmup(warmup_epochs=0.5),
            MarginSchedule(final=0.2, start_epoch=0.0, fix_epoch=1.0),
            log_every=4,
            data=CountedValidation(),
        )
    (shown,) = output
    states = [state for state in shown.split("\r") if "step/s" in state or "s/step" in state]
    assert "12/12" in states[-1]
    assert "100%" in states[-1]
    *_, last = (line for line in lines if line.startswith("epoch 2 step 12/12: "))
    assert (
        f"loss {run.run.scalars['loss']:.4g}, accuracy {run.run.scalars['accuracy']:.4g}, lr "
        in last
    )
    assert re.search(r"margin 0\.200, \d+\.\d examples/s, data wait \d+\.\d%, ETA 00:00$", last)
    assert re.search(r"validation: +\d+%.* [012]/2 ", shown)
    assert sum(line.startswith("validation") for line in lines) == 2


def test_the_bar_of_a_resumed_run_goes_on(tmp_path):
    train(StopAfter(7), run_dir=tmp_path)
    with terminal() as output:
        train(EtaLogger(), run_dir=tmp_path)
    first, *_ = re.findall(r"(\d+)/12", output[0])
    assert first == "7"


def test_the_bar_is_closed_when_the_run_fails():
    class Fails(Watch):
        def on_validation_batch_end(self, run):
            raise OSError("the disk is gone")

    with terminal() as output, pytest.raises(OSError, match="the disk is gone"):
        train(EtaLogger(), Fails("on_fit_start", lambda run: None))
    assert output[0].endswith("\n")
