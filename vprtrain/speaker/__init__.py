"""Speaker verification on the engine: the module, its data, its trials, averaged checkpoints."""

from vprtrain.speaker.averaging import average, choose_checkpoints
from vprtrain.speaker.data import SpeakerBatch, SpeakerData
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.trials import TrialData

__all__ = [
    "average",
    "choose_checkpoints",
    "SpeakerBatch",
    "SpeakerData",
    "SpeakerModule",
    "TrialData",
]
