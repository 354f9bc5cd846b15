"""Live objects are copied into a snapshot and put back into new ones, bit for bit, under any names
that Paddle gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest

from vprtrain.checkpoint import snapshot as snapshot_module
from vprtrain.checkpoint.arrays import Arrays, decode_arrays, encode_arrays
from vprtrain.checkpoint.snapshot import (
    Snapshot,
    layer_arrays,
    load_layer,
    load_optimizer,
    optimizer_arrays,
    unfit_names,
)
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.errors import CheckpointError
from vprtrain.files import Content, sha256


class Net(paddle.nn.Layer):
    """With batch norm, a tied, a frozen, a late and an unused layer, and a scale of shape []."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = paddle.nn.Linear(4, 6)
        self.norm = paddle.nn.BatchNorm1D(6)
        self.frozen = paddle.nn.Linear(6, 6)
        self.late = paddle.nn.Linear(6, 6)
        self.never = paddle.nn.Linear(2, 2)
        self.tied = paddle.nn.LayerList([self.late])
        self.scale = self.create_parameter(
            [], default_initializer=paddle.nn.initializer.Constant(2.0)
        )
        self.register_buffer("count", paddle.zeros([1], dtype="int64"))
        for parameter in self.frozen.parameters():
            parameter.stop_gradient = True

    def forward(self, x: paddle.Tensor, with_late: bool) -> paddle.Tensor:
        self.count += 1
        x = self.frozen(self.norm(self.entry(x))) * self.scale
        return self.tied[0](x) if with_late else x


def decays(name: str) -> bool:
    return "b_0" not in name


P = paddle.optimizer
OPTIMIZERS: dict[str, Callable[[list[paddle.Tensor]], paddle.optimizer.Optimizer]] = {
    "Adam": lambda trained: P.Adam(0.05, parameters=trained),
    "Adam, amsgrad": lambda trained: P.Adam(0.05, parameters=trained, amsgrad=True),
    "AdamW": lambda trained: P.AdamW(
        0.05, parameters=trained, weight_decay=0.1, apply_decay_param_fun=decays
    ),
    "AdamW, groups": lambda trained: P.AdamW(
        parameters=[{"params": trained[:2], "learning_rate": 0.1}, {"params": trained[2:]}]
    ),
    "Momentum": lambda trained: P.Momentum(0.05, parameters=trained, use_nesterov=True),
    "SGD": lambda trained: P.SGD(0.05, parameters=trained),
}
LATE = 4


def build(kind: str) -> tuple[Net, paddle.optimizer.Optimizer]:
    net = Net()
    return net, OPTIMIZERS[kind]([p for p in net.parameters() if not p.stop_gradient])


def train(net: Net, optimizer: paddle.optimizer.Optimizer, steps: range) -> None:
    for step in steps:
        x = np.random.default_rng(step).standard_normal((5, 4)).astype("float32")
        (net(paddle.to_tensor(x), step >= LATE) ** 2).mean().backward()
        optimizer.step()
        optimizer.clear_grad()


def bits(net: Net, optimizer: paddle.optimizer.Optimizer) -> tuple[bytes, bytes]:
    return encode_arrays(layer_arrays(net)), encode_arrays(optimizer_arrays(optimizer, net))


@pytest.mark.parametrize("stop", [1, 3, 6])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_rebuilt_run_goes_on_with_the_same_bits(kind: str, stop: int) -> None:
    net, optimizer = build(kind)
    train(net, optimizer, range(stop))
    saved = bits(net, optimizer)
    train(net, optimizer, range(stop, 8))

    for _ in range(3):  # shifts Paddle's tensor names
        paddle.nn.Linear(4, 6)
    again, optimizer_again = build(kind)
    assert again.entry.weight.name != net.entry.weight.name
    load_layer(again, decode_arrays(saved[0], "model"), "model")
    load_optimizer(optimizer_again, again, decode_arrays(saved[1], "optimizer"), "optimizer")
    assert bits(again, optimizer_again) == saved
    train(again, optimizer_again, range(stop, 8))
    assert bits(again, optimizer_again) == bits(net, optimizer)


