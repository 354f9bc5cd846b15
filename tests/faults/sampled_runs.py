"""One rank of a small speaker run with sampled classes: ``sampled_runs.py RUN_DIR``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from vprtrain import runtime
from vprtrain.callbacks import Checkpoint
from vprtrain.engine import Adam, DataModule, Engine
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.ranks import connect_ranks
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule

CLASSES, BATCH_SIZE, SAMPLES = 30, 8, 1600


class Mean(SpeakerEncoder):
    """A projection of the mean frame: an embedding does not depend on the rest of the batch."""

    def __init__(self, *, input_size: int = 80, embedding_dim: int = 6) -> None:
        super().__init__(input_size=input_size, embedding_dim=embedding_dim, min_frames=1)
        self.projection = paddle.nn.Linear(input_size, embedding_dim)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return self.projection(x.mean(axis=2))


class Noise(DataModule):
    """Labelled noise. Each rank takes its part of every batch."""

    steps_per_epoch = 8

    def __init__(self) -> None:
        ranks = connect_ranks()
        self.world_size = ranks.size
        self._part = slice(
            ranks.rank * BATCH_SIZE // ranks.size, (ranks.rank + 1) * BATCH_SIZE // ranks.size
        )

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        for number in range(start, self.steps_per_epoch):
            rng = np.random.default_rng([epoch, number])
            waveforms = rng.normal(0, 0.1, (BATCH_SIZE, SAMPLES)).astype("float32")
            labels = rng.integers(0, CLASSES, BATCH_SIZE)
            yield SpeakerBatch(waveforms[self._part], labels[self._part])

    def fingerprint(self) -> dict[str, Any]:
        return {}


def main(run_dir: Path) -> None:
    runtime.prepare()
    runtime.log_to_stderr()
    paddle.seed(4)
    module = SpeakerModule(
        model=Mean(), feature=Fbank(), loss=AAMLoss(), num_classes=CLASSES, class_share=0.4
    )
    engine = Engine(
        run_dir=run_dir,
        optimizer=Adam(learning_rate=0.01, weight_decay=0.01),
        callbacks=[Checkpoint()],
        max_epochs=2,
        accumulate=2,
        clip_norm=0.5,
    )
    engine.fit(module, Noise())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
