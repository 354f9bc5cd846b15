"""Who speaks when in a recording (diarization)."""

from vprtrain.diarization.clustering import Clustering
from vprtrain.diarization.diarizer import Diarization, Diarizer, Turn
from vprtrain.diarization.naming import speaker_names
from vprtrain.diarization.plot import timeline_plot
from vprtrain.diarization.resegmentation import Resegmentation
from vprtrain.diarization.windows import EmbeddedWindows, WindowEmbedder

__all__ = [
    "Clustering",
    "Diarization",
    "Diarizer",
    "EmbeddedWindows",
    "Resegmentation",
    "Turn",
    "WindowEmbedder",
    "speaker_names",
    "timeline_plot",
]
