"""The evaluation of a checkpoint on trial lists.

:func:`evaluate` carries out an :class:`EvaluationTask`: it embeds all recordings once
(:class:`CachedEmbedder`, which keeps them in an :class:`EmbeddingStore`), scores the trials with
each form of enrolment (:mod:`vprtrain.evaluation.trial_sets`) by the checkpoint's back end, as
cosines, and normalised by a cohort (:func:`extract_cohort`), and writes the report
(:mod:`vprtrain.scoring.report`).

:func:`diarize_folder` says who speaks when in all recordings of a folder.
"""

from vprtrain.evaluation.cohort import extract_cohort
from vprtrain.evaluation.diarization import DiarizedFolder, diarize_folder
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.evaluation.evaluating import evaluate
from vprtrain.evaluation.extraction import CachedEmbedder, EmbeddingRuntime
from vprtrain.evaluation.task import EvaluationTask, report_folder

__all__ = [
    "CachedEmbedder",
    "DiarizedFolder",
    "EmbeddingRuntime",
    "EmbeddingStore",
    "EvaluationTask",
    "diarize_folder",
    "evaluate",
    "extract_cohort",
    "report_folder",
]
