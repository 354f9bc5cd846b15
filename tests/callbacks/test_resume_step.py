"""ResumeStep: a run resumes at exactly the batch where it stopped, with the same bits."""

import logging

import paddle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probes import StopAfter, Watch, assert_equal_arrays, last, train
from toy import ToyData, ToyModule

from vprtrain.callbacks import Checkpoint, ResumeStep
from vprtrain.checkpoint.file_names import OPTIMIZER_FILE
from vprtrain.engine import Engine, Progress
from vprtrain.errors import UsageError


class Served(ToyData):
    """Records which batches were fetched."""

    def __init__(self):
        super().__init__()
        self.positions = []

    def train_batches(self, epoch, start):
        for number, batch in enumerate(super().train_batches(epoch, start), start):
            self.positions.append((epoch, number))
            yield batch


@pytest.mark.parametrize("cut", [1, 4, 6, 11])
def test_the_batches_go_on_where_they_were_cut(tmp_path, cut):
    whole, head, tail = Served(), Served(), Served()
    train(data=whole)
    train(StopAfter(cut), data=head, run_dir=tmp_path)
    train(data=tail, run_dir=tmp_path)
    assert whole.positions == [(epoch, batch) for epoch in range(2) for batch in range(6)]
    assert head.positions == whole.positions[:cut]
    assert tail.positions == whole.positions[cut:]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 11), max_size=3), accumulate=st.integers(1, 4))
def test_any_number_of_cuts_leaves_the_same_bits(tmp_path_factory, cuts, accumulate):
    whole_dir, cut_dir = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    whole = train(run_dir=whole_dir, accumulate=accumulate)
    for cut in sorted(cuts):
        train(StopAfter(cut), run_dir=cut_dir, accumulate=accumulate)
    resumed = train(run_dir=cut_dir, accumulate=accumulate)
    assert_equal_arrays(resumed.weights, whole.weights)
    assert_equal_arrays(
        last(cut_dir).arrays(OPTIMIZER_FILE), last(whole_dir).arrays(OPTIMIZER_FILE)
    )
    assert resumed.result.metrics == whole.result.metrics


def test_the_position_is_set_before_any_other_callback_starts(tmp_path, caplog):
    train(StopAfter(8), run_dir=tmp_path)
    seen = Watch("on_fit_start", lambda run: run.progress)
    with caplog.at_level(logging.INFO):
        paddle.seed(0)
        engine = Engine(
            run_dir=tmp_path,
            max_epochs=2,
            log_every=2,
            callbacks=[seen, StopAfter(9), Checkpoint(), ResumeStep()],
        )
        engine.fit(ToyModule(), ToyData())
    assert seen.seen == [Progress(epoch=1, batch_in_epoch=2, step=8)]
    assert "step_8 at step 8 of 12 (epochs done: 1, batches of the next: 2)" in caplog.text


def test_a_pending_validation_comes_first(tmp_path):
    class CutInValidation(Watch):
        def on_validation_batch_end(self, run):
            run.request_stop("test")

    train(CutInValidation("on_fit_start", lambda run: None), run_dir=tmp_path)
    state = last(tmp_path).state.to_json()
    assert (state["step"], state["batch_in_epoch"], state["validation_pending"]) == (6, 6, True)
    steps = Watch("on_before_optimizer_step", lambda run: run.metrics_step)
    resumed = train(steps, run_dir=tmp_path)
    assert steps.seen == [6] * 6
    assert_equal_arrays(resumed.weights, train().weights)


def test_a_finished_run_takes_no_further_step(tmp_path):
    done = train(run_dir=tmp_path)
    again = train(run_dir=tmp_path, data=(data := Served()))
    assert (again.result.stopped_by, again.result.step) == ("max_epochs", 12)
    assert data.positions == []
    assert_equal_arrays(again.weights, done.weights)


def test_a_parameter_without_dimensions_resumes(tmp_path):
    class WithScale(ToyModule):
        def __init__(self):
            super().__init__()
            self.scale = self.create_parameter(
                [], default_initializer=paddle.nn.initializer.Constant(2.0)
            )

        def training_step(self, batch):
            loss, scalars = super().training_step(batch)
            return loss * self.scale, scalars

    whole = train(module=WithScale)
    train(StopAfter(5), module=WithScale, run_dir=tmp_path)
    assert_equal_arrays(train(module=WithScale, run_dir=tmp_path).weights, whole.weights)


def test_a_resume_without_it_is_refused(tmp_path):
    train(StopAfter(3), run_dir=tmp_path)
    with pytest.raises(UsageError, match="cannot be resumed without the ResumeStep callback"):
        Engine(run_dir=tmp_path, max_epochs=2, log_every=2, callbacks=[Checkpoint()]).fit(
            ToyModule(), ToyData()
        )
