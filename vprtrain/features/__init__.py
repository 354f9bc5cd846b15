"""Feature layers: waveforms in, frames of features out."""

from vprtrain.features.fbank import Fbank

__all__ = ["Fbank"]
