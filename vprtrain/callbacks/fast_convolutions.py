"""Faster convolutions for new runs on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle

from vprtrain.engine import Callback, Run
from vprtrain.layers import Conv1D, Conv2D


class FastConvolutions(Callback):
    """Lets oneDNN compute the module's :class:`~vprtrain.layers.Conv1D` and
    :class:`~vprtrain.layers.Conv2D` in training (:mod:`vprtrain.layers.convolution`), which is
    faster on a CPU. Results differ by rounding; validation and a GPU compute as without it.

    A run that began without it goes on without it, so that a resume gives the bits of the
    uninterrupted run. The checkpoint records which runs have it.

    A second Ctrl-C in the middle of a backward pass ends such a run with an error of Paddle's,
    which takes the place of any exception in a ``PyLayer``, and not with the status 130. Nothing
    that was saved is lost.
    """

    role = "the kernels of convolutions"

    def __init__(self) -> None:
        self._since_start = False

    def state_dict(self) -> dict[str, bool]:
        return {"since_start": True} if self._since_start else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._since_start = bool(state)

    def on_fit_start(self, run: Run) -> None:
        if run.opened is None:
            self._since_start = True
        switch_fast_convolutions(run.module, self._since_start)

    def on_fit_end(self, run: Run) -> None:
        switch_fast_convolutions(run.module, False)
        self._since_start = False


def switch_fast_convolutions(network: paddle.nn.Layer, fast: bool) -> None:
    """Set ``fast`` of every convolution in a network."""
    for layer in network.sublayers():
        if isinstance(layer, Conv1D | Conv2D):
            layer.fast = fast
