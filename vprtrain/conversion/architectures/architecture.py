"""How one family of a reference implementation is recognised and renamed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vprtrain.models.encoder import SpeakerEncoder

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shape of each array of a state dict, by the reference's names."""
Sizes: TypeAlias = dict[str, Any]
"""The init_args that the shapes show."""
Rename: TypeAlias = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regular expression and its replacement."""
DROPPED = ""
"""The name of an array that our network does not need."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One family of networks, as one or more toolkits save it."""

    model: type[SpeakerEncoder]
    """Our class."""
    toolkits: tuple[str, ...] = ()
    """Those that save the family with these names, by the names that ``convert --from`` takes;
    none if it is published on its own, with features of its own."""
    has: tuple[str, ...]
    """Names that each of the family's state dicts has."""
    lacks: tuple[str, ...] = ()
    """Names of other families that have all names of ``has`` as well."""
    sizes: Callable[[Shapes], Iterable[Sizes]]
    """The readings of the shapes: one, or several where the same shapes have several meanings. An
    exception means that the shapes contradict each other."""
    fixed: Mapping[str | None, Sizes] = field(default_factory=dict)
    """By a toolkit's name: the init_args that its code fixes and no shape shows, where they differ
    from our defaults."""
    renames: tuple[Rename, ...] = ()
    """From the reference's names to ours; applied in order. The arrays of names that become one are
    joined along their first axis, in the order of the numbers in their names; an array whose name
    becomes :data:`DROPPED` says nothing, and is left out."""
    frames_before_mels: bool = False
    """Whether its images are ``[batch, channels, frames, mels]``: the kernels' last two axes then
    change places."""

    def matches(self, names: Collection[str]) -> bool:
        """Whether a state dict with these names is of this family."""
        return all(name in names for name in self.has) and not any(
            name in names for name in self.lacks
        )


def from_zero(form: str) -> Callable[[re.Match[str]], str]:
    """A replacement whose numbers are one less: the reference counts from one, a LayerList from
    zero."""
    return lambda match: form.format(*(int(number) - 1 for number in match.groups()))


def depths(shapes: Shapes, pattern: str) -> list[int]:
    """For each first number in the names that start with ``pattern``: how many second numbers there
    are."""
    found = {
        tuple(map(int, match.groups())) for name in shapes if (match := re.match(pattern, name))
    }
    stages = [stage for stage, _ in found]
    return [stages.count(stage) for stage in sorted(set(stages))]
