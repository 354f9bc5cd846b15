"""Exported models: their record, and the extractor that their runtimes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint
from vprtrain.errors import SAMPLE_RATES, CheckpointError, cause, shown
from vprtrain.extractors.extractor import Extractor, embedding_digest, padded
from vprtrain.features import FeatureExtractor
from vprtrain.speaker.state import SpeakerState
from vprtrain.spec import build

GraphInput = Literal["waveform", "features"]
GRAPH_INPUTS: dict[GraphInput, str] = {"waveform": "waveforms", "features": "features"}
"""The name of a graph's first input."""
LENGTHS = "lengths"
"""The name of a graph's second input."""
_MOST_SIZE = 10_000_000


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """The key ``export`` of an exported model's ``model.state``. The other keys are those of its
    checkpoint."""

    input: GraphInput
    """The graph's first input, float32: ``waveforms`` ``[batch, samples]`` or ``features``
    ``[batch, frames, size]``. The second input is ``lengths`` ``[batch]``, int64, in samples or
    frames; values after ``lengths`` are padding and are ignored. The only output is the embeddings
    ``[batch, embedding_dim]``."""
    weights_sha256: str
    """The digest of the checkpoint's weights file."""
    sample_rate: int
    """In Hz."""
    min_samples: int
    """The least length of a waveform, in samples."""
    embedding_dim: int

    @classmethod
    def read(cls, saved: SavedCheckpoint) -> ExportRecord:
        """The record of an exported model.

        Raises:
            CheckpointError: there is no record, or it has impossible values.
        """
        found = saved.state.extra.get("export")
        if not isinstance(found, dict) or not cls._is_valid(found):
            raise CheckpointError(
                f"{saved.folder / STATE_FILE} is not an exported model's: its export is "
                f"{shown(found)}, expected {', '.join(field.name for field in fields(cls))}"
            )
        return cls(**found)

    @classmethod
    def _is_valid(cls, found: dict[str, object]) -> bool:
        numbers = [found.get(name) for name in ("sample_rate", "min_samples", "embedding_dim")]
        most = (SAMPLE_RATES[-1], _MOST_SIZE, _MOST_SIZE)
        return (
            found.keys() == {field.name for field in fields(cls)}
            and found["input"] in get_args(GraphInput)
            and isinstance(found["weights_sha256"], str)
            and found["sample_rate"] in SAMPLE_RATES
            and all(
                type(number) is int and 0 < number <= limit
                for number, limit in zip(numbers, most, strict=True)
            )
        )


class ExportedExtractor(Extractor):
    """An exported model. A subclass implements :meth:`run`.

    Raises:
        CheckpointError: ``model.state`` is not an exported model's.
    """

    def __init__(self, saved: SavedCheckpoint) -> None:
        record = ExportRecord.read(saved)
        self.folder = saved.folder
        self.input_names = (GRAPH_INPUTS[record.input], LENGTHS)
        self.state = SpeakerState.of(saved)
        self.sample_rate = record.sample_rate
        self.min_samples = record.min_samples
        self.embedding_dim = record.embedding_dim
        self.digest = embedding_digest(
            self.state, weights_sha256=record.weights_sha256, sample_rate=record.sample_rate
        )
        self._feature: FeatureExtractor | None = None
        if record.input == "features":
            self._feature = build(
                self.state.feature, FeatureExtractor, str(saved.folder), self.state.imports
            )
            self._feature.eval()

    def run(self, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The graph's output for the two inputs that :class:`ExportRecord` describes. Several
        threads may call it. Any exception means that the graph does not fit the record."""
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        batch, lengths = padded(waveforms)
        inputs = (batch, lengths)
        if self._feature is not None:
            inputs = (self._feature.on_host(batch, lengths), self._feature.frames(lengths))
        try:
            found = self.run(*inputs)
        except Exception as error:  # the runtimes' errors have no common base class
            raise CheckpointError(f"{self.folder} cannot be run ({cause(error)})") from error
        expected = (len(waveforms), self.embedding_dim)
        if found.shape != expected or found.dtype != np.float32:
            raise CheckpointError(
                f"{self.folder} gives {found.dtype} of the shape {found.shape}, expected float32 "
                f"of the shape {expected}: its graph is not that of its model.state"
            )
        return found
