"""The content of a checkpoint: copied from live objects at a commit, and put back into new ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from vprtrain.checkpoint.arrays import Arrays, write_arrays
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.checkpoint.state_file import STATE_FILE, encode_state, state_bytes
from vprtrain.errors import CheckpointError
from vprtrain.files import Content, new_folder, write_synced
from vprtrain.layers import paddle_internals
from vprtrain.layers.sizes import form


@dataclass(kw_only=True)
class Snapshot:
    """A commit in memory. Callbacks may replace its state and add arrays; the Checkpoint callback
    is called last and stores it."""

    name: str
    """The generation's folder name, ``epoch_<n>`` or ``step_<n>``."""
    state: CheckpointState
    arrays: dict[str, Arrays] = field(default_factory=dict)
    """Named arrays by file name."""
    texts: dict[str, str] = field(default_factory=dict)
    """Texts by file name."""

    @property
    def array_bytes(self) -> int:
        """The size of all arrays."""
        return sum(array.nbytes for arrays in self.arrays.values() for array in arrays.values())

    def contents(self) -> dict[str, Content]:
        """The files of the checkpoint but ``model.state``."""
        return {
            **{name: partial(write_arrays, arrays) for name, arrays in self.arrays.items()},
            **{name: text.encode() for name, text in self.texts.items()},
        }

    def save(self, folder: Path) -> int:
        """Make a new checkpoint folder that appears whole or not at all, ``model.state`` as its
        last file.

        Returns:
            The size of all files.

        Raises:
            ValueError: as :func:`vprtrain.checkpoint.state_file.encode_state`.
            OSError: as :func:`vprtrain.files.new_folder`.
        """
        encode_state(self.state.to_json())  # what cannot be written is found before the rest is
        with new_folder(folder) as temporary:
            digests = {
                name: write_synced(temporary / name, content)
                for name, content in self.contents().items()
            }
            write_synced(temporary / STATE_FILE, state_bytes(self.state, digests))
            return sum(path.stat().st_size for path in temporary.iterdir())

    def sample(self, most: int) -> Snapshot:
        """The same with fewer arrays: the first ones, of at most so many bytes together."""
        left = most
        sampled: dict[str, Arrays] = {name: {} for name in self.arrays}
        for file, arrays in self.arrays.items():
            for name, array in arrays.items():
                left -= array.nbytes
                if left >= 0:
                    sampled[file][name] = array
        return replace(self, arrays=sampled)


def layer_arrays(layer: paddle.nn.Layer) -> Arrays:
    """Copies of all parameters and persistent buffers, by structured name."""
    return {name: tensor.numpy() for name, tensor in layer.state_dict().items()}


def load_layer(layer: paddle.nn.Layer, arrays: Arrays, source: str) -> None:
    """Put arrays into a layer that must have exactly these names, shapes and types.

    The layer may have been built without memory
    (:func:`vprtrain.layers.sizes.without_memory`); it gets memory after the comparison.

    Args:
        source: the file of the arrays, for error messages.

    Raises:
        CheckpointError: they differ. The layer is then unchanged.
    """
    unfit = unfit_names(layer, arrays)
    unexpected = sorted(arrays.keys() - layer.state_dict().keys())
    if unfit or unexpected:
        raise CheckpointError(
            f"{source} is of another model: {_first_names(unfit)} missing or of another shape or "
            f"type, {_first_names(unexpected)} unexpected"
        )
    for name, tensor in layer.state_dict().items():
        tensor.set_value(arrays[name])


def unfit_names(layer: paddle.nn.Layer, arrays: Arrays) -> list[str]:
    """The layer's entries without an array of the same name, shape and type."""
    found = _shapes_and_types(arrays)
    return [name for name, tensor in layer.state_dict().items() if found.get(name) != form(tensor)]


def optimizer_arrays(optimizer: paddle.optimizer.Optimizer, layer: paddle.nn.Layer) -> Arrays:
    """Copies of an optimizer's accumulators and master weights, by the layer's structured names.

    Paddle's own ``Optimizer.state_dict`` uses process-global tensor names, which change if another
    layer was built before. So Paddle's private tables are read instead (Paddle 3.3). The arrays are
    sorted by name: the tables are in the order of first use, which a resumed run does not repeat.
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
    """Arrays with the names, shapes and types that :func:`optimizer_arrays` gives after a step.

    Args:
        optimizer: a new optimizer that is used for nothing else: its accumulators are created here.
    """
    paddle_internals.create_optimizer_state(
        optimizer, [value for value in layer.parameters() if not value.stop_gradient]
    )
    return optimizer_arrays(optimizer, layer)


def load_optimizer(
    optimizer: paddle.optimizer.Optimizer, layer: paddle.nn.Layer, arrays: Arrays, source: str
) -> None:
    """Put saved accumulators into a new optimizer, before its first step.

    Args:
        source: the file of the arrays, for error messages.

    Raises:
        CheckpointError: the arrays are not those of this optimizer over this layer.
    """
    if not arrays:
        return  # saved before the first step: no accumulators exist
    # A parameter without a gradient so far has no accumulators.
    used = {name.partition("/")[2] for name in arrays}
    trained = [
        value
        for name, value in layer.named_parameters()
        if name in used and not value.stop_gradient
    ]
    paddle_internals.create_optimizer_state(optimizer, trained)
    expected, found = (
        _shapes_and_types(optimizer_arrays(optimizer, layer)),
        _shapes_and_types(arrays),
    )
    different = sorted({name for name, _ in expected.items() ^ found.items()})
    if different:
        raise CheckpointError(
            f"{source} is of another optimizer or model: {_first_names(different)} missing, "
            "unexpected, or of another shape or type"
        )
    names = {parameter.name: name for name, parameter in layer.named_parameters()}
    for parameter, master in paddle_internals.master_weights(optimizer).items():
        names[master.name] = names[parameter]
        master.set_value(arrays[f"master/{names[parameter]}"])
    for kind, table in paddle_internals.optimizer_state(optimizer).items():
        for parameter, tensor in table.items():
            tensor.set_value(arrays[f"{kind}/{names[parameter]}"])


def _shapes_and_types(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _first_names(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    if not names:
        return "none"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
