"""What was measured in a recording, as an answer."""

from __future__ import annotations

from vprtrain.serving.recognizer import Embedded
from vprtrain.serving.schemas import Quality


def quality_of(embedded: Embedded) -> Quality:
    """The quality of a recording that was embedded."""
    speech = embedded.speech
    return Quality(
        seconds=speech.seconds,
        speech_seconds=speech.speech_seconds,
        level=speech.level,
        warnings=embedded.warnings,
    )
