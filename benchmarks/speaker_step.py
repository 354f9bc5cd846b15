"""The project's training step on synthetic waveforms, on Paddle's current device, for benchmarks
of that device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle

from vprtrain import models
from vprtrain.callbacks.mixed_precision import LossScaler, LowPrecision
from vprtrain.engine import Adam, DataModule
from vprtrain.engine.stepper import Stepper
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss, SpeakerLoss
from vprtrain.models import SpeakerEncoder
from vprtrain.ranks import Ranks
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule

CLASSES = 2000
SAMPLE_RATE = 16000
MODELS = tuple(name for name in models.__all__ if name != SpeakerEncoder.__name__)


class DeviceFbank(Fbank):
    """Takes the path of a GPU, also on a CPU."""

    def forward(self, waveforms: Any, lengths: Any = None) -> paddle.Tensor:
        return self.on_device(waveforms, lengths)


def make_batch(size: int, seconds: float, seed: int = 0) -> SpeakerBatch:
    rng = np.random.default_rng(seed)
    waveforms = rng.normal(0, 0.1, (size, round(seconds * SAMPLE_RATE))).astype("float32")
    return SpeakerBatch(waveforms, rng.integers(0, CLASSES, size))


def make_module(model: str, *, seed: int = 0, loss: SpeakerLoss | None = None) -> SpeakerModule:
    """The same weights for the same seed on every device: they are drawn on the CPU."""
    device = paddle.get_device()
    paddle.set_device("cpu")
    paddle.seed(seed)
    module = _build(model, loss)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    paddle.set_device(device)
    if device != "cpu":
        module = _build(model, loss)
        module.set_state_dict(weights)
    return module


def _build(model: str, loss: SpeakerLoss | None) -> SpeakerModule:
    encoder = getattr(models, model)()
    return SpeakerModule(
        model=encoder,
        feature=DeviceFbank(n_mels=encoder.input_size, mean_norm=True),
        loss=loss or AAMLoss(),
        num_classes=CLASSES,
    )


def make_stepper(module: SpeakerModule, precision: str = "float32") -> Stepper:
    """Steps of Adam with clipping. The precision is ``float32``, ``bfloat16`` or ``float16``."""
    module.train()
    trained = [weight for weight in module.parameters() if not weight.stop_gradient]
    stepper = Stepper(
        module=module,
        trained=trained,
        optimizer=Adam(learning_rate=1e-3).build(trained),
        clip_norm=5.0,
        seed_of=lambda step: step,
        combining=None,
    )
    if precision != "float32":
        scaler = LossScaler() if precision == "float16" else None
        stepper.precision = LowPrecision(dtype=precision, scaler=scaler)
    return stepper


class OneBatch(DataModule):
    """Each rank has its part of one batch, in every step."""

    def __init__(self, batch: SpeakerBatch, *, steps: int, ranks: Ranks | None = None) -> None:
        ranks = ranks or Ranks()
        self.world_size = ranks.size
        self._part = SpeakerBatch(*(each[ranks.rank :: ranks.size] for each in batch))
        self._steps = steps

    @property
    def steps_per_epoch(self) -> int:
        return self._steps

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        yield from [self._part] * (self._steps - start)

    def batch_size(self, batch: SpeakerBatch) -> int:
        return len(batch.waveforms)

    def fingerprint(self) -> dict[str, Any]:
        return {}
