"""What augmentations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.spec import Specified, class_path


class Augmentation(Specified, ABC):
    """A change of a waveform that happens with a probability.

    Everything random is drawn from the generator that a call is given, so that a sample depends on
    its key alone. An instance is called from several threads at once.
    """

    def __init__(self, *, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise UsageError(
                f"{type(self).__name__}: probability is {probability}; expected 0 to 1"
            )
        self.probability = probability

    def __call__(
        self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int
    ) -> np.ndarray:
        """The waveform as it was, or :meth:`apply`'s: float32 ``[samples]`` both.

        Raises :class:`vprtrain.data.audio.reading.AudioError` where a file that was drawn cannot be
        used: the caller leaves this augmentation out and reports the file, as it reports an
        utterance that cannot be read.
        """
        return (
            self.apply(waveform, rng, sample_rate) if rng.random() < self.probability else waveform
        )

    @abstractmethod
    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        """The changed waveform, in a new array; it may be shorter."""

    def fingerprint(self) -> dict[str, Any]:
        """What the outcome depends on, as JSON: the class, its arguments, and the content of files
        they name."""
        arguments = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.init_args.items()
        }
        return {
            "class_path": class_path(type(self)),
            "init_args": {**arguments, **self._contents()},
        }

    def _contents(self) -> dict[str, Any]:
        """What stands in the fingerprint for arguments that say only where something is."""
        return {}


class OneOf(Augmentation):
    """One of several augmentations, each as likely, and then with its own probability.

    WeSpeaker's is ``OneOf(probability=0.6)`` of ``Reverberation(probability=1)`` and
    ``AdditiveNoise(probability=1)``.
    """

    def __init__(self, *, choices: list[Augmentation], probability: float = 1.0) -> None:
        super().__init__(probability=probability)
        if not choices:
            raise UsageError("OneOf: no choices; expected a list of augmentations")
        self.choices = choices

    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        return self.choices[rng.integers(len(self.choices))](waveform, rng, sample_rate)

    def _contents(self) -> dict[str, Any]:
        return {"choices": [choice.fingerprint() for choice in self.choices]}


def ordered_pair(owner: Augmentation, name: str, pair: tuple[float, float]) -> tuple[float, float]:
    """The bounds of a range. Raises :class:`UsageError` where they are not ``low <= high``."""
    low, high = pair
    if not low <= high:
        raise UsageError(
            f"{type(owner).__name__}: {name} is {low} to {high}; expected the lower bound first"
        )
    return low, high
