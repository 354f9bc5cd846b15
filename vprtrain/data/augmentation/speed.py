"""Speed perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from vprtrain.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SpeedPerturbation:
    """Plays utterances faster or slower, which shifts the pitch too (Ko et al., Interspeech 2015), by resampling.

    Every sample gets one of ``factors``, each as likely. With ``new_speakers`` a voice at another speed is another
    class: the ``k``-th factor's are ``speaker + k * num_speakers``, as in WeSpeaker and 3D-Speaker. Put 1.0 first, so
    that the voices as they are keep their numbers.
    """

    factors: tuple[float, ...] = (1.0, 0.9, 1.1)
    new_speakers: bool = True

    def __post_init__(self) -> None:
        if not self.factors or not all(0.5 <= factor <= 2 for factor in self.factors):
            raise UsageError(f"speed_perturbation: factors are {self.factors}; expected one or more from 0.5 to 2")

    def fingerprint(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return {"factors": list(self.factors), "new_speakers": self.new_speakers}

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
