"""Embeddings of many recordings, their scores and reports."""

from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.evaluation.extraction import Extractor
from vprtrain.evaluation.task import Task, evaluate, report_folder

__all__ = [
    "extract_cohort",
    "EmbeddingStore",
    "Extractor",
    "Task",
    "evaluate",
    "report_folder",
]
