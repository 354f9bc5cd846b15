"""A trained model in an application: embed, compare, enrol, recognise."""

from vprtrain.inference.folder_enrolment import FolderEnrolment, enroll_folder
from vprtrain.inference.predictor import Predictor

__all__ = [
    "FolderEnrolment",
    "enroll_folder",
    "Predictor",
]
