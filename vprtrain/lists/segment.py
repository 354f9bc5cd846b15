"""Who speaks from when to when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A stretch of a recording in which one speaker speaks. Segments of several speakers may
    overlap.

    Args:
        start: seconds from the beginning of the recording.
        end: seconds, after ``start``.
        speaker: the speaker's name.
    """

    start: float
    end: float
    speaker: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start
