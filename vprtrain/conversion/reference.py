"""Weights of public PyTorch implementations under our names and layouts, without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from paddle import nn

from vprtrain.conversion.architectures import ARCHITECTURES
from vprtrain.conversion.architectures.architecture import DROPPED, Architecture, Rename
from vprtrain.errors import CheckpointError
from vprtrain.models.encoder import SpeakerEncoder

_BATCH_NORM: tuple[Rename, ...] = (
    (r"\.running_mean$", "._mean"),
    (r"\.running_var$", "._variance"),
)


def state_from_reference(
    model: SpeakerEncoder,
    reference_state: Mapping[str, np.ndarray],
    *,
    layout: Literal["torch", "paddle"] = "torch",
) -> dict[str, np.ndarray]:
    """A reference implementation's state dict as one for ``model.set_state_dict``.

    ``reference_state`` has the keys of the reference's PyTorch state dict. Only names and layouts
    change: ``Linear`` weights are transposed (those of kernel-1 convolutions that are ``Linear``
    here too), convolutions of several heads are joined to one in groups, batch normalisation's
    statistics are renamed and its ``num_batches_tracked`` is dropped. With ppvector's state dict,
    ``layout`` is "paddle": its ``Linear`` weights are as here.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    family = _family(model, reference_state)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    transposed = {
        f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)
    }
    state: dict[str, np.ndarray] = {}
    unexpected: list[str] = []
    for name, keys in names_from_reference(model, reference_state).items():
        if name not in expected:
            unexpected.extend(keys)
            continue
        parts = [reference_state[key] for key in keys]
        value = parts[0] if len(parts) == 1 else _joined(parts)
        if name in transposed and not (layout == "paddle" and value.ndim == 2):
            value = value.reshape(value.shape[0], -1).T
        if family and family.frames_before_mels and value.ndim == 4:
            value = value.swapaxes(2, 3)
        if value.shape != expected[name]:
            raise CheckpointError(
                f"reference tensor {keys[0]} has shape {tuple(parts[0].shape)}, but {name} of this "
                f"{type(model).__name__} has {expected[name]}: build the model with the "
                "reference's sizes"
            )
        state[name] = np.ascontiguousarray(value)
    missing = sorted(expected.keys() - state.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"these weights are not those of this {type(model).__name__}: {len(missing)} of its "
            f"tensors are missing {missing[:5]}, {len(unexpected)} others are not known "
            f"{unexpected[:5]}: check the architecture and its sizes"
        )
    return state


def names_from_reference(model: SpeakerEncoder, names: Collection[str]) -> dict[str, list[str]]:
    """Our names, each with those of a reference's state dict that become it: several where arrays
    are joined, in the order of the numbers in their names."""
    family = _family(model, names)
    renames = (*(family.renames if family else ()), *_BATCH_NORM)
    found: dict[str, list[str]] = {}
    for key in names:
        name = DROPPED if key.endswith(".num_batches_tracked") else _renamed(key, renames)
        if name != DROPPED:
            found.setdefault(name, []).append(key)
    for parts in found.values():
        parts.sort(key=lambda part: [int(number) for number in re.findall(r"\d+", part)])
    return found


def _family(model: SpeakerEncoder, names: Collection[str]) -> Architecture | None:
    """The family of the model's class that has the reference's names, if there is one."""
    for architecture in ARCHITECTURES:
        if isinstance(model, architecture.model) and architecture.matches(names):
            return architecture
    return None


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays one after the other. If their shapes do not allow it, an array that fits no
    model."""
    if len({part.shape[1:] for part in parts}) > 1 or not all(part.ndim for part in parts):
        return np.empty(0)
    return np.concatenate(parts)


def _renamed(key: str, renames: tuple[Rename, ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
