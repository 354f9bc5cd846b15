"""Modules as users write them: a resumed run ends with the same bits, and what they return is
understood or refused by name."""

import random

import numpy as np
import paddle
import pytest
from toy import ToyData, ToyModule

from vprtrain.callbacks import Checkpoint, JsonlLog, ResumeStep
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Adam, AdamW, Callback, Engine, Module, Momentum
from vprtrain.engine.seeding import seed_all
from vprtrain.errors import UsageError

STEPS = 12


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, run):
        if run.progress.step == self.step:
            run.request_stop("test")


def fit(module, run_dir=None, *callbacks, **options):
    seed_all(3)
    options = {"max_steps": STEPS, "commit_every": "1 epoch", "validate_every": "never"} | options
    engine = Engine(run_dir=run_dir, callbacks=[ResumeStep(), Checkpoint(), *callbacks], **options)
    return engine.fit(module(), ToyData())


def files(run_dir):
    return open_checkpoint(run_dir / "last_model").state.files


USES = {
    "at random": lambda: bool(paddle.rand([1]).item() < 0.5),
    "from the start": lambda: True,
    "never": lambda: False,
}


class Branch(ToyModule):
    """Has a layer that takes part in some steps only."""

    def __init__(self):
        super().__init__()
        self.branch = paddle.nn.Linear(8, 1)

    def training_step(self, batch):
        loss, scalars = super().training_step(batch)
        if self.uses_branch():
            loss = loss + (self.branch(paddle.to_tensor(batch[0])) ** 2).mean()
        return loss, scalars


class LateBranch(Branch):
    """The branch is used from the third epoch on, and not in every step."""

    def on_step_start(self, batches, key):
        self.key = key

    def uses_branch(self):
        return self.scheduled_value("margin") >= 13 and self.key % 2 == 0

    scheduled = ("margin",)


class CountSteps(Callback):
    def on_train_batch_start(self, run):
        run.module.set_scheduled("margin", float(run.progress.step))


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), Momentum(weight_decay=0.1)])
@pytest.mark.parametrize("use", [*USES, "late"])
def test_a_branch_that_takes_part_in_some_steps_resumes_exactly(
    tmp_path, use, optimizer, clip_norm
):
    class Module(Branch):
        def uses_branch(self):
            return USES[use]()

    module = LateBranch if use == "late" else Module
    options = {"optimizer": optimizer, "clip_norm": clip_norm, "max_steps": 18}
    fit(module, tmp_path / "straight", CountSteps(), **options)
    for stop in (2, 13, 15):
        fit(module, tmp_path / "cut", CountSteps(), StopAt(stop), **options)
    fit(module, tmp_path / "cut", CountSteps(), **options)
    assert files(tmp_path / "cut") == files(tmp_path / "straight")


def test_an_unused_parameter_is_not_updated():
    class Once(Branch):
        """Uses the branch in the first step only."""

        def uses_branch(self):
            self.used, used = True, getattr(self, "used", False)
            return not used

    watched = []

    class Watch(Callback):
        def on_train_batch_end(self, run):
            watched.append(run.module.branch.weight.numpy().copy())

    fit(Once, None, Watch(), optimizer=AdamW(weight_decay=0.5))
    assert all((weight == watched[0]).all() for weight in watched)


class Drawing(ToyModule):
    """Draws from all three global generators."""

    def training_step(self, batch):
        loss, scalars = super().training_step(batch)
        noise = random.random() + np.random.rand() + float(paddle.rand([1]).item())
        return loss * (1 + noise), scalars


def test_draws_of_python_and_numpy_resume_exactly(tmp_path):
    fit(Drawing, tmp_path / "straight")
    fit(Drawing, tmp_path / "cut", StopAt(4))
    random.random(), np.random.rand()
    fit(Drawing, tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "straight")


class Losing(Module):
    """A loss and scalars of the test's choice."""

    loss = staticmethod(lambda loss: loss)
    scalars = staticmethod(dict)

    def __init__(self):
        super().__init__()
        self.w = self.create_parameter([1])

    def training_step(self, batch):
        return self.loss((self.w * 0 + 8.41).sum()), self.scalars()


def logged(loss=lambda loss: loss, scalars=dict, **options):
    """The numbers of each log point."""
    numbers = []

    class Watch(Callback):
        def on_log(self, run):
            numbers.append(dict(run.scalars))

    class Chosen(Losing):
        pass

    Chosen.loss, Chosen.scalars = staticmethod(loss), staticmethod(scalars)
    fit(Chosen, None, Watch(), log_every=4, **options)
    return numbers


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_a_loss_of_any_precision_is_logged(dtype):
    numbers = logged(lambda loss: loss.astype(dtype))
    assert [round(one["loss"], 1) for one in numbers] == [8.4] * 4


def test_numbers_of_any_kind_are_logged():
    scalars = {
        "python": 0.5,
        "count": 3,
        "flag": True,
        "numpy": np.float32(0.25),
        "array": np.array([2.0]),
        "bool": np.bool_(True),
        "half": paddle.to_tensor(1.5, dtype="bfloat16"),
        "double": paddle.to_tensor([1e-300], dtype="float64"),
        "integer": paddle.to_tensor(2**40),
    }
    expected = [0.5, 3, 1, 0.25, 2, 1, 1.5, 1e-300, 2**40]
    for one in logged(scalars=lambda: dict(scalars)):
        assert {name: one[name] for name in scalars} == dict(zip(scalars, expected, strict=True))


