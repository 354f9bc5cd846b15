"""MixedPrecision: the sequence of a step, and the scaler's state.

Paddle has no low precision on a CPU, so spies record its calls. The loss scaler is Paddle's own,
enabled as on a GPU: scaling, unscaling and skipping updates work on a CPU too.
"""

import logging
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import paddle
import paddle.amp.grad_scaler
import pytest
from probes import StopAfter, Watch, assert_equal_arrays, last, train
from toy import ToyModule

from vprtrain.callbacks import MixedPrecision, NanGuard
from vprtrain.callbacks.mixed_precision import SCALER_FILE
from vprtrain.engine import Adam, stepper
from vprtrain.errors import UsageError


@pytest.fixture
def calls(monkeypatch):
    """The calls of Paddle's mixed precision, clipping and optimizer, in order."""
    noted = []

    def spy(owner, name):
        original = getattr(owner, name)

        def noting(*arguments, **options):
            noted.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, noting)

    @contextmanager
    def auto_cast(**options):
        noted.append(("auto_cast", options))
        yield
        noted.append("auto_cast ends")

    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    spy(stepper, "clip_by_global_norm")
    for method in ("scale", "unscale_", "update"):
        spy(paddle.amp.GradScaler, method)
    spy(paddle.optimizer.Adam, "step")
    return noted


@pytest.fixture
def scaler_works(monkeypatch):
    """Enable loss scaling on a CPU."""
    on_gpu = SimpleNamespace(_expected_place=SimpleNamespace(is_gpu_place=lambda: True))
    monkeypatch.setattr(paddle.amp.grad_scaler, "_dygraph_tracer", lambda: on_gpu)


