"""Fine-tuning in two phases: parts of the module rest at first, then learn more slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle

from vprtrain.engine import Callback, Run
from vprtrain.errors import UsageError, require_at_least


class Freeze(Callback):
    """Freezes parts of the module until an epoch, then trains them at a share of the learning rate.

    With ``released`` only some of what was frozen begins to learn: first a new head, then for
    example the encoder's last layer with it, while the rest of the encoder stays as it is. A frozen
    part has no gradients, and its batch normalisation uses and keeps the statistics that it has.
    What is frozen is a function of the position alone, so a resume in either phase is exact.

    Args:
        parts: the beginnings of parameter names, for example ``["model"]`` for a speaker module's
            encoder, or ``["model.layers.0"]``.
        until_epoch: completed epochs when the parts begin to learn; ``None`` for never.
        rate: by what the learning rate is multiplied for these parts, afterwards.
        released: the parts within ``parts`` that begin to learn; ``None`` for all of them.

    Raises:
        UsageError: a value is out of range, or (when ``fit`` starts) a part has no parameter or a
            released part is not frozen.
    """

    role = "freezing"

    def __init__(
        self,
        *,
        parts: Sequence[str],
        until_epoch: int | None = None,
        rate: float = 1.0,
        released: Sequence[str] | None = None,
    ) -> None:
        _require_names("parts", parts)
        if released is not None:
            _require_names("released", released)
        require_at_least("Freeze's until_epoch", until_epoch or 0, 0)
        require_at_least("Freeze's rate", rate, 0)
        self._parts = tuple(parts)
        self._released = None if released is None else tuple(released)
        self._until_epoch = until_epoch
        self._rate = rate
        self._frozen = False
        # each with whether it begins to learn
        self._parameters: list[tuple[paddle.Tensor, bool]] = []
        self._layers: list[tuple[paddle.nn.Layer, bool]] = []
        self._own_rates: list[float] = []

    def on_fit_start(self, run: Run) -> None:
        trained = {id(parameter) for parameter in run.module.trained_parameters()}
        named = run.module.named_parameters()
        chosen = {name: one for name, one in named if id(one) in trained and self._freezes(name)}
        for part in (*self._parts, *(self._released or ())):
            if not any(_is_within(name, part) for name in chosen):
                raise UsageError(
                    f"Freeze found no trained parameter whose name begins with {part!r}: expected "
                    f"names such as {next(iter(dict(run.module.named_parameters())), 'none')!r}, "
                    "and released ones among the parts"
                )
        self._parameters = [(one, self._releases(name)) for name, one in chosen.items()]
        self._layers = [
            (layer, self._releases(name))
            for name, layer in run.module.named_sublayers()
            if self._freezes(name)
        ]
        self._own_rates = [one.optimize_attr["learning_rate"] for one in chosen.values()]
        for parameter, own in zip(chosen.values(), self._own_rates, strict=True):
            parameter.optimize_attr["learning_rate"] = own * self._rate
        self._frozen = False

    def on_train_epoch_start(self, run: Run) -> None:
        self._frozen = self._until_epoch is None or run.progress.epoch < self._until_epoch
        for parameter, released in self._parameters:
            parameter.stop_gradient = self._frozen or not released
        for layer, released in self._layers:
            layer.training = not self._frozen and released

    def on_train_batch_start(self, run: Run) -> None:
        for layer, released in self._layers:
            if self._frozen or not released:
                # a validation puts the whole module back into training mode
                layer.training = False

    def on_fit_end(self, run: Run) -> None:
        for (parameter, _), own in zip(self._parameters, self._own_rates, strict=True):
            parameter.stop_gradient = False
            parameter.optimize_attr["learning_rate"] = own
        for layer, _ in self._layers:
            layer.training = run.module.training
        self._parameters, self._layers, self._own_rates = [], [], []

    def fingerprint(self) -> dict[str, Any]:
        values = {"parts": list(self._parts), "until_epoch": self._until_epoch, "rate": self._rate}
        # earlier checkpoints do not have it
        return values if self._released is None else values | {"released": list(self._released)}

    def _freezes(self, name: str) -> bool:
        return any(_is_within(name, part) for part in self._parts)

    def _releases(self, name: str) -> bool:
        return self._released is None or any(_is_within(name, part) for part in self._released)


def _require_names(what: str, names: Sequence[str]) -> None:
    if isinstance(names, str) or not names:
        raise UsageError(f"Freeze's {what} are {names!r}: expected a list of parameter names")


def _is_within(name: str, part: str) -> bool:
    """Whether a name is a part, or lies below it."""
    return name == part or name.startswith(f"{part}.")
