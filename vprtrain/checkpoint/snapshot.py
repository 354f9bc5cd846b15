"""What a checkpoint holds, taken from live objects at a commit and put back into new ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from vprtrain.checkpoint.arrays import Arrays, encode_arrays
from vprtrain.checkpoint.state_file import with_state
from vprtrain.errors import CheckpointError
from vprtrain.layers import paddle_internals

MODEL_FILE = "model.pdparams"
AVERAGED_MODEL_FILE = "ema.pdparams"
OPTIMIZER_FILE = "optimizer.pdopt"
CONFIG_FILE = "config.yaml"


@dataclass(kw_only=True)
class Snapshot:
    """A commit in memory. Callbacks may add keys and arrays; the Checkpoint callback, last, stores
    it."""

    name: str
    """The generation's folder name, ``epoch_<n>`` or ``step_<n>``."""
    state: dict[str, Any]
    arrays: dict[str, Arrays] = field(default_factory=dict)
    """Named arrays by file name."""
    texts: dict[str, str] = field(default_factory=dict)
    """Texts by file name."""

    def files(self) -> dict[str, bytes]:
        """All files of the checkpoint, ``model.state`` as the last."""
        files = {name: encode_arrays(arrays) for name, arrays in self.arrays.items()}
        return with_state(
            files | {name: text.encode() for name, text in self.texts.items()}, self.state
        )


def layer_arrays(layer: paddle.nn.Layer) -> Arrays:
    """Copies of all parameters and persistent buffers, by structured name."""
    return {name: tensor.numpy() for name, tensor in layer.state_dict().items()}


def load_layer(layer: paddle.nn.Layer, arrays: Arrays, source: str) -> None:
    """Put arrays into a layer that must have exactly these names, shapes and types.

    Raises:
        CheckpointError: they differ; the layer is unchanged then.
    """
    unfit = unfit_names(layer, arrays)
    unexpected = sorted(arrays.keys() - layer.state_dict().keys())
    if unfit or unexpected:
        raise CheckpointError(
            f"{source} is of another model: {_some(unfit)} missing or of another shape or type, "
            f"{_some(unexpected)} unexpected"
        )
    for name, tensor in layer.state_dict().items():
        tensor.set_value(arrays[name])


def unfit_names(layer: paddle.nn.Layer, arrays: Arrays) -> list[str]:
    """The layer's entries for which there is no array of their shape and type."""
    forms = _forms(arrays)
    return [name for name, form in _forms(layer_arrays(layer)).items() if forms.get(name) != form]


def optimizer_arrays(optimizer: paddle.optimizer.Optimizer, layer: paddle.nn.Layer) -> Arrays:
    """Copies of an optimizer's accumulators and master weights, keyed by the layer's structured
    names.

    Paddle's own ``Optimizer.state_dict`` is keyed by process-global tensor names, which differ as
    soon as another layer was built first, so its private tables are read instead (Paddle 3.3). The
    order is that of the names, not of first use, which a resumed run does not repeat.
    """
    names = {parameter.name: name for name, parameter in layer.named_parameters()}
    masters = paddle_internals.master_weights(optimizer)
    names |= {master.name: names[parameter] for parameter, master in masters.items()}
    arrays = {
        f"{kind}/{names[parameter]}": tensor.numpy()
        for kind, table in paddle_internals.optimizer_state(optimizer).items()
        for parameter, tensor in table.items()
    }
    arrays |= {
        f"master/{names[parameter]}": master.numpy() for parameter, master in masters.items()
    }
    return dict(sorted(arrays.items()))


def blank_optimizer_arrays(optimizer: paddle.optimizer.Optimizer, layer: paddle.nn.Layer) -> Arrays:
    """What :func:`optimizer_arrays` will give after the first step, in names, shapes and types.

    Args:
        optimizer: a new one, to be thrown away: its accumulators are created here.
    """
    paddle_internals.create_optimizer_state(
        optimizer, [value for value in layer.parameters() if not value.stop_gradient]
    )
    return optimizer_arrays(optimizer, layer)


def load_optimizer(
    optimizer: paddle.optimizer.Optimizer, layer: paddle.nn.Layer, arrays: Arrays, source: str
) -> None:
    """Put saved accumulators into a freshly made optimizer, before its first step.

    Raises:
        CheckpointError: the arrays are not those of this optimizer over this layer.
    """
    if not arrays:
        return  # saved before the first step: nothing has accumulated
    # A parameter that has not had a gradient yet has accumulated nothing.
    used = {name.partition("/")[2] for name in arrays}
    trained = [
        value
        for name, value in layer.named_parameters()
        if name in used and not value.stop_gradient
    ]
    paddle_internals.create_optimizer_state(optimizer, trained)
    odd = {
        name
        for name, _ in _forms(optimizer_arrays(optimizer, layer)).items() ^ _forms(arrays).items()
    }
    if odd:
        raise CheckpointError(
            f"{source} is of another optimizer or model: {_some(sorted(odd))} on one side only, "
            "or of another shape or type"
        )
    names = {parameter.name: name for name, parameter in layer.named_parameters()}
    for parameter, master in paddle_internals.master_weights(optimizer).items():
        names[master.name] = names[parameter]
        master.set_value(arrays[f"master/{names[parameter]}"])
    for kind, table in paddle_internals.optimizer_state(optimizer).items():
        for parameter, tensor in table.items():
            tensor.set_value(arrays[f"{kind}/{names[parameter]}"])


def _forms(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    if not names:
        return "none"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
