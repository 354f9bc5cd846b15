"""The extractor that uses a checkpoint with the code of training and validation."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import paddle

from vprtrain import runtime
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors.extractor import Extractor, embedding_digest, padded
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.state import SpeakerState, audio_format


class CheckpointExtractor(Extractor):
    """A checkpoint's model, with the averaged weights if it has them.

    Raises:
        UsageError: the device is not available.
        CheckpointError: the checkpoint is not a speaker model's.
    """

    def __init__(self, saved: SavedCheckpoint, *, device: str) -> None:
        runtime.use_device(device)
        self.module = SpeakerModule.from_checkpoint(saved)
        self._lock = threading.Lock()
        self.runtime = f"paddle {paddle.__version__}"
        self.threads = 1
        feature, model = self.module.feature, self.module.model
        self.state = SpeakerState.of(saved)
        self.sample_rate = audio_format(saved).sample_rate
        self.min_samples = feature.min_samples + (model.min_frames - 1) * feature.frame_shift
        self.embedding_dim = model.embedding_dim
        self.digest = embedding_digest(
            self.state, weights_sha256=weights_sha256(saved), sample_rate=self.sample_rate
        )

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        batch, lengths = padded(waveforms)
        uneven = lengths.min() < lengths.max()
        # no_grad changes a setting that all threads share.
        with self._lock, paddle.no_grad():
            embeddings = self.module.embed(batch, lengths if uneven else None)
            found: np.ndarray = embeddings.astype("float32").numpy()
        return found
