"""The validation batches that are tried before the first step."""

import numpy as np
import pytest
import recovery
from probes import StopAfter, Watch, train
from toy import ToyData, ToyModule

from vprtrain.engine import Callback
from vprtrain.errors import UsageError


class Counting(ToyModule):
    """Counts its calls, in ``calls``."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def training_step(self, batch):
        self.calls.append("train")
        return super().training_step(batch)

    def validation_step(self, batch):
        assert not self.training
        self.calls.append("validate")
        super().validation_step(batch)

    def on_validation_end(self):
        self.calls.append("metrics")
        return super().on_validation_end()


def first_calls(**options):
    """What the module does up to its first training step."""
    calls = train(module=Counting, **options).module.calls
    return calls[: calls.index("train")]


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({}, 2),
        ({"sanity_batches": 1}, 1),
        ({"sanity_batches": 9}, 2),  # the data has two
        ({"sanity_batches": 0}, 0),
        ({"fast_dev_run": 1}, 0),
        ({"validate_every": "never"}, 0),
    ],
)
def test_how_many_are_tried(options, batches):
    assert first_calls(**options) == ["validate"] * batches


def test_a_resume_tries_none(tmp_path):
    train(StopAfter(4), run_dir=tmp_path)
    assert first_calls(run_dir=tmp_path) == []


def test_a_module_without_a_validation_is_not_asked():
    class Bare(ToyModule):
        metric_names = ()

        def validation_step(self, batch):
            raise AssertionError

    assert train(module=Bare).result.step == 12


def test_no_bit_of_the_run_depends_on_it(tmp_path):
    class Drawing(ToyModule):
        """Draws in its validation, as a user's may."""

        def validation_step(self, batch):
            np.random.rand()
            super().validation_step(batch)

    for count in (0, 2):
        recovery.fit(tmp_path / str(count), sanity_batches=count, module=Drawing)
    assert recovery.outcome(tmp_path / "0") == recovery.outcome(tmp_path / "2")


def test_no_hook_is_called_and_nothing_is_recorded():
    seen = Watch("on_validation_batch_end", lambda run: run.progress.step)
    assert train(seen).run.metrics_step == 12
    assert min(seen.seen) == 6


def test_an_error_comes_before_the_first_step():
    class Wrong(Counting):
        def validation_step(self, batch):
            raise ValueError("no such column")

    ends = Watch("on_fit_start", lambda run: run)
    with pytest.raises(ValueError, match="no such column"):
        train(ends, module=Wrong)
    assert ends.seen[0].progress.step == 0
    assert ends.seen[0].module.training


def test_the_loader_is_closed():
    class Loading(ToyData):
        closed = 0

        def validation_batches(self):
            try:
                yield from [(self.x[:8], self.y[:8])] * 5
            finally:
                Loading.closed += 1

    closed = Watch("on_train_batch_end", lambda run: Loading.closed)
    train(closed, data=Loading(), max_steps=3)
    assert closed.seen == [1, 1, 1]


def test_a_stop_ends_it():
    class StopAtOnce(Callback):
        def on_fit_start(self, run):
            run.request_stop("test")

    trained = train(StopAtOnce(), module=Counting)
    assert (trained.result.stopped_by, trained.module.calls) == ("test", [])


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="sanity_batches is -1"):
        train(sanity_batches=-1)