class Noting(ToyModule):
    """Records when the loss is computed and when a gradient arrives."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls
        self.layers[4].weight.register_hook(lambda _: calls.append("backward"))

    def training_step(self, batch):
        loss, scalars = super().training_step(batch)
        self.calls.append("loss")
        return loss, scalars


def one_step(calls, *callbacks, **options):
    before = Watch("on_before_optimizer_step", lambda run: calls.append("on_before_optimizer_step"))
    train(
        *callbacks,
        before,
        module=lambda: Noting(calls),
        max_epochs=None,
        max_steps=1,
        validate_every="never",
        **options,
    )
    return calls


def test_a_step_in_float16(calls, scaler_works):
    assert one_step(calls, MixedPrecision(precision="fp16"), clip_norm=1.0) == [
        ("auto_cast", {"dtype": "float16", "level": "O1"}),
        "loss",
        "auto_cast ends",
        "scale",
        "backward",
        "unscale_",
        "clip_by_global_norm",
        "on_before_optimizer_step",
        "step",
        "update",
    ]


def test_a_step_in_bfloat16_scales_nothing(calls):
    assert one_step(calls, MixedPrecision(precision="bf16"), clip_norm=1.0) == [
        ("auto_cast", {"dtype": "bfloat16", "level": "O1"}),
        "loss",
        "auto_cast ends",
        "backward",
        "clip_by_global_norm",
        "on_before_optimizer_step",
        "step",
    ]


@pytest.mark.parametrize("callbacks", [[], [MixedPrecision()], [MixedPrecision(precision="fp32")]])
def test_a_step_in_float32_calls_nothing_of_mixed_precision(calls, callbacks):
    assert one_step(calls, *callbacks) == ["loss", "backward", "on_before_optimizer_step", "step"]


def test_each_micro_batch_is_scaled_and_all_are_unscaled_once(calls, scaler_works):
    one_step(calls, MixedPrecision(precision="fp16"), accumulate=2)
    names = [call if isinstance(call, str) else call[0] for call in calls]
    micro_batch = ["auto_cast", "loss", "auto_cast ends", "scale", "backward"]
    assert names == [
        *micro_batch,
        *micro_batch,
        "unscale_",
        "on_before_optimizer_step",
        "step",
        "update",
    ]


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"accumulate": 3}])
def test_scaling_by_a_power_of_two_changes_no_bit(scaler_works, options):
    """So gradients are unscaled before they are clipped and used."""
    scaled = train(MixedPrecision(precision="fp16"), **options)
    assert scaled.run.stepper.precision._scaler.state_dict()["scale"].item() == 65536.0
    assert_equal_arrays(scaled.weights, train(**options).weights)


class Overflowing(ToyModule):
    """The gradient of the second step overflows."""

    def __init__(self):
        super().__init__()
        self.steps = 0
        self.layers[4].weight.register_hook(self._spoil)

    def training_step(self, batch):
        self.steps += 1
        return super().training_step(batch)

    def _spoil(self, gradient):
        return paddle.full_like(gradient, np.inf) if self.steps == 2 else gradient


def test_an_update_that_overflows_is_skipped_and_no_fault(scaler_works, tmp_path, caplog):
    weight = Watch("on_train_batch_end", lambda run: run.module.layers[4].weight.numpy())
    with caplog.at_level(logging.INFO):
        train(
            MixedPrecision(precision="fp16"),
            NanGuard(),
            weight,
            module=Overflowing,
            run_dir=tmp_path,
            log_every=1,
            clip_norm=1.0,
            optimizer=Adam(learning_rate=0.01),
        )
    first, second, third, *_ = weight.seen
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(second, third)
    assert last(tmp_path).arrays(SCALER_FILE)["scale"].item() == 32768.0
    assert (
        caplog.text.count(
            "a gradient overflowed: update skipped, loss scale 65536 is multiplied by 0.5"
        )
        == 1
    )


def test_the_scalers_state_is_saved_and_restored(scaler_works, tmp_path):
    train(MixedPrecision(precision="fp16"), StopAfter(5), module=Overflowing, run_dir=tmp_path)
    saved = {name: array.item() for name, array in last(tmp_path).arrays(SCALER_FILE).items()}
    assert (saved["scale"], saved["incr_count"]) == (32768.0, 3)

    state = Watch(
        "on_before_optimizer_step", lambda run: run.stepper.precision._scaler.state_dict()
    )
    train(MixedPrecision(precision="fp16"), state, run_dir=tmp_path)
    assert {name: np.asarray(value).item() for name, value in state.seen[0].items()} == saved
    assert [type(value) for name, value in state.seen[0].items() if name != "scale"] == [
        float,
        float,
        int,
        int,
        int,
        int,
        bool,
    ]
    assert last(tmp_path).arrays(SCALER_FILE)["incr_count"].item() == 10


def test_a_scaler_exists_before_its_state_is_loaded(scaler_works, tmp_path, monkeypatch):
    train(MixedPrecision(precision="fp16"), StopAfter(3), run_dir=tmp_path)
    order = []
    for name in ("__init__", "load_state_dict", "scale"):
        original = getattr(paddle.amp.GradScaler, name)
        monkeypatch.setattr(
            paddle.amp.GradScaler,
            name,
            lambda self, *arguments, name=name, original=original: (
                order.append(name),
                original(self, *arguments),
            )[1],
        )
    train(MixedPrecision(precision="fp16"), StopAfter(4), run_dir=tmp_path)
    assert order == ["__init__", "load_state_dict", "scale"]


def test_a_resumed_scaler_leaves_the_same_bits(scaler_works, tmp_path):
    options = {"module": Overflowing, "run_dir": tmp_path / "whole"}
    whole = train(MixedPrecision(precision="fp16"), **options)
    options["run_dir"] = tmp_path / "cut"
    train(MixedPrecision(precision="fp16"), StopAfter(4), **options)
    resumed = train(MixedPrecision(precision="fp16"), run_dir=tmp_path / "cut")
    assert_equal_arrays(resumed.weights, whole.weights)
    assert_equal_arrays(
        last(tmp_path / "cut").arrays(SCALER_FILE), last(tmp_path / "whole").arrays(SCALER_FILE)
    )


def test_a_run_saved_on_a_cpu_goes_on(tmp_path):
    """On a CPU the scaler is off and has no state."""
    train(MixedPrecision(precision="fp16"), StopAfter(5), run_dir=tmp_path)
    assert last(tmp_path).arrays(SCALER_FILE) == {}
    assert train(MixedPrecision(precision="fp16"), run_dir=tmp_path).result.step == 12


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_that_it_has_no_effect_on_a_cpu_is_said_once(caplog, precision):
    with caplog.at_level(logging.WARNING):
        run = train(MixedPrecision(precision=precision))
    assert [record.getMessage() for record in caplog.records] == [
        f"precision {precision} has no effect on a CPU: Paddle computes in float32 there"
    ]
    assert_equal_arrays(run.weights, train().weights)


def test_nothing_is_said_in_float32(caplog):
    with caplog.at_level(logging.WARNING):
        train(MixedPrecision())
    assert caplog.records == []


def test_another_precision_is_refused_on_resume(tmp_path):
    train(MixedPrecision(precision="bf16"), StopAfter(3), run_dir=tmp_path)
    with pytest.raises(UsageError, match="MixedPrecision"):
        train(MixedPrecision(precision="fp16"), run_dir=tmp_path)
