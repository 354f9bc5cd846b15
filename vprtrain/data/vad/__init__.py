"""Voice activity detection: which parts of a waveform hold speech."""

from vprtrain.data.vad.detector import (
    Segment,
    VoiceActivityDetector,
    keep_speech,
    speech_seconds,
)
from vprtrain.data.vad.energy import EnergyDetector
from vprtrain.data.vad.silero import SileroDetector

__all__ = [
    "EnergyDetector",
    "Segment",
    "SileroDetector",
    "VoiceActivityDetector",
    "keep_speech",
    "speech_seconds",
]
