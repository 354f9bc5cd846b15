"""Training samples and batches of vprtrain."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from vprtrain import runtime


def crops(*, manifest: str, musan: str, augment: bool, items: int) -> Callable[[], float]:
    """``items`` samples of 3 s, one after the other."""
    import numpy as np

    from vprtrain.data.augmentation import AdditiveNoise, SpeedPerturbation
    from vprtrain.data.dataset import TrainingCrops
    from vprtrain.data.manifest import read_manifest
    from vprtrain.data.source import Source

    dataset = TrainingCrops(
        source=Source(manifest=read_manifest(manifest)),
        crop_seconds=(3.0, 3.0),
        seed=0,
        speed_perturbation=SpeedPerturbation(new_speakers=False) if augment else None,
        augmentations=[AdditiveNoise(manifest=musan, probability=0.2)] if augment else [],
    )
    epochs = count()

    def step() -> float:
        epoch = next(epochs)
        waveforms = [
            dataset.sample(epoch, draw % len(dataset.source.manifest), 48000).waveform
            for draw in range(items)
        ]
        return float(np.mean([np.abs(waveform).mean() for waveform in waveforms]))

    return step


def manifest(*, path: str) -> Callable[[], float]:
    """Reading a manifest."""
    from vprtrain.data.manifest import read_manifest

    return lambda: float(len(read_manifest(path)))


def batches(
    *, manifest: str, musan: str, rirs: str, batch: int, workers: int, features: bool
) -> Callable[[], float]:
    """A batch of 3 s waveforms with all augmentations, or of their features, from the loader."""
    runtime.prepare(threads=1)

    import paddle

    from vprtrain.data.augmentation import AdditiveNoise, OneOf, Reverberation, SpeedPerturbation
    from vprtrain.features import Fbank
    from vprtrain.speaker.data import SpeakerData

    noise, room = (
        AdditiveNoise(manifest=musan, probability=1),
        Reverberation(manifest=rirs, probability=1),
    )
    data = SpeakerData.from_files(
        train_manifest=manifest,
        batch_size=batch,
        workers=workers,
        speed_perturbation=SpeedPerturbation(),
        augmentations=[OneOf(choices=[room, noise], probability=0.6)],
    )
    stream = (batch.waveforms for epoch in count() for batch in data.train_batches(epoch, 0))
    fbank = Fbank(mean_norm=True)

    def step() -> float:
        waveforms = next(stream)
        return (
            float(fbank(paddle.to_tensor(waveforms)).mean())
            if features
            else float(abs(waveforms).mean())
        )

    return step