@pytest.mark.parametrize(
    "value", ["high", None, [1.0], np.zeros(2), paddle.zeros([2]), 1j, paddle.to_tensor(1j)]
)
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(UsageError, match=r"training_step logs 'odd' as .*: expected one real"):
        logged(scalars=lambda: {"odd": value})


@pytest.mark.parametrize(
    "loss", [lambda loss: 1.0, lambda loss: None, lambda loss: paddle.concat([loss, loss])]
)
def test_what_is_no_loss_is_refused(loss):
    message = "as the loss: expected a floating-point Tensor with one element"
    with pytest.raises(UsageError, match=message):
        logged(lambda value: loss(value.reshape([1])))


def test_scalars_must_be_a_dict():
    with pytest.raises(UsageError, match="returned a NoneType beside the loss"):
        logged(scalars=lambda: None)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_sparse_gradients_are_refused_by_name(clip_norm):
    class Sparse(ToyModule):
        def __init__(self):
            super().__init__()
            self.table = paddle.nn.Embedding(10, 4, sparse=True)

        def training_step(self, batch):
            return self.table(paddle.to_tensor([1, 3])).sum(), {}

    with pytest.raises(UsageError, match=r"the gradient of table.weight \[10, 4\] is sparse"):
        fit(Sparse, clip_norm=clip_norm)


def test_few_losses_stay_on_the_device_whatever_log_every_says(monkeypatch):
    from vprtrain.engine.meter import LossMeter

    monkeypatch.setattr(LossMeter, "MOST_ON_DEVICE", 5)
    most = []

    class Watch(Callback):
        def on_train_batch_end(self, run):
            most.append(len(run.loss_meter._pending))

    fit(ToyModule, None, Watch(), log_every=10**9)
    assert max(most) < 5


def measured(metrics, names=("error", "bias")):
    class Measured(ToyModule):
        metric_names = names

        def on_validation_end(self):
            return metrics

    return Measured


def test_metrics_of_any_kind_and_order_are_numbers(tmp_path):
    metrics = {"bias": paddle.to_tensor([0.5]), "error": np.float32(0.25)}
    result = fit(
        measured(metrics, names=["error", "bias"]), tmp_path, JsonlLog(), validate_every="1 epoch"
    )
    assert result.metrics == {"error": 0.25, "bias": 0.5}
    assert list(map(type, result.metrics.values())) == [float, float]
    assert open_checkpoint(tmp_path / "best_model").state.metrics == result.metrics


@pytest.mark.parametrize(
    ("metrics", "named"),
    [
        ({"error": 1.0}, r"returned \['error'\]: expected \['error', 'bias'\]"),
        (None, "returned a NoneType: expected"),
        ({"error": 1.0, "bias": "low"}, "returned a str as 'bias': expected one real number"),
        ({"error": np.zeros(2), "bias": 1.0}, "returned a ndarray as 'error'"),
    ],
)
def test_other_metrics_are_refused_by_name(metrics, named):
    with pytest.raises(UsageError, match=named):
        fit(measured(metrics), validate_every="1 epoch")


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_may_use_no_trained_parameter(clip_norm):
    class Sometimes(ToyModule):
        def training_step(self, batch):
            loss, scalars = super().training_step(batch)
            return loss if np.random.rand() < 0.5 else loss.detach().clone() * self.own, scalars

        def __init__(self):
            super().__init__()
            self.own = paddle.to_tensor(1.0, stop_gradient=False)

    assert fit(Sometimes, clip_norm=clip_norm).step == STEPS


@pytest.mark.parametrize("method", ["fingerprint", "state_keys"])
def test_what_is_no_json_is_refused_by_name(tmp_path, method):
    class Odd(ToyModule):
        pass

    setattr(Odd, method, lambda self: {"size": np.int64(3)})
    with pytest.raises(UsageError, match=rf"{method}\(\) .*returned what is not JSON"):
        fit(Odd, tmp_path)


def test_a_callback_state_that_is_no_json_is_refused_by_name(tmp_path):
    class Odd(Callback):
        def state_dict(self):
            return {"value": np.float32(1)}

    with pytest.raises(UsageError, match=r"Odd.state_dict\(\) returned what is not JSON"):
        fit(ToyModule, tmp_path, Odd())


class Counted(ToyData):
    """Counts the iterators that were begun and those that were closed."""

    begun = closed = 0

    def _counted(self, batches):
        self.begun += 1
        try:
            yield from batches
        finally:
            self.closed += 1

    def train_batches(self, epoch, start):
        return self._counted(super().train_batches(epoch, start))

    def validation_batches(self):
        return self._counted(super().validation_batches())


@pytest.mark.parametrize("options", [{}, {"overfit_batches": 2}, {"fast_dev_run": 2}])
def test_every_iterator_is_closed(options):
    data = Counted()
    Engine(**{"max_epochs": 3} | options).fit(ToyModule(), data)
    assert data.begun == data.closed > 0


def test_validation_data_may_be_made_in_setup():
    class Late(ToyData):
        made = False

        def setup(self, run_dir, *, resumed):
            self.made = True

        def validation_batches(self):
            return super().validation_batches() if self.made else None

    result = Engine(max_epochs=1).fit(ToyModule(), Late())
    assert result.metrics.keys() == {"error", "bias"}
