"""What is done to a training waveform at random: each a small class with a probability, listed in a
configuration by ``class_path`` and ``init_args`` under ``data.augmentations``, applied in the
list's order."""

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
