"""Freezing parts of a module, and training them more slowly afterwards."""

import itertools

import numpy as np
import paddle
import pytest
from probes import StopAfter, train
from toy import ToyModule

from vprtrain.callbacks import EMA, Freeze
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Adam, AdamW, Callback, Momentum
from vprtrain.errors import UsageError

PART = "layers.0"


class Note(Callback):
    """The weights of the first layer and of the last after each step, and the statistics."""

    def __init__(self):
        self.first, self.last, self.statistics = [], [], []

    def on_train_batch_end(self, run):
        layers = run.module.layers
        self.first.append(layers[0].weight.numpy().copy())
        self.last.append(layers[4].weight.numpy().copy())
        self.statistics.append(layers[1]._mean.numpy().copy())


def changed(values):
    return [bool((a != b).any()) for a, b in itertools.pairwise(values)]


@pytest.mark.parametrize("optimizer", [Adam(), AdamW(weight_decay=0.5), Momentum(weight_decay=0.5)])
def test_a_frozen_part_rests_and_then_learns(optimizer):
    note = Note()
    train(Freeze(parts=[PART, "layers.1"], until_epoch=1), note, optimizer=optimizer)
    assert changed(note.first) == [False] * 5 + [True] * 6
    assert changed(note.statistics) == [False] * 5 + [True] * 6
    assert changed(note.last) == [True] * 11


def test_without_an_epoch_it_rests_for_good():
    note = Note()
    run = train(Freeze(parts=[PART]), note)
    assert not any(changed(note.first)) and all(changed(note.last))
    assert not run.module.layers[0].weight.stop_gradient
    assert run.module.layers[0].training


def test_the_part_learns_at_its_own_rate():
    plain, slow = Note(), Note()
    options = {"optimizer": Momentum(learning_rate=0.01, momentum=0.0), "max_steps": 2}
    train(plain, **options)
    train(Freeze(parts=[PART], until_epoch=0, rate=0.25), slow, **options)
    paddle.seed(0)
    initial = ToyModule().layers[0].weight.numpy()
    whole, quarter = (note.first[0] - initial for note in (plain, slow))
    np.testing.assert_allclose(quarter, 0.25 * whole, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(plain.last[0], slow.last[0])


@pytest.mark.parametrize("stops", [(3,), (9,), (3, 6, 9)])
def test_a_resume_in_either_phase_is_exact(tmp_path, stops):
    def fit(run_dir, *callbacks):
        freeze = Freeze(parts=[PART, "layers.1"], until_epoch=1, rate=0.1)
        return train(freeze, EMA(decay=0.9), *callbacks, run_dir=run_dir, optimizer=AdamW())

    fit(tmp_path / "straight")
    for stop in stops:
        fit(tmp_path / "cut", StopAfter(stop))
    fit(tmp_path / "cut")
    straight, cut = (
        open_checkpoint(tmp_path / name / "last_model").state.files for name in ("straight", "cut")
    )
    assert straight == cut


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"parts": ["encoder"]}, "no trained parameter whose name begins with 'encoder'"),
        ({"parts": ["layers.0", "layer"]}, "begins with 'layer'"),
        ({"parts": []}, "expected a list of parameter names"),
        ({"parts": "layers"}, "expected a list of parameter names"),
        ({"parts": [PART], "until_epoch": -1}, "until_epoch is -1"),
        ({"parts": [PART], "rate": -0.1}, "rate is -0.1"),
    ],
)
def test_what_cannot_be_frozen_is_refused(options, named):
    with pytest.raises(UsageError, match=named):
        train(Freeze(**options))


def test_only_the_released_part_learns_afterwards():
    note = Note()
    run = train(
        Freeze(parts=["layers"], until_epoch=1, released=["layers.4"]),
        note,
    )
    assert not any(changed(note.first)) and not any(changed(note.statistics))
    assert changed(note.last) == [False] * 5 + [True] * 6
    assert not run.module.layers[0].weight.stop_gradient
    assert run.module.layers[0].training


def test_what_is_released_must_be_frozen():
    with pytest.raises(UsageError, match=r"begins with 'layers\.4'.*released"):
        train(Freeze(parts=[PART], released=["layers.4"]))
