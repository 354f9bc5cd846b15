"""The base class of augmentations, and a choice among several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from vprtrain.errors import UsageError
from vprtrain.spec import Specified, class_path


class Augmentation(Specified, ABC):
    """A change of a waveform that is made with a probability.

    All random numbers come from the generator that is passed to a call, so a sample depends on its
    key only. An instance is called from several threads at once.

    Raises:
        UsageError: ``probability`` is not from 0 to 1.
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
        """The unchanged waveform, or the result of :meth:`apply`: float32 ``[samples]``.

        Raises:
            AudioError: a file that was drawn cannot be used. The caller skips this augmentation and
                reports the file, as it reports an utterance that cannot be read.
        """
        return (
            self.apply(waveform, rng, sample_rate) if rng.random() < self.probability else waveform
        )

    @abstractmethod
    def apply(self, waveform: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
        """The changed waveform in a new array; it may be shorter."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that the result depends on: the class, its arguments, and the content of the
        files that they name."""
        arguments = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.init_args.items()
        }
        return {
            "class_path": class_path(type(self)),
            "init_args": {**arguments, **self._contents()},
        }

    def _contents(self) -> dict[str, Any]:
        """Arguments that are paths, replaced by what identifies the content."""
        return {}


class OneOf(Augmentation):
    """One of several augmentations, all equally likely, each with its own probability.

    WeSpeaker uses ``OneOf(probability=0.6)`` of ``Reverberation(probability=1)`` and
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
    """The bounds of a range.

    Raises:
        UsageError: not ``low <= high``.
    """
    low, high = pair
    if not low <= high:
        raise UsageError(
            f"{type(owner).__name__}: {name} is {low} to {high}; expected the lower bound first"
        )
    return low, high
