"""What of a recording is used, as a record of it says."""

from __future__ import annotations

from typing import NamedTuple


class SpeechOptions(NamedTuple):
    """What of a recording is used; ``str()`` names the options of the command line."""

    vad: str | None = None
    """The detector: ``silero``, ``energy``, or ``own``; ``None`` uses the whole recording."""
    level_norm: bool = False
    """Whether recordings are scaled to one level"""

    def __str__(self) -> str:
        given = [f"--vad {self.vad}"] * (self.vad is not None)
        given += ["--level_norm"] * self.level_norm
        return " ".join(given) or "neither --vad nor --level_norm"