def test_without_its_accumulators_a_run_goes_on_differently() -> None:
    net, optimizer = build("Adam")
    train(net, optimizer, range(3))
    again, optimizer_again = build("Adam")
    load_layer(again, layer_arrays(net), "model")
    for one, its in ((net, optimizer), (again, optimizer_again)):
        train(one, its, range(3, 4))
    assert bits(again, optimizer_again) != bits(net, optimizer)


def test_accumulators_are_named_after_the_layers_structure() -> None:
    net, optimizer = build("Momentum")
    train(net, optimizer, range(1))
    assert list(optimizer_arrays(optimizer, net)) == [
        f"velocity/{name}"
        for name in ("entry.bias", "entry.weight", "norm.bias", "norm.weight", "scale")
    ]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_before_the_first_step_nothing_has_accumulated(kind: str) -> None:
    net, optimizer = build(kind)
    assert optimizer_arrays(optimizer, net) == {}
    start = layer_arrays(net)
    train(net, optimizer, range(5))
    again, optimizer_again = build(kind)
    load_layer(again, start, "model")
    load_optimizer(optimizer_again, again, {}, "optimizer")
    train(again, optimizer_again, range(5))
    assert bits(again, optimizer_again) == bits(net, optimizer)


def test_arrays_are_copies() -> None:
    net, optimizer = build("Momentum")
    train(net, optimizer, range(1))
    model, accumulated = layer_arrays(net), optimizer_arrays(optimizer, net)
    before = encode_arrays(model), encode_arrays(accumulated)
    train(net, optimizer, range(1, 3))
    assert (encode_arrays(model), encode_arrays(accumulated)) == before != bits(net, optimizer)
    now = bits(net, optimizer)
    for array in [*layer_arrays(net).values(), *optimizer_arrays(optimizer, net).values()]:
        array += 1
    assert bits(net, optimizer) == now


def test_buffers_and_running_statistics_are_saved() -> None:
    net, optimizer = build("SGD")
    train(net, optimizer, range(2))
    arrays = layer_arrays(net)
    assert (
        arrays["count"].tolist() == [2]
        and np.any(arrays["norm._mean"])
        and arrays["scale"].shape == ()
    )
    again = Net()
    load_layer(again, arrays, "model")
    assert again.count.tolist() == [2] and np.array_equal(
        again.norm._mean.numpy(), arrays["norm._mean"]
    )


CHANGES: dict[str, Callable[[Arrays], Arrays]] = {
    "missing": lambda arrays: {name: arrays[name] for name in arrays if name != "entry.weight"},
    "unexpected": lambda arrays: arrays | {"head.weight": np.zeros(3, "float32")},
    "renamed": lambda arrays: {
        name.replace("entry", "input"): value for name, value in arrays.items()
    },
    "another shape": lambda arrays: arrays | {"entry.weight": np.zeros((4, 7), "float32")},
    "transposed": lambda arrays: arrays | {"entry.weight": arrays["entry.weight"].T},
    "0-d for 1-d": lambda arrays: arrays | {"count": np.zeros((), "int64")},
    "another type": lambda arrays: arrays | {"norm.bias": arrays["norm.bias"].astype("float64")},
    "whole numbers": lambda arrays: arrays | {"norm.bias": arrays["norm.bias"].astype("int64")},
    "nothing": lambda arrays: {},
}


@pytest.mark.parametrize("change", CHANGES)
def test_arrays_of_another_model_are_refused_and_change_nothing(change: str) -> None:
    net = Net()
    before = encode_arrays(layer_arrays(net))
    arrays = {name: np.asarray(value + 1, value.dtype) for name, value in layer_arrays(net).items()}
    with pytest.raises(
        CheckpointError, match=r"^runs/epoch_1/model\.pdparams is of another model: [^\n]*$"
    ):
        load_layer(net, CHANGES[change](arrays), "runs/epoch_1/model.pdparams")
    assert encode_arrays(layer_arrays(net)) == before


