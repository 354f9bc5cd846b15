"""Random changes of training waveforms. Each is a class with a probability. A configuration lists
them under ``data.augmentations`` by ``class_path`` and ``init_args``; they are applied in this
order."""

from vprtrain.data.augmentation.base import Augmentation, OneOf
from vprtrain.data.augmentation.recorded import AdditiveNoise, Reverberation
from vprtrain.data.augmentation.signal import SilenceTrimming, Volume
from vprtrain.data.augmentation.speed import SpeedPerturbation

__all__ = [
    "AdditiveNoise",
    "Augmentation",
    "OneOf",
    "Reverberation",
    "SilenceTrimming",
    "SpeedPerturbation",
    "Volume",
]
