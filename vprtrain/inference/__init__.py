"""A trained model in an application: embedding, comparison, enrolment, recognition."""

from vprtrain.inference.backends import calibrate_quality, estimate_backend
from vprtrain.inference.calibration import (
    ThresholdEstimate,
    all_pairs,
    embed_recordings,
    estimate_threshold,
    folder_recordings,
    write_calibrated,
)
from vprtrain.inference.embedding_files import write_embeddings
from vprtrain.inference.folder_enrolment import FolderEnrolment, enroll_folder
from vprtrain.inference.matching import Matcher, Voice
from vprtrain.inference.predictor import Predictor
from vprtrain.inference.stream import Decision, SpeakerStream

__all__ = [
    "Decision",
    "FolderEnrolment",
    "Matcher",
    "Predictor",
    "SpeakerStream",
    "ThresholdEstimate",
    "Voice",
    "all_pairs",
    "calibrate_quality",
    "embed_recordings",
    "enroll_folder",
    "estimate_backend",
    "estimate_threshold",
    "folder_recordings",
    "write_calibrated",
    "write_embeddings",
]
