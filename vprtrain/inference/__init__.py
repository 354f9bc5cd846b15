"""A trained model in an application: embedding, comparison, enrolment, recognition."""

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
from vprtrain.inference.predictor import Predictor
from vprtrain.inference.stream import Decision, SpeakerStream

__all__ = [
    "Decision",
    "FolderEnrolment",
    "Predictor",
    "SpeakerStream",
    "ThresholdEstimate",
    "all_pairs",
    "embed_recordings",
    "enroll_folder",
    "estimate_threshold",
    "folder_recordings",
    "write_calibrated",
    "write_embeddings",
]
