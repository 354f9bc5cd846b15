"""Speaker encoders: feature frames in, one embedding an utterance out."""

from vprtrain.models.campplus import CAMPPlus
from vprtrain.models.ecapa_tdnn import EcapaTdnn
from vprtrain.models.encoder import SpeakerEncoder
from vprtrain.models.tdnn import TDNN

__all__ = ["TDNN", "CAMPPlus", "EcapaTdnn", "SpeakerEncoder"]
