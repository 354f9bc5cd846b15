"""Embeddings of many recordings, their scores and reports."""

from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.evaluation.extraction import CachedEmbedder
from vprtrain.evaluation.task import EvaluationTask, evaluate, report_folder

__all__ = [
    "CachedEmbedder",
    "EmbeddingStore",
    "EvaluationTask",
    "evaluate",
    "extract_cohort",
    "report_folder",
]
