"""Speed perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from vprtrain.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SpeedPerturbation:
    """Plays utterances faster or slower, which shifts the pitch too (Ko et al., Interspeech 2015),
    by resampling.

    A sample gets, with ``probability``, one of ``factors``, each as likely, and stays as it is
    otherwise. With ``new_speakers`` a voice at another speed is another class: the ``k``-th
    factor's are ``speaker + k * num_speakers``, as in WeSpeaker and 3D-Speaker. Put 1.0 first, so
    that the voices as they are keep their numbers. A probability of 0 keeps the classes and
    perturbs nothing, as large-margin fine-tuning has it.
    """

    factors: tuple[float, ...] = (1.0, 0.9, 1.1)
    new_speakers: bool = True
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.factors or not all(0.5 <= factor <= 2 for factor in self.factors):
            raise UsageError(
                f"speed_perturbation: factors are {self.factors}; expected one or more from 0.5 to 2"
            )
        if not 0 <= self.probability <= 1:
            raise UsageError(
                f"speed_perturbation: probability is {self.probability}; expected 0 to 1"
            )
        if self.probability < 1 and 1.0 not in self.factors:
            raise UsageError(
                f"speed_perturbation: factors are {self.factors}; expected 1.0 among them, for those left"
            )

    def fingerprint(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return {
            "factors": list(self.factors),
            "new_speakers": self.new_speakers,
            "probability": self.probability,
        }

    def draw(self, rng: np.random.Generator) -> int:
        """Which of ``factors`` a sample gets."""
        choice = int(rng.integers(len(self.factors)))
        return (
            choice
            if self.probability == 1 or rng.random() < self.probability
            else self.factors.index(1.0)
        )

    def num_classes(self, num_speakers: int) -> int:
        """How many classes the speakers become."""
        return num_speakers * len(self.factors) if self.new_speakers else num_speakers

    def label(self, speaker: int, choice: int, num_speakers: int) -> int:
        """The class of a speaker at the ``choice``-th speed."""
        return speaker + choice * num_speakers if self.new_speakers else speaker

    def apply(self, waveform: np.ndarray, choice: int) -> np.ndarray:
        """float32 ``[samples / factors[choice]]``."""
        factor = self.factors[choice]
        return waveform if factor == 1 else soxr.resample(waveform, factor, 1.0, quality="HQ")