def test_the_refusal_names_a_few_of_the_entries() -> None:
    with pytest.raises(
        CheckpointError, match=r"and \d+ more missing .* type, a, b, c and 1 more unexpected"
    ):
        load_layer(Net(), {name: np.zeros(1) for name in "abcd"}, "model")


def test_entries_that_do_not_fit_are_listed() -> None:
    net = Net()
    arrays = layer_arrays(net)
    assert unfit_names(net, arrays) == []
    arrays["entry.weight"] = np.zeros((1, 1), "float32")
    del arrays["norm.bias"]
    assert unfit_names(net, arrays | {"more": np.zeros(1)}) == ["entry.weight", "norm.bias"]


@pytest.mark.parametrize(
    ("saved_by", "loaded_by"),
    [("Adam", "Momentum"), ("Momentum", "Adam"), ("Adam", "SGD"), ("Adam", "Adam, amsgrad")],
)
def test_the_accumulators_of_another_optimizer_are_refused(saved_by: str, loaded_by: str) -> None:
    net, optimizer = build(saved_by)
    train(net, optimizer, range(1))
    again, other = build(loaded_by)
    with pytest.raises(
        CheckpointError, match=r"^optimizer\.pdopt is of another optimizer or model: [^\n]*$"
    ):
        load_optimizer(other, again, optimizer_arrays(optimizer, net), "optimizer.pdopt")


@pytest.mark.parametrize(
    "change", ["missing", "unexpected", "another shape", "another type", "frozen"]
)
def test_accumulators_that_do_not_fit_are_refused(change: str) -> None:
    net, optimizer = build("Momentum")
    train(net, optimizer, range(1))
    arrays, velocity = optimizer_arrays(optimizer, net), "velocity/entry.weight"
    changed = {
        "missing": {"other/entry.weight": arrays[velocity]},
        "unexpected": {"velocity/head.weight": arrays[velocity]},
        "another shape": {velocity: arrays[velocity][:, :2]},
        "another type": {velocity: arrays[velocity].astype("float64")},
        "frozen": {"velocity/frozen.weight": np.zeros((6, 6), "float32")},
    }[change]
    again, optimizer_again = build("Momentum")
    with pytest.raises(CheckpointError, match="of another optimizer or model"):
        load_optimizer(optimizer_again, again, arrays | changed, "optimizer.pdopt")


def small_snapshot() -> Snapshot:
    snapshot = Snapshot(name="step_3", state=CheckpointState(step=3))
    snapshot.arrays["model.pdparams"] = {name: np.ones(2, "float32") for name in ("a", "b", "c")}
    snapshot.arrays["optimizer.pdopt"] = {"moment1/a": np.zeros(2, "float32")}
    snapshot.texts["config.yaml"] = "seed: 1\n"
    return snapshot


def test_a_snapshot_becomes_a_folder_with_the_state_as_its_last_file(tmp_path, monkeypatch) -> None:
    written: list[str] = []
    real = snapshot_module.write_synced

    def write_synced(path: Path, content: Content) -> str:
        written.append(path.name)
        return real(path, content)

    monkeypatch.setattr(snapshot_module, "write_synced", write_synced)
    snapshot, folder = small_snapshot(), tmp_path / "step_3"
    size = snapshot.save(folder)
    assert written == ["model.pdparams", "optimizer.pdopt", "config.yaml", "model.state"]
    assert (folder / "config.yaml").read_bytes() == b"seed: 1\n"
    assert sha256((folder / "model.pdparams").read_bytes()) in (folder / "model.state").read_text()
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    assert snapshot.state == CheckpointState(step=3)


@pytest.mark.parametrize(("most", "taken"), [(0, ""), (8, "a"), (23, "ab"), (99, "abc")])
def test_a_sample_has_the_first_arrays(most: int, taken: str) -> None:
    snapshot = small_snapshot()
    sample = snapshot.sample(most)
    assert list(sample.arrays) == list(snapshot.arrays) and sample.texts == snapshot.texts
    assert list(sample.arrays["model.pdparams"]) == list(taken)
    assert snapshot.array_bytes == 32 and sample.array_bytes <= most
