"""Recognising the architecture of a reference implementation's weights by names and shapes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from vprtrain.conversion.architectures import ARCHITECTURES, Shapes, Sizes
from vprtrain.errors import CheckpointError
from vprtrain.models.encoder import SpeakerEncoder


def recognise(
    reference_state: Mapping[str, np.ndarray], given: Mapping[str, Any] | None = None
) -> SpeakerEncoder:
    """A new model with the architecture and sizes of a reference's state dict.

    The names are those that :func:`vprtrain.conversion.reference.state_from_reference` takes, which
    then gives the model's own state. Options that no shape shows (such as dilations) get the
    reference's defaults, and ``input_size`` is assumed to be a multiple of the strides over it.

    Args:
        given: init_args that are known from elsewhere; those that the model does not have are
            ignored.

    Raises:
        CheckpointError: the architecture is unknown, or the shapes contradict each other.
    """
    shapes = {name: tuple(value.shape) for name, value in reference_state.items()}
    for architecture in ARCHITECTURES:
        if architecture.matches(shapes):
            model = architecture.model
            try:
                (sizes,) = architecture.sizes(shapes)
                init_args = {**sizes, **(given or {})}
                taken = inspect.signature(model).parameters.keys() & init_args.keys()
                return _built(model, {name: init_args[name] for name in taken}, shapes)
            except (LookupError, ValueError, ArithmeticError) as error:
                raise CheckpointError(
                    f"these weights look like a {model.__name__}, but no {model.__name__} has "
                    f"their shapes ({type(error).__name__}: {error})"
                ) from error
    known = ", ".join(dict.fromkeys(architecture.model.__name__ for architecture in ARCHITECTURES))
    raise CheckpointError(
        f"these weights have no known architecture ({known}): their first names are {[*shapes][:4]}"
    )


def _built(model: type[SpeakerEncoder], init_args: Sizes, shapes: Shapes) -> SpeakerEncoder:
    """Build the model, after checking that the sizes from a stranger's file fit the file."""
    with paddle.LazyGuard():  # nothing is allocated
        numbers = sum(parameter.size for parameter in model(**init_args).parameters())
    held = sum(map(math.prod, shapes.values()))
    if numbers > 2 * held:
        raise ValueError(f"it would have {numbers} numbers, but the file holds {held}")
    return model(**init_args)
