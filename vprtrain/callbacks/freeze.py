"""Fine-tuning in two phases: parts of the module rest at first, then learn more slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle

from vprtrain.engine import Callback, Run
from vprtrain.errors import UsageError, require_at_least


class Freeze(Callback):
    """Freezes parts of the module until an epoch, then trains them at a share of the learning rate.

    A frozen part has no gradients, and its batch normalisation uses and keeps the statistics that
    it has. What is frozen is a function of the position alone, so a resume in either phase is
    exact.

    Args:
        parts: the beginnings of parameter names, for example ``["model"]`` for a speaker module's
            encoder, or ``["model.layers.0"]``.
        until_epoch: completed epochs when the parts begin to learn; ``None`` for never.
        rate: by what the learning rate is multiplied for these parts, afterwards.

    Raises:
        UsageError: a value is out of range, or (when ``fit`` starts) a part has no parameter.
    """

    role = "freezing"

    def __init__(
        self, *, parts: Sequence[str], until_epoch: int | None = None, rate: float = 1.0
    ) -> None:
        if isinstance(parts, str) or not parts:
            raise UsageError(f"Freeze's parts are {parts!r}: expected a list of parameter names")
        require_at_least("Freeze's until_epoch", until_epoch or 0, 0)
        require_at_least("Freeze's rate", rate, 0)
        self._parts = tuple(parts)
        self._until_epoch = until_epoch
        self._rate = rate
        self._frozen = False
        self._parameters: list[paddle.Tensor] = []
        self._own_rates: list[float] = []
        self._layers: list[paddle.nn.Layer] = []

    def on_fit_start(self, run: Run) -> None:
        trained = {id(parameter) for parameter in run.module.trained_parameters()}
        named = run.module.named_parameters()
        chosen = {name: one for name, one in named if id(one) in trained and self._covers(name)}
        for part in self._parts:
            if not any(_is_within(name, part) for name in chosen):
                raise UsageError(
                    f"Freeze found no trained parameter whose name begins with {part!r}: expected "
                    f"names such as {next(iter(dict(run.module.named_parameters())), 'none')!r}"
                )
        self._parameters = list(chosen.values())
        self._layers = [layer for name, layer in run.module.named_sublayers() if self._covers(name)]
        self._own_rates = [one.optimize_attr["learning_rate"] for one in self._parameters]
        for parameter, own in zip(self._parameters, self._own_rates, strict=True):
            parameter.optimize_attr["learning_rate"] = own * self._rate
        self._frozen = False

    def on_train_epoch_start(self, run: Run) -> None:
        self._freeze(self._until_epoch is None or run.progress.epoch < self._until_epoch)

    def on_train_batch_start(self, run: Run) -> None:
        if self._frozen:
            for layer in self._layers:  # a validation puts the whole module back into training mode
                layer.training = False

    def on_fit_end(self, run: Run) -> None:
        self._freeze(False)
        for layer in self._layers:
            layer.training = run.module.training
        for parameter, own in zip(self._parameters, self._own_rates, strict=True):
            parameter.optimize_attr["learning_rate"] = own
        self._parameters, self._own_rates, self._layers = [], [], []

    def fingerprint(self) -> dict[str, Any]:
        return {"parts": list(self._parts), "until_epoch": self._until_epoch, "rate": self._rate}

    def _freeze(self, frozen: bool) -> None:
        self._frozen = frozen
        for parameter in self._parameters:
            parameter.stop_gradient = frozen
        for layer in self._layers:
            layer.training = not frozen

    def _covers(self, name: str) -> bool:
        return any(_is_within(name, part) for part in self._parts)


def _is_within(name: str, part: str) -> bool:
    """Whether a name is a part, or lies below it."""
    return name == part or name.startswith(f"{part}.")
