"""Voice activity detection: which parts of a recording hold speech."""

from vprtrain.data.vad.detector import (
    Segment,
    VoiceActivityDetector,
    keep_speech,
    speech_seconds,
)
from vprtrain.data.vad.detectors import open_detector
from vprtrain.data.vad.energy import EnergyDetector
from vprtrain.data.vad.silero import SileroDetector
from vprtrain.data.vad.speech_reader import Speech, SpeechReader

__all__ = [
    "EnergyDetector",
    "Segment",
    "SileroDetector",
    "Speech",
    "SpeechReader",
    "VoiceActivityDetector",
    "keep_speech",
    "open_detector",
    "speech_seconds",
]
