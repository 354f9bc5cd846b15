"""Speaker verification on the engine: the module, its data, its trials, averaged checkpoints."""

from vprtrain.speaker.averaging import average, choose_checkpoints
from vprtrain.speaker.data import SpeakerBatch, SpeakerData
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.state import AudioFormat, SpeakerState, audio_format
from vprtrain.speaker.trials import TrialData

__all__ = [
    "AudioFormat",
    "SpeakerBatch",
    "SpeakerData",
    "SpeakerModule",
    "SpeakerState",
    "TrialData",
    "audio_format",
    "average",
    "choose_checkpoints",
]
