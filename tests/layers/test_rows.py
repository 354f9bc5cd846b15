"""RowTable: every optimizer trains the chosen rows like a parameter and leaves the others
unchanged."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from vprtrain.checkpoint.snapshot import load_optimizer, optimizer_arrays
from vprtrain.engine import Adam, AdamW, Momentum, OptimizerFactory
from vprtrain.layers.rows import RowTable, rows_updated

ROWS, COLUMNS = 12, 5
FACTORIES = {
    "adam": Adam(learning_rate=0.1),
    "adam_with_decay": Adam(learning_rate=0.1, weight_decay=0.05),
    "adamw": AdamW(learning_rate=0.1, weight_decay=0.3),
    "momentum": Momentum(learning_rate=0.1, weight_decay=0.01),
    "heavy_ball": Momentum(learning_rate=0.1, nesterov=False),
    "sgd": Momentum(learning_rate=0.1, momentum=0.0),
}
every_optimizer = pytest.mark.parametrize("factory", FACTORIES.values(), ids=list(FACTORIES))


def new_table() -> RowTable:
    paddle.seed(3)
    return RowTable(rows=ROWS, columns=COLUMNS)


def loss_of(rows: paddle.Tensor, step: int) -> paddle.Tensor:
    weights = np.random.default_rng(step).standard_normal(rows.shape).astype("float32")
    return (paddle.square(rows) * paddle.to_tensor(weights)).sum()


def take_step(
    table: RowTable, optimizer: paddle.optimizer.Optimizer, step: int, index: list[int]
) -> None:
    table.choose(np.array(index))
    loss_of(table.active, step).backward()
    with rows_updated(optimizer, [table]) as rows:
        assert [row.shape for row in rows] == [[len(index), COLUMNS]]
        optimizer.step()
    optimizer.clear_grad()


@every_optimizer
def test_choosing_all_rows_is_ordinary_training(factory: OptimizerFactory) -> None:
    table, ordinary = new_table(), new_table()
    optimizer, plain = factory.build([table.weight]), factory.build([ordinary.weight])
    for step in range(4):
        take_step(table, optimizer, step, list(range(ROWS)))
        loss_of(ordinary.weight, step).backward()
        plain.step()
        plain.clear_grad()
    np.testing.assert_array_equal(table.weight.numpy(), ordinary.weight.numpy())
    expected, found = optimizer_arrays(plain, ordinary), optimizer_arrays(optimizer, table)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@every_optimizer
def test_rows_that_are_not_chosen_keep_weight_and_state(factory: OptimizerFactory) -> None:
    table = new_table()
    optimizer = factory.build([table.weight])
    take_step(table, optimizer, 0, list(range(ROWS)))
    weight, state = table.weight.numpy().copy(), optimizer_arrays(optimizer, table)
    take_step(table, optimizer, 1, [2, 3, 7])
    others = [row for row in range(ROWS) if row not in (2, 3, 7)]
    changed = table.weight.numpy()
    np.testing.assert_array_equal(changed[others], weight[others])
    assert (changed[[2, 3, 7]] != weight[[2, 3, 7]]).any(axis=1).all()
    for name, array in optimizer_arrays(optimizer, table).items():
        if array.shape == weight.shape:
            np.testing.assert_array_equal(array[others], state[name][others])
            assert (array[[2, 3, 7]] != state[name][[2, 3, 7]]).any(axis=1).all()


@every_optimizer
def test_the_state_goes_on_in_another_process_s_optimizer(factory: OptimizerFactory) -> None:
    def optimizer_and_table() -> tuple[paddle.optimizer.Optimizer, RowTable]:
        table = new_table()
        return factory.build([table.weight]), table

    optimizer, table = optimizer_and_table()
    resumed_optimizer, resumed = optimizer_and_table()
    for step in range(2):
        take_step(table, optimizer, step, [step, step + 4, 9])
    resumed.weight.set_value(table.weight)
    load_optimizer(resumed_optimizer, resumed, optimizer_arrays(optimizer, table), "the test")
    for step in range(2, 5):
        take_step(table, optimizer, step, [step, 6, 9])
        take_step(resumed, resumed_optimizer, step, [step, 6, 9])
    np.testing.assert_array_equal(resumed.weight.numpy(), table.weight.numpy())


def test_other_parameters_are_stepped_as_ever_and_nothing_is_left_behind() -> None:
    table, other = new_table(), paddle.nn.Linear(3, 2)
    optimizer = Adam(learning_rate=0.1).build([*other.parameters(), table.weight])
    before = other.weight.numpy().copy()
    table.choose(np.array([1]))
    (loss_of(table.active, 0) + other(paddle.ones([1, 3])).sum()).backward()
    with rows_updated(optimizer, [table]):
        optimizer.step()
    assert (other.weight.numpy() != before).all()
    assert not table.chosen and table.weight.grad is None
    assert [parameter.name for parameter in optimizer._parameter_list] == [
        *(parameter.name for parameter in other.parameters()),
        table.weight.name,
    ]
    names = {name for state in optimizer._accumulators.values() for name in state}
    assert names == {parameter.name for parameter in optimizer._parameter_list}
    assert list(table.state_dict()) == ["weight"]


def test_a_step_that_chooses_no_rows_changes_none() -> None:
    table = new_table()
    optimizer = Adam().build([table.weight])
    before = table.weight.numpy().copy()
    with rows_updated(optimizer, [table]) as rows:
        assert rows == []
        optimizer.step()
    np.testing.assert_array_equal(table.weight.numpy(), before)
