"""NanGuard: a run with a non-finite value ends, and the value never reaches a checkpoint."""

import math

import numpy as np
import paddle
import pytest
from probes import Scored, Watch, last, train
from toy import ToyModule

from vprtrain.callbacks import EMA, JsonlLog, NanGuard
from vprtrain.checkpoint.file_names import MODEL_FILE, OPTIMIZER_FILE
from vprtrain.errors import RunError


class LossBecomes(ToyModule):
    """The loss has the value in one step. The gradient, and so the weights, stay finite."""

    def __init__(self, value, *, at):
        super().__init__()
        self.value, self.at, self.steps = value, at, 0

    def training_step(self, batch):
        self.steps += 1
        loss, scalars = super().training_step(batch)
        if self.steps == self.at:
            loss = loss + paddle.to_tensor(self.value)
        return loss, scalars


class GradientBecomes(ToyModule):
    """The gradient has the value in one step. The loss stays finite."""

    def __init__(self, value, *, at):
        super().__init__()
        self.value, self.at, self.steps = value, at, 0
        self.layers[4].weight.register_hook(self._spoil)

    def training_step(self, batch):
        self.steps += 1
        return super().training_step(batch)

    def _spoil(self, gradient):
        return paddle.full_like(gradient, self.value) if self.steps == self.at else gradient


def assert_only_numbers_saved(run_dir):
    folders = [path for path in run_dir.iterdir() if path.is_dir() and not path.is_symlink()]
    assert folders == [last(run_dir).folder]
    for name in (MODEL_FILE, OPTIMIZER_FILE):
        for array in last(run_dir).arrays(name).values():
            assert np.isfinite(array).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_between_log_points_ends_the_run_at_the_next(value):
    steps = Watch("on_train_batch_end", lambda run: run.progress.step)
    with pytest.raises(
        RunError,
        match=r"the loss is -?(nan|inf) at step 4 \(or up to 4 steps before\).*learning rate",
    ):
        train(NanGuard(), steps, module=lambda: LossBecomes(value, at=2), log_every=4)
    assert steps.seen[-1] <= 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_between_log_points_never_reaches_a_checkpoint(tmp_path, value):
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step 6"):
        train(
            NanGuard(),
            module=lambda: LossBecomes(value, at=5),
            run_dir=tmp_path,
            log_every=100,
            commit_every="3 steps",
            validate_every="never",
        )
    assert last(tmp_path).state.step == 3
    assert_only_numbers_saved(tmp_path)


@pytest.mark.parametrize("clip_norm", [1.0, None])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [5, 6])
def test_a_gradient_under_a_finite_loss_never_reaches_a_checkpoint(tmp_path, value, clip_norm, at):
    """In each of the two steps before a commit, with and without clipping."""
    with pytest.raises(RunError, match="at step 6"):
        train(
            NanGuard(),
            EMA(),
            module=lambda: GradientBecomes(value, at=at),
            run_dir=tmp_path,
            log_every=100,
            commit_every="3 steps",
            validate_every="never",
            clip_norm=clip_norm,
        )
    assert last(tmp_path).state.step == 3
    assert_only_numbers_saved(tmp_path)


def test_a_gradient_is_named_at_a_log_point():
    with pytest.raises(RunError, match="the grad_norm is nan at step 1 "):
        train(NanGuard(), module=lambda: GradientBecomes(math.nan, at=1), clip_norm=1.0)


def test_weights_are_named_where_no_norm_is_known(tmp_path):
    with pytest.raises(RunError, match=r"layers\.4\.weight of model\.pdparams is nan at step 1 "):
        train(
            NanGuard(),
            module=lambda: GradientBecomes(math.nan, at=1),
            run_dir=tmp_path,
            commit_every="1 steps",
        )


def test_a_metric_never_becomes_the_best(tmp_path):
    with pytest.raises(RunError, match="the validation's error is nan at step 12"):
        train(NanGuard(), module=lambda: Scored(0.5, math.nan), run_dir=tmp_path)
    assert last(tmp_path).state.best.value == 0.5


def test_the_same_command_goes_on_once_the_cause_is_mended(tmp_path):
    with pytest.raises(RunError):
        train(NanGuard(), JsonlLog(), module=lambda: LossBecomes(math.nan, at=9), run_dir=tmp_path)
    assert train(NanGuard(), JsonlLog(), run_dir=tmp_path).result.step == 12


def test_numbers_pass(tmp_path):
    run = train(NanGuard(), run_dir=tmp_path, clip_norm=1.0)
    assert run.result.stopped_by == "max_epochs"
