"""The cohort for score normalisation: the speakers of a training manifest."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from vprtrain.data.manifest import Recording, read_manifest
from vprtrain.data.whole_utterances import WholeUtterances
from vprtrain.evaluation.extraction import CachedEmbedder
from vprtrain.scoring.normalize import Cohort, build_cohort

log = logging.getLogger(__name__)


def extract_cohort(
    embedder: CachedEmbedder,
    manifest: str,
    utterances: Callable[[dict[str, Recording]], WholeUtterances],
) -> Cohort | None:
    """Embed every recording of a training manifest, and average the embeddings of each speaker.

    Recordings without samples are left out, as in training.

    Args:
        manifest: lines of ``path<TAB>speaker[<TAB>seconds]``.
        utterances: makes the utterances of recordings, which are given by line number.

    Returns:
        The cohort; ``None`` on ranks other than 0.
    """
    rows = read_manifest(manifest)
    recordings = {
        str(index): Recording(rows[index].path, rows[index].duration) for index in range(len(rows))
    }
    store = embedder.embed(utterances(recordings), manifest_sha256=rows.sha256)
    if store is None:
        return None
    embeddings = np.empty((len(rows), embedder.module.model.embedding_dim), dtype=np.float32)
    for keys, part in store.parts():
        embeddings[[int(key) for key in keys]] = part
    readable = ~np.isnan(embeddings[:, 0])
    if not readable.all():
        log.warning(
            "%s: %d recordings are left out of the cohort", manifest, np.count_nonzero(~readable)
        )
    return build_cohort(embeddings[readable], np.asarray(rows.labels)[readable])
