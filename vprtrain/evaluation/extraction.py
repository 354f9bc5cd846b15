"""One pass over utterances: the embedding of each, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from tqdm import tqdm

from vprtrain.checkpoint.snapshot import AVERAGED_MODEL_FILE, MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.whole_utterances import BLOCK, EvaluationBatch, WholeUtterances
from vprtrain.errors import RunError
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.ranks.ranks import Ranks
from vprtrain.speaker.module import SpeakerModule
from vprtrain.version import __version__

log = logging.getLogger(__name__)

BLOCKS_IN_A_ROUND = 16
"""Of each of several ranks, after which they gather what they have: enough that one seldom waits
for another."""


class CachedEmbedder:
    """A checkpoint's embeddings, computed by the code that ``fit`` validates with, and kept on
    disk.

    Several ranks share the utterances out; the first keeps all that they compute.

    Args:
        saved: the checkpoint, of which the averaged weights are used where it has them.
        cache: the folder of all that was ever computed; the checkpoint's and the utterances'
            digests tell it apart.
        ranks: the processes that are called with the same.

    Raises:
        CheckpointError: the checkpoint is not a speaker model's.
        RunError: when called: an embedding is not finite, or ``cache`` cannot be written.
    """

    def __init__(self, saved: SavedCheckpoint, *, cache: Path, ranks: Ranks | None = None) -> None:
        self.module = SpeakerModule.from_checkpoint(saved)
        self.module.ranks = ranks or Ranks()
        self.digest = weights_sha256(saved)
        self._source = saved.folder
        self._cache = cache

    def embed(self, utterances: WholeUtterances, *, manifest_sha256: str) -> EmbeddingStore | None:
        """The embeddings of all utterances, NaN for those without samples; ``None`` in every rank
        but the first.

        One batch (of several ranks, some) and one part of the store are in memory at a time. What
        is there of an earlier call, also of one that was killed, is not computed again.
        """
        ranks = self.module.ranks
        if not ranks.is_first:
            for _ in self._embedded(utterances, start=ranks.exchange(None)[0]):
                pass
            return None
        store = EmbeddingStore(self._cache, about=self._about(utterances, manifest_sha256))
        start = ranks.exchange(len(store))[0]
        if start == len(utterances):
            log.info("the embeddings of %d utterances are in %s", len(store), store.folder)
            return store
        log.info("embedding %d utterances, %d of them done before", len(utterances), start)
        bar = tqdm(
            total=len(utterances), initial=start, unit="utterance", dynamic_ncols=True, disable=None
        )
        try:
            with bar:
                for keys, rows in self._embedded(utterances, start=start):
                    store.add(keys, rows)
                    bar.update(len(keys))
        finally:
            store.flush()
        return store

    @paddle.no_grad()
    def _embedded(
        self, utterances: WholeUtterances, *, start: int
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        """Ids from a place on, in their order, and their embeddings by all ranks."""
        ranks = self.module.ranks
        if ranks.size == 1:
            for batch in utterances.batches(start):
                yield batch.keys, self._embeddings(batch)
            return
        step = BLOCK * BLOCKS_IN_A_ROUND * ranks.size
        while start < len(utterances):
            end = (start // step + 1) * step
            batches = utterances.batches(start, end)
            own: dict[str, np.ndarray] = {}
            for batch in batches:
                own.update(zip(batch.keys, self._embeddings(batch), strict=True))
            everyones = self.module.gathered(own)
            keys = utterances.keys[start:end]
            yield keys, np.stack([everyones[key] for key in keys])
            start = end

    def _embeddings(self, batch: EvaluationBatch) -> np.ndarray:
        if not batch.waveforms.shape[1]:
            return np.full((len(batch.keys), self.module.model.embedding_dim), np.nan, np.float32)
        embeddings = self.module.embeddings(batch)
        if not np.isfinite(embeddings).all():
            raise RunError(
                f"{self._source}: the model's embeddings are not finite numbers; take an earlier checkpoint"
            )
        return embeddings

    def _about(self, utterances: WholeUtterances, manifest_sha256: str) -> dict[str, Any]:
        return {
            "version": __version__,  # which may compute otherwise
            "weights_sha256": self.digest,
            "model": self.module.model.spec,
            "feature": self.module.feature.spec,
            "manifest_sha256": manifest_sha256,
            **utterances.fingerprint(),
        }


def weights_sha256(saved: SavedCheckpoint) -> str:
    """The digest of the weights that a checkpoint is used with, as its ``model.state`` says."""
    digest: str = saved.state["files"][
        AVERAGED_MODEL_FILE if saved.has(AVERAGED_MODEL_FILE) else MODEL_FILE
    ]
    return digest
