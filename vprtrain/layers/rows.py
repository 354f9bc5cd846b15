"""A matrix so large that a step should touch some of its rows only, in its optimizer's update
too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import nn

from vprtrain.layers.paddle_internals import (
    Parameter,
    create_optimizer_state,
    optimizer_parameters,
    optimizer_state,
)


class RowTable(nn.Layer):
    """A trained matrix ``weight`` ``[rows, columns]`` of which each step chooses rows.

    Within a step :attr:`active` stands for the chosen rows: whatever is computed of it has a
    gradient of its size, and :func:`rows_updated` lets an optimizer change those rows, with their
    part of its state. All others keep their weights and their state to the bit: no decay, no
    momentum without a gradient ("lazy" in Paddle's Adam). Time and memory of a step follow the
    chosen rows; the table and the optimizer's state are there once. Xavier-uniform.
    """

    def __init__(self, *, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = self.create_parameter(
            [rows, columns], default_initializer=nn.initializer.XavierUniform()
        )
        self.index: paddle.Tensor | None = None
        """The chosen rows' numbers, int64 ``[chosen]``, ascending."""
        self._active: Parameter | None = None

    @property
    def active(self) -> Parameter:
        """The chosen rows, ``[chosen, columns]``."""
        assert self._active is not None, "choose comes first"
        return self._active

    @property
    def chosen(self) -> bool:
        """Whether rows are chosen."""
        return self._active is not None

    @paddle.no_grad()
    def choose(self, index: np.ndarray) -> None:
        """Choose rows (their numbers, ascending, each once) for the step that begins."""
        self.index = paddle.to_tensor(index)
        # The same name in every step, as optimizers know parameters by their names.
        self._set_active(
            Parameter.from_tensor(paddle.gather(self.weight, self.index), name=self._active_name)
        )

    @paddle.no_grad()
    def write_back(self) -> None:
        """Put the chosen rows in their place, and choose none."""
        paddle.scatter_(self.weight, self.index, self.active)
        self.index = None
        self._set_active(None)

    @property
    def _active_name(self) -> str:
        return f"{self.weight.name}_active"

    def _set_active(self, active: Parameter | None) -> None:
        # not a parameter of this layer: it is not saved
        object.__setattr__(self, "_active", active)


@contextmanager
def rows_updated(
    optimizer: paddle.optimizer.Optimizer, tables: Sequence[RowTable]
) -> Iterator[list[Parameter]]:
    """In this context, an optimizer over the tables' weights steps their chosen rows instead, and
    no others.

    Every optimizer of Paddle's will do, as it takes the rows for a parameter of their own, with
    their part of its state. Its private tables are used for that (Paddle 3.3); its own row-wise
    updates cover Adam without decay only.

    Yields:
        The chosen rows, as parameters with gradients.
    """
    chosen = [table for table in tables if table.chosen]
    if not chosen:
        yield []
        return
    create_optimizer_state(optimizer, [table.weight for table in chosen])
    for table in chosen:
        _lend_state(optimizer, table)
    active = [table.active for table in chosen]
    parameters = optimizer_parameters(optimizer)
    parameters.extend(active)
    try:
        yield active
    finally:
        del parameters[-len(active) :]
        for table in chosen:
            _take_state_back(optimizer, table)
            table.write_back()


@paddle.no_grad()
def _lend_state(optimizer: paddle.optimizer.Optimizer, table: RowTable) -> None:
    for state in optimizer_state(optimizer).values():
        if table.weight.name in state:
            whole = state[table.weight.name]
            # and not a number, as the powers of Adam's betas
            rows = whole.shape == table.weight.shape
            state[table.active.name] = paddle.gather(whole, table.index) if rows else whole


@paddle.no_grad()
def _take_state_back(optimizer: paddle.optimizer.Optimizer, table: RowTable) -> None:
    for state in optimizer_state(optimizer).values():
        if table.active.name in state:
            changed, whole = state.pop(table.active.name), state[table.weight.name]
            if changed is not whole:
                paddle.scatter_(whole, table.index, changed)
