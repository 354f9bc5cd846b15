"""How people take turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vprtrain.data.audio.reading import MAX_SECONDS
from vprtrain.errors import UsageError, require_number, require_whole

_TURN_SPREAD = 0.6  # standard deviation of the logarithm of a turn's duration


@dataclass(frozen=True, kw_only=True)
class ConversationStyle:
    """The random rules of turn taking.

    Raises:
        UsageError: a value is out of range.
    """

    seconds: float = 300.0
    """The duration of a conversation."""
    speakers: tuple[int, int] = (2, 4)
    """The fewest and the most speakers; all numbers between are equally likely."""
    turn_seconds: tuple[float, float] = (1.0, 10.0)
    """The shortest and the longest turn. Their logarithms are normally distributed around the
    middle of both."""
    pause_seconds: float = 0.6
    """The mean of the pauses between turns, which are exponentially distributed."""
    overlap: float = 0.15
    """The probability that another speaker begins before a turn has ended."""
    overlap_seconds: tuple[float, float] = (0.2, 1.5)
    """The shortest and the longest overlap; it is at most half of either turn."""
    go_on: float = 0.15
    """The probability that the same speaker takes the next turn."""
    gain_db: float = 3.0
    """The standard deviation of the speakers' levels."""
    floor_db: float = -65.0
    """The level of the white noise of the recording, in dBFS."""

    def __post_init__(self) -> None:
        require_number("seconds", self.seconds, above=0, most=MAX_SECONDS)
        require_whole("speakers, the fewest", self.speakers[0], 1)
        require_whole("speakers, the most", self.speakers[1], self.speakers[0])
        for name in ("turn_seconds", "overlap_seconds"):
            low, high = getattr(self, name)
            require_number(f"{name}, the shortest", low, above=0)
            require_number(f"{name}, the longest", high, least=low, most=60)
        if self.turn_seconds[0] > self.seconds:
            raise UsageError(
                f"a conversation of {self.seconds:g} s has no room for a turn of "
                f"{self.turn_seconds[0]:g} s: make it longer"
            )
        require_number("pause_seconds", self.pause_seconds, least=0, most=60)
        require_number("gain_db", self.gain_db, least=0, most=60)
        require_number("floor_db", self.floor_db, most=0)
        for name in ("overlap", "go_on"):
            require_number(name, getattr(self, name), least=0, most=1)

    def draw_turn(self, rng: np.random.Generator) -> float:
        """The duration of a turn in seconds."""
        low, high = self.turn_seconds
        middle = np.log(low * high) / 2
        return float(np.clip(np.exp(rng.normal(middle, _TURN_SPREAD)), low, high))

    def draw_gap(self, rng: np.random.Generator, *, longest_overlap: float) -> float:
        """Seconds from the end of a turn to the start of another speaker's; negative for an
        overlap."""
        if rng.random() < self.overlap:
            return -min(rng.uniform(*self.overlap_seconds), longest_overlap)
        return self.draw_pause(rng)

    def draw_pause(self, rng: np.random.Generator) -> float:
        """Seconds of a pause."""
        return float(rng.exponential(self.pause_seconds))
