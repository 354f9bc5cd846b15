"""How many values a graph asks for by the numbers that it contains."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

MOST_VALUES = 2**24
"""The most values that the constants of a graph may make, together. The graphs of vprtrain's own
models make less than a thousand: their sizes are computed from the shape of the input."""


class GraphSizes:
    """The sizes that a graph says. Those that it computes from its inputs are not known.

    This refuses the simple request (a constant, or an expansion to a constant shape). A model can
    always need much memory for its computation: a limit for the process is what bounds that.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, float] = {}
        self._asked = 0.0

    def know(self, result: Hashable, numbers: Iterable[float]) -> None:
        """Remember the numbers of a constant."""
        self._known[result] = _product(numbers)

    def join(self, result: Hashable, operands: Iterable[Hashable]) -> None:
        """Remember the numbers of a result that consists of the numbers of others."""
        found = [self._known[operand] for operand in operands if operand in self._known]
        if found:
            self._known[result] = math.prod(found)

    def ask(
        self, what: str, numbers: Iterable[float] = (), operands: Iterable[Hashable] = ()
    ) -> None:
        """Count values whose number is the product of numbers and of known operands.

        Raises:
            ValueError: they are more than :data:`MOST_VALUES` with those before them.
        """
        known = [self._known[operand] for operand in operands if operand in self._known]
        asked = math.prod([_product(numbers), *known])
        if not asked <= 1:  # NaN too
            self._asked += asked
        if not self._asked <= MOST_VALUES:
            raise ValueError(
                f"{what} has a shape of {asked:.2g} values, expected at most {MOST_VALUES}"
            )


def _product(numbers: Iterable[float]) -> float:
    """The product of magnitudes. A fraction counts as its reciprocal, because the steps of a range
    are divided by it."""
    magnitudes = (abs(float(number)) for number in numbers)
    return math.prod(max(number, 1 / number) if number else 1.0 for number in magnitudes)
