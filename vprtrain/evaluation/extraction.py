"""The embeddings of many utterances, each computed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from tqdm import tqdm

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.loader import load_in_order
from vprtrain.data.whole_utterances import BLOCK, EvaluationBatch, WholeUtterances
from vprtrain.errors import RunError
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.files import path_from_here
from vprtrain.ranks.ranks import Ranks
from vprtrain.speaker.module import SpeakerModule
from vprtrain.version import __version__

log = logging.getLogger(__name__)

BLOCKS_PER_ROUND = 16
"""Several ranks gather their embeddings after this number of blocks of each. With fewer, they would
often wait for each other."""


class EmbeddingRuntime(NamedTuple):
    """Another runtime than Paddle that computes a checkpoint's embeddings."""

    name: str
    """With its version."""
    embed: Callable[[Sequence[np.ndarray]], np.ndarray]
    """Maps waveforms, float32 ``[samples]``, to embeddings, float32 ``[waveforms, embedding_dim]``.
    Several threads call it. The embedding of a waveform depends on no other to its last bit."""
    threads: int
    """How many threads call it."""


class CachedEmbedder:
    """Computes the embeddings of a checkpoint and keeps them on disk.

    They are computed by the code that validates during training, unless another runtime is given.
    Several ranks share the utterances; rank 0 keeps the embeddings of all.

    Args:
        saved: the checkpoint. Its averaged weights are used if it has them.
        cache: the folder for all embeddings, of any checkpoint and utterances: an
            :class:`EmbeddingStore` tells them apart by digests.
        ranks: the ranks of the run, all of which must make the same calls; ``None`` for one
            process.
        runtime: what computes the embeddings; ``None`` for Paddle. Only for one process.

    Raises:
        CheckpointError: the checkpoint is not that of a speaker model.
    """

    def __init__(
        self,
        saved: SavedCheckpoint,
        *,
        cache: Path,
        ranks: Ranks | None = None,
        runtime: EmbeddingRuntime | None = None,
    ) -> None:
        self._runtime = runtime
        self.module = SpeakerModule.from_checkpoint(saved)
        self.module.ranks = ranks or Ranks()
        self.digest = weights_sha256(saved)
        self._source = saved.folder
        self._cache = cache

    def embed(self, utterances: WholeUtterances, *, manifest_sha256: str) -> EmbeddingStore | None:
        """Compute the embeddings of all utterances.

        Embeddings on disk from an earlier call, also one that was killed, are not computed again.
        Memory holds one batch (with several ranks: one round of batches) and one part of the store.

        Args:
            manifest_sha256: the digest of the list that names the utterances.

        Returns:
            The store, with NaN for utterances without samples; ``None`` on ranks other than 0.

        Raises:
            RunError: an embedding is not finite, or the store cannot be written.
        """
        ranks = self.module.ranks
        if not ranks.is_first:
            for _ in self._embed_from(utterances, start=ranks.exchange(None)[0]):
                pass  # rank 0 gets what this rank computes
            return None
        store = EmbeddingStore(self._cache, about=self._about(utterances, manifest_sha256))
        start = ranks.exchange(len(store))[0]
        if start == len(utterances):
            folder = path_from_here(store.folder)
            log.info("the embeddings of all %d utterances are in %s", len(store), folder)
            return store
        log.info("embedding %d utterances; %d are done already", len(utterances), start)
        bar = tqdm(
            total=len(utterances), initial=start, unit="utterance", dynamic_ncols=True, disable=None
        )
        try:
            with bar:
                for keys, rows in self._embed_from(utterances, start=start):
                    store.add(keys, rows)
                    bar.update(len(keys))
        finally:
            store.flush()
        return store

    @paddle.no_grad()
    def _embed_from(
        self, utterances: WholeUtterances, *, start: int
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        """Ids and embeddings of all ranks, in order, from the utterance with index ``start`` on."""
        ranks = self.module.ranks
        if ranks.size == 1:
            yield from self._embed_all(utterances.batches(start))
            return
        step = BLOCK * BLOCKS_PER_ROUND * ranks.size
        while start < len(utterances):
            end = (start // step + 1) * step
            batches = utterances.batches(start, end)
            own: dict[str, np.ndarray] = {}
            for batch in batches:
                own.update(zip(batch.keys, self._embeddings(batch), strict=True))
            gathered = self.module.gather_embeddings(own)
            keys = utterances.keys[start:end]
            yield keys, np.stack([gathered[key] for key in keys])
            start = end

    def _embed_all(
        self, batches: Iterator[EvaluationBatch]
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        """Ids and embeddings of batches, which several threads compute if the runtime lets them."""
        threads = 0 if self._runtime is None else self._runtime.threads
        with closing(
            load_in_order(
                lambda batch: (batch.keys, self._embeddings(batch)),
                batches,
                workers=threads,
                prefetch=2 * threads,
            )
        ) as found:
            yield from found

    def _embeddings(self, batch: EvaluationBatch) -> np.ndarray:
        if not batch.waveforms.shape[1]:
            return np.full((len(batch.keys), self.module.model.embedding_dim), np.nan, np.float32)
        if self._runtime is None:
            embeddings = self.module.embeddings(batch)
        else:
            embeddings = self._runtime.embed(list(batch.waveforms))
        if not np.isfinite(embeddings).all():
            raise RunError(
                f"{self._source}: the model gives embeddings that are not finite; use an "
                "earlier checkpoint"
            )
        return embeddings

    def _about(self, utterances: WholeUtterances, manifest_sha256: str) -> dict[str, Any]:
        return {
            "version": __version__,  # another version may compute other embeddings
            "weights_sha256": self.digest,
            "model": self.module.model.spec,
            "feature": self.module.feature.spec,
            "manifest_sha256": manifest_sha256,
            **({} if self._runtime is None else {"runtime": self._runtime.name}),
            **utterances.fingerprint(),
        }


def weights_sha256(saved: SavedCheckpoint) -> str:
    """The digest of the weights that inference uses (averaged, if any), as in ``model.state``."""
    return saved.state.files[saved.weights_file]
