"""A trained model in an application: embedding, comparison, enrolment, recognition."""

from vprtrain.inference.folder_enrolment import FolderEnrolment, enroll_folder
from vprtrain.inference.predictor import Predictor

__all__ = [
    "FolderEnrolment",
    "Predictor",
    "enroll_folder",
]
