"""A checkpoint in use, by the code that trained and validated it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import paddle
import yaml

from vprtrain import runtime
from vprtrain.checkpoint.snapshot import CONFIG_FILE
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError
from vprtrain.evaluation.extraction import weights_sha256
from vprtrain.extractors.extractor import Extractor, embedding_digest, padded
from vprtrain.speaker.module import SpeakerModule


class CheckpointExtractor(Extractor):
    """A checkpoint's model, with the averaged weights where it has them.

    Raises:
        UsageError: there is no such device here.
        CheckpointError: the checkpoint is not a speaker model's.
    """

    def __init__(self, saved: SavedCheckpoint, *, device: str) -> None:
        runtime.use_device(device)
        self.module = SpeakerModule.from_checkpoint(saved)
        self._lock = threading.Lock()
        feature, model = self.module.feature, self.module.model
        self.state = saved.state
        self.sample_rate = trained_sample_rate(saved)
        self.min_samples = feature.min_samples + (model.min_frames - 1) * feature.frame_shift
        self.embedding_dim = model.embedding_dim
        self.digest = embedding_digest(
            saved.state, weights_sha256=weights_sha256(saved), sample_rate=self.sample_rate
        )

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        batch, lengths = padded(waveforms)
        uneven = lengths.min() < lengths.max()
        # Paddle keeps what it does to gradients in one place for all threads.
        with self._lock, paddle.no_grad():
            embeddings = self.module.embed(batch, lengths if uneven else None)
            found: np.ndarray = embeddings.astype("float32").numpy()
        return found


def trained_sample_rate(saved: SavedCheckpoint) -> int:
    """The rate in Hz at which a checkpoint's run read its recordings; where it does not say, the
    feature's."""
    try:
        config = yaml.safe_load(saved.read(CONFIG_FILE))
        rate = config.get("data", {}).get("sample_rate")
        if rate is None:  # not every feature has one
            rate = saved.state["feature"]["init_args"]["sample_rate"]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{saved.folder / CONFIG_FILE} does not say the sample rate ({error!r})"
        ) from error
    if not isinstance(rate, int) or rate < 1:
        raise CheckpointError(f"{saved.folder / CONFIG_FILE}: the sample rate is {rate!r:.80}")
    return rate
