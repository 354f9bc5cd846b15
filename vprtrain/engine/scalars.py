"""The numbers that a training step or a validation gives: what counts as one, and conversions."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle

from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.engine.module import Module


def require_loss(loss: Any, module: Module) -> None:
    """Refuse a loss that is not one floating-point number on the device.

    Raises:
        UsageError: it is not.
    """
    if not (isinstance(loss, paddle.Tensor) and loss.size == 1 and loss.is_floating_point()):
        raise UsageError(
            f"{type(module).__name__}.training_step returned {_described(loss)} as the loss: "
            "expected a floating-point Tensor with one element"
        )


def require_scalars(scalars: Any, module: Module) -> None:
    """Refuse scalars to log that are not a dict of numbers.

    Raises:
        UsageError: they are not; the message names the key.
    """
    if not isinstance(scalars, dict):
        raise UsageError(
            f"{type(module).__name__}.training_step returned {_described(scalars)} beside the "
            "loss: expected a dict of numbers to log"
        )
    for name, value in scalars.items():
        if not is_number(value):
            raise UsageError(
                f"{type(module).__name__}.training_step logs {name!r} as {_described(value)}: "
                "expected one real number"
            )


def is_number(value: Any) -> bool:
    """Whether a value is one real number: of Python, of NumPy, or a Tensor with one element."""
    if isinstance(value, paddle.Tensor):
        return value.size == 1 and not value.is_complex()
    if isinstance(value, np.ndarray):
        return value.size == 1 and value.dtype.kind in "fiub"
    return isinstance(value, Real | np.bool_)


def as_float(value: Any) -> float:
    """A number as a float. A Tensor is fetched from the device."""
    if isinstance(value, paddle.Tensor):
        value = value.astype("float64")  # NumPy would read the bits of a bfloat16 as an integer
    return float(np.asarray(value).item())


def as_tensor(value: Any) -> paddle.Tensor:
    """A number as a float32 scalar on the device, without a gradient."""
    if isinstance(value, paddle.Tensor):
        return value.detach().astype("float32").reshape([])
    return paddle.to_tensor(as_float(value), dtype="float32")


def _described(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, paddle.Tensor | np.ndarray):
        return f"a {name} {list(value.shape)} of {value.dtype}"
    return f"a {name}"
