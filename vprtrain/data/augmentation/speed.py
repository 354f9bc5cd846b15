"""Speed perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from vprtrain.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SpeedPerturbation:
    """Plays utterances faster or slower by resampling, which also shifts the pitch (Ko et al.,
    Interspeech 2015).

    Args:
        factors: the speeds, all equally likely. Put 1.0 first, so that unchanged voices keep their
            class indices.
        new_speakers: a voice at another speed is another class: factor number ``k`` gives class
            ``speaker + k * num_speakers``, as in WeSpeaker and 3D-Speaker.
        probability: of drawing a factor; otherwise the speed is unchanged. With 0 nothing is
            perturbed but the classes stay, as in large-margin fine-tuning.

    Raises:
        UsageError: a value is out of range.
    """

    factors: tuple[float, ...] = (1.0, 0.9, 1.1)
    new_speakers: bool = True
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.factors or not all(0.5 <= factor <= 2 for factor in self.factors):
            raise UsageError(
                f"speed_perturbation: factors are {self.factors}; "
                "expected one or more from 0.5 to 2"
            )
        if not 0 <= self.probability <= 1:
            raise UsageError(
                f"speed_perturbation: probability is {self.probability}; expected 0 to 1"
            )
        if self.probability < 1 and 1.0 not in self.factors:
            raise UsageError(
                f"speed_perturbation: factors are {self.factors}; expected 1.0 among them, because "
                f"probability is {self.probability}"
            )

    def fingerprint(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return {
            "factors": list(self.factors),
            "new_speakers": self.new_speakers,
            "probability": self.probability,
        }

    def draw(self, rng: np.random.Generator) -> int:
        """The index in ``factors`` of a sample's speed."""
        choice = int(rng.integers(len(self.factors)))
        return (
            choice
            if self.probability == 1 or rng.random() < self.probability
            else self.factors.index(1.0)
        )

    def num_classes(self, num_speakers: int) -> int:
        """The number of classes that the speakers make."""
        return num_speakers * len(self.factors) if self.new_speakers else num_speakers

    def label(self, speaker: int, choice: int, num_speakers: int) -> int:
        """The class of a speaker at speed number ``choice``."""
        return speaker + choice * num_speakers if self.new_speakers else speaker

    def apply(self, waveform: np.ndarray, choice: int) -> np.ndarray:
        """The waveform at speed number ``choice``, float32 ``[samples / factors[choice]]``."""
        factor = self.factors[choice]
        return waveform if factor == 1 else soxr.resample(waveform, factor, 1.0, quality="HQ")
