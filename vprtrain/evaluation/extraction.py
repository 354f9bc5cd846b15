"""One pass over utterances: the embedding of each, once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import paddle
from tqdm import tqdm

from vprtrain.checkpoint.snapshot import AVERAGED_MODEL_FILE, MODEL_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.whole_utterances import WholeUtterances
from vprtrain.evaluation.embedding_store import EmbeddingStore
from vprtrain.speaker import SpeakerModule

log = logging.getLogger(__name__)


class Extractor:
    """A checkpoint's embeddings, computed by the code that ``fit`` validates with, and kept on disk.

    Args:
        saved: the checkpoint, of which the averaged weights are used where it has them.
        cache: the folder of all that was ever computed; the checkpoint's and the utterances' digests tell it apart.

    Raises:
        CheckpointError: the checkpoint is not a speaker model's.
    """

    def __init__(self, saved: SavedCheckpoint, *, cache: Path) -> None:
        self.module = SpeakerModule.from_checkpoint(saved)
        self.digest = weights_sha256(saved)
        self._cache = cache

    def __call__(self, utterances: WholeUtterances, *, manifest_sha256: str) -> EmbeddingStore:
        """The embeddings of all utterances.

        One batch and one part of the store are in memory at a time. What is there of an earlier call, also of one
        that was killed, is not computed again.
        """
        store = EmbeddingStore(self._cache, about=self._about(utterances, manifest_sha256))
        if len(store) == len(utterances):
            log.info("the embeddings of %d utterances are in %s", len(store), store.folder)
            return store
        log.info("embedding %d utterances, %d of them done before", len(utterances), len(store))
        bar = tqdm(total=len(utterances), initial=len(store), unit="utterance", dynamic_ncols=True, disable=None)
        try:
            with bar, paddle.no_grad():
                for batch in utterances.batches(start=len(store)):
                    store.add(batch.keys, self.module.embeddings(batch))
                    bar.update(len(batch.keys))
        finally:
            store.flush()
        return store

    def _about(self, utterances: WholeUtterances, manifest_sha256: str) -> dict[str, Any]:
        return {
            "weights_sha256": self.digest,
            "model": self.module.model.spec,
            "feature": self.module.feature.spec,
            "manifest_sha256": manifest_sha256,
            **utterances.fingerprint(),
        }


def weights_sha256(saved: SavedCheckpoint) -> str:
    """The digest of the weights that a checkpoint is used with, as its ``model.state`` says."""
    digest: str = saved.state["files"][AVERAGED_MODEL_FILE if saved.has(AVERAGED_MODEL_FILE) else MODEL_FILE]
    return digest
