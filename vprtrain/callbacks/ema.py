"""An exponential moving average of the weights, validated and saved along with them."""

from __future__ import annotations

from collections.abc import Mapping

import paddle

from vprtrain.checkpoint.file_names import AVERAGED_MODEL_FILE
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Module, Run, ValidationRun
from vprtrain.errors import require_number


class EMA(Callback):
    """Averages all floating-point entries of the module's state, the running statistics of batch
    norm included.

    After ``step`` updates, ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + step) / (10 + step))``, so that the initial weights lose their influence
    early. Validation uses the average, and a checkpoint holds both.

    Raises:
        UsageError: ``decay`` is not between 0 and 1.
    """

    role = "the average of the weights"

    def __init__(self, *, decay: float = 0.999) -> None:
        require_number("EMA's decay", decay, above=0, below=1)
        self._decay = decay
        self._current: dict[str, paddle.Tensor] = {}
        self._averages: dict[str, paddle.Tensor] = {}
        self._weights: dict[str, paddle.Tensor] = {}

    def on_fit_start(self, run: Run) -> None:
        # The module's own tensors, collected once: a walk through its layers in every step would
        # take longer than averaging.
        self._current = _averaged(run.module)
        self._averages = {name: tensor.clone().detach() for name, tensor in self._current.items()}
        if run.opened is not None and run.opened.has(AVERAGED_MODEL_FILE):
            arrays = run.opened.arrays(AVERAGED_MODEL_FILE)
            for name, average in self._averages.items():
                average.set_value(arrays[name])

    @paddle.no_grad()
    def on_train_batch_end(self, run: Run) -> None:
        step = run.progress.step
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, average in self._averages.items():
            average.scale_(decay).add_(self._current[name] * (1 - decay))

    def on_validation_start(self, run: ValidationRun) -> None:
        self._weights = {name: self._current[name].clone() for name in self._averages}
        _assign(self._current, self._averages)

    def on_validation_end(self, run: ValidationRun, metrics: Mapping[str, float] | None) -> None:
        self._swap_back()

    def on_fit_end(self, run: Run) -> None:
        self._swap_back()  # in case an exception ended the validation
        self._current, self._averages = {}, {}

    def _swap_back(self) -> None:
        _assign(self._current, self._weights)
        self._weights = {}

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        arrays = {name: tensor.numpy() for name, tensor in run.module.state_dict().items()}
        arrays |= {name: average.numpy() for name, average in self._averages.items()}
        snapshot.arrays[AVERAGED_MODEL_FILE] = arrays

    def fingerprint(self) -> dict[str, float]:
        return {"decay": self._decay}


def _averaged(module: Module) -> dict[str, paddle.Tensor]:
    return {
        name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()
    }


@paddle.no_grad()
def _assign(targets: Mapping[str, paddle.Tensor], values: Mapping[str, paddle.Tensor]) -> None:
    for name, value in values.items():
        targets[name].set_value(value)
