"""A matrix so large that a step, its optimizer update included, should touch only some rows."""

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
    """A trained matrix ``weight`` ``[rows, columns]`` of which each step uses chosen rows.

    Within a step :attr:`active` holds the chosen rows: gradients have its size, and
    :func:`rows_updated` makes an optimizer update those rows and their part of its state. All other
    rows keep weights and state to the bit: no decay and no momentum without a gradient ("lazy" in
    Paddle's Adam). Time and memory of a step depend on the chosen rows; the table and the
    optimizer's state exist once. The start is Xavier-uniform.
    """

    def __init__(self, *, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = self.create_parameter(
            [rows, columns], default_initializer=nn.initializer.XavierUniform()
        )
        self.index: paddle.Tensor | None = None
        """The indices of the chosen rows, int64 ``[chosen]``, ascending."""
        self._active: Parameter | None = None

    @property
    def active(self) -> Parameter:
        """The chosen rows, ``[chosen, columns]``."""
        assert self._active is not None, "choose comes first"
        return self._active

    @property
    def chosen(self) -> bool:
        """Whether rows are chosen at the moment."""
        return self._active is not None

    @paddle.no_grad()
    def choose(self, index: np.ndarray) -> None:
        """Choose rows (indices, ascending, no duplicates) for the next step."""
        self.index = paddle.to_tensor(index)
        # The name is the same in every step, because optimizers identify parameters by name.
        self._set_active(
            Parameter.from_tensor(paddle.gather(self.weight, self.index), name=self._active_name)
        )

    @paddle.no_grad()
    def write_back(self) -> None:
        """Write the chosen rows back, and choose none."""
        paddle.scatter_(self.weight, self.index, self.active)
        self.index = None
        self._set_active(None)

    @property
    def _active_name(self) -> str:
        return f"{self.weight.name}_active"

    def _set_active(self, active: Parameter | None) -> None:
        # not a parameter of this layer, so it is not saved
        object.__setattr__(self, "_active", active)


@contextmanager
def rows_updated(
    optimizer: paddle.optimizer.Optimizer, tables: Sequence[RowTable]
) -> Iterator[list[Parameter]]:
    """A context in which an optimizer over the tables' weights updates only their chosen rows.

    This works with every Paddle optimizer: it sees the rows as a parameter with their part of its
    state. Paddle's own row-wise updates cover only Adam without decay.

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
            # and not a scalar like the powers of Adam's betas
            rows = whole.shape == table.weight.shape
            state[table.active.name] = paddle.gather(whole, table.index) if rows else whole


@paddle.no_grad()
def _take_state_back(optimizer: paddle.optimizer.Optimizer, table: RowTable) -> None:
    for state in optimizer_state(optimizer).values():
        if table.active.name in state:
            changed, whole = state.pop(table.active.name), state[table.weight.name]
            if changed is not whole:
                paddle.scatter_(whole, table.index, changed)
