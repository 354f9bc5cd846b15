"""Feature layers: waveforms in, frames of features out; and their augmentation."""

from vprtrain.features.extractor import FeatureExtractor
from vprtrain.features.fbank import Fbank
from vprtrain.features.spec_augment import SpecAugment
from vprtrain.features.spectral import MFCC, LogMelSpectrogram, MelSpectrogram, Spectrogram
from vprtrain.features.speechbrain_fbank import SpeechBrainFbank

__all__ = [
    "MFCC",
    "Fbank",
    "FeatureExtractor",
    "LogMelSpectrogram",
    "MelSpectrogram",
    "SpecAugment",
    "Spectrogram",
    "SpeechBrainFbank",
]
