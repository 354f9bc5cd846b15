"""The evaluation of a checkpoint on trial lists.

:func:`evaluate` carries out an :class:`EvaluationTask`: it embeds all recordings once
(:class:`CachedEmbedder`, which keeps them in an :class:`EmbeddingStore`), scores the trials with
each form of enrolment (:mod:`vprtrain.evaluation.trial_sets`), normalises the scores by a cohort
(:func:`extract_cohort`), and writes the report (:mod:`vprtrain.scoring.report`).
"""

from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.evaluation.extraction import CachedEmbedder, EmbeddingRuntime
from vprtrain.evaluation.task import EvaluationTask, evaluate, report_folder

__all__ = [
    "CachedEmbedder",
    "EmbeddingRuntime",
    "EmbeddingStore",
    "EvaluationTask",
    "evaluate",
    "extract_cohort",
    "report_folder",
]
