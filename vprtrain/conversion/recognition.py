"""Recognising the architecture of a reference implementation's weights by names and shapes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vprtrain.conversion.architectures import ARCHITECTURES, Architecture, Shapes, Sizes
from vprtrain.conversion.reference import state_from_reference
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.layers.sizes import without_memory
from vprtrain.models.encoder import SpeakerEncoder

_MOST_MELS = 126
"""The most mels of frames of 25 ms at 16 kHz: with more, filters fall between two frequencies."""
_LAYOUTS: tuple[Literal["torch", "paddle"], ...] = ("torch", "paddle")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One network that a state dict may be of."""

    model: type[SpeakerEncoder]
    init_args: Sizes

    def build(self) -> SpeakerEncoder:
        """A new network, with weights of its own."""
        return self.model(**self.init_args)

    def described(self, names: Iterable[str]) -> str:
        """The class with its init_args of these names, for a person."""
        chosen = (f"{name} {self.init_args[name]}" for name in names if name in self.init_args)
        return f"{self.model.__name__} ({', '.join(chosen)})"


def recognise(
    reference_state: Mapping[str, np.ndarray],
    given: Mapping[str, Any] | None = None,
    *,
    toolkit: str | None = None,
    model: str | None = None,
) -> SpeakerEncoder:
    """A new model with the architecture and sizes of a reference's state dict.

    It is the only one of :func:`readings`.

    Args:
        reference_state: see :func:`readings`.
        given: see :func:`readings`.
        toolkit: see :func:`readings`.
        model: see :func:`readings`.

    Raises:
        CheckpointError: as :func:`readings`; or several networks fit.
    """
    found = readings(reference_state, given, toolkit=toolkit, model=model)
    if len(found) > 1:
        names = [*dict.fromkeys(name for reading in found for name in reading.init_args)]
        differing = [
            name
            for name in names
            if len({repr(reading.init_args.get(name)) for reading in found}) > 1
        ]
        candidates = ", ".join(reading.described(differing) for reading in found)
        raise CheckpointError(
            f"these weights fit {len(found)} networks, and nothing in them tells which one it is: "
            f"{candidates}: name the model, or its {' or '.join(differing) or 'sizes'}"
        )
    return found[0].build()


def readings(
    reference_state: Mapping[str, np.ndarray],
    given: Mapping[str, Any] | None = None,
    *,
    toolkit: str | None = None,
    model: str | None = None,
) -> list[Reading]:
    """All networks that a reference's state dict may be of; at least one.

    The names are those that :func:`vprtrain.conversion.reference.state_from_reference` takes, which
    then gives the model's own state. Where the names and shapes have several readings, the name and
    shape of every array are compared, and those that do not fit are left out. Readings of more mels
    than frames of 25 ms at 16 kHz have are left out too, if there are others. Options that no shape
    shows (such as dilations) get the toolkit's or the reference's defaults, and ``input_size`` is
    assumed to be a multiple of the strides over it.

    Args:
        reference_state: the state dict; only names and shapes are read.
        given: init_args that are known from elsewhere; those that the model does not have are
            ignored.
        toolkit: the toolkit that saved it, by the name that ``convert --from`` takes; ``None`` if
            it is not known.
        model: the only class to consider, by name; ``None`` considers all.

    Raises:
        CheckpointError: the architecture is unknown or another than ``model``, or the shapes
            contradict each other.
    """
    shapes = {name: tuple(value.shape) for name, value in reference_state.items()}
    families = _families(shapes, model)
    name = families[0].model.__name__
    try:
        found = [
            Reading(
                model=family.model,
                init_args=_taken(
                    family, {**sizes, **family.fixed.get(toolkit, {}), **(given or {})}
                ),
            )
            for family in families
            for sizes in family.sizes(shapes)
        ]
        found = [reading for i, reading in enumerate(found) if reading not in found[:i]]
        for reading in found:
            _refuse_more_numbers_than_held(reading, shapes)
    except (LookupError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"these weights look like a {name}, but no {name} has their shapes "
            f"({type(error).__name__}: {error})"
        ) from error
    if len(found) == 1:
        return found
    fitting = [reading for reading in found if _fits(reading, reference_state)]
    if not fitting:
        raise CheckpointError(
            f"these weights look like a {name}, but none has their shapes: "
            f"{', '.join(reading.described(reading.init_args) for reading in found)}"
        )
    return [r for r in fitting if r.init_args["input_size"] <= _MOST_MELS] or fitting


def _families(shapes: Shapes, model: str | None) -> list[Architecture]:
    """Those that have the names of the state dict, and the class ``model`` if it is given.

    Raises:
        CheckpointError: there is none.
    """
    matching = [family for family in ARCHITECTURES if family.matches(shapes)]
    chosen = [family for family in matching if model is None or model in _names(family)]
    if chosen:
        return chosen
    known = ", ".join(dict.fromkeys(family.model.__name__ for family in ARCHITECTURES))
    if matching:
        found = ", ".join(dict.fromkeys(family.model.__name__ for family in matching))
        raise CheckpointError(f"these weights are of a {found}, not of a {model}")
    raise CheckpointError(
        f"these weights have no known architecture ({known}): their first names are {[*shapes][:4]}"
    )


def _names(family: Architecture) -> set[str]:
    """Those of the family's class, and of the classes that are derived from it."""
    return {cls.__name__ for cls in (family.model, *family.model.__subclasses__())}


def _taken(family: Architecture, init_args: Sizes) -> Sizes:
    """The init_args that the family's class has."""
    taken = inspect.signature(family.model).parameters
    return {name: init_args[name] for name in taken if name in init_args}


def _refuse_more_numbers_than_held(reading: Reading, shapes: Shapes) -> None:
    """Check that the sizes from a stranger's file fit the file, before anything is allocated.

    Raises:
        ValueError: they do not.
    """
    with without_memory():
        numbers = sum(math.prod(value.shape) for value in reading.build().parameters())
    held = sum(map(math.prod, shapes.values()))
    if numbers > 2 * held:
        raise ValueError(f"it would have {numbers} numbers, but the file holds {held}")


def _fits(reading: Reading, reference_state: Mapping[str, np.ndarray]) -> bool:
    """Whether the network has exactly these arrays, in either layout of linear layers."""
    for layout in _LAYOUTS:
        try:
            with without_memory():
                model = reading.build()
            state_from_reference(model, reference_state, layout=layout)
        except (CheckpointError, UsageError):
            continue
        return True
    return False
