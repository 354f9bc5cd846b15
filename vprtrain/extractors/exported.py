"""Exported models: their record, and the extractor that their runtimes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from vprtrain.checkpoint.state_file import STATE_FILE, SavedCheckpoint
from vprtrain.errors import SAMPLE_RATES, CheckpointError, cause, shown
from vprtrain.extractors.extractor import Extractor, embedding_digest, padded
from vprtrain.speaker.state import SpeakerState
from vprtrain.spec import build

if TYPE_CHECKING:  # importing the module imports Paddle
    from vprtrain.features import FeatureExtractor

GraphInput = Literal["waveform", "features"]
Client = Literal["sherpa-onnx", "wespeaker"]
"""A runtime of the field that computes the features itself."""
Precision = Literal["float32", "float16", "int8"]

_MOST_SIZE = 10_000_000


class GraphInterface(NamedTuple):
    """The names of a graph's inputs and of its output."""

    inputs: tuple[str, ...]
    """First ``waveforms`` or features; then the lengths, if the graph takes them."""
    output: str

    @property
    def takes_lengths(self) -> bool:
        """Whether shorter utterances of a batch may be padded."""
        return len(self.inputs) == 2


_OWN: dict[GraphInput, GraphInterface] = {
    "waveform": GraphInterface(("waveforms", "lengths"), "embeddings"),
    "features": GraphInterface(("features", "lengths"), "embeddings"),
}
_OF_CLIENTS: dict[Client, GraphInterface] = {
    "sherpa-onnx": GraphInterface(("x",), "embedding"),
    "wespeaker": GraphInterface(("feats",), "embs"),
}


def graph_interface(input: GraphInput, client: Client | None, lengths: bool) -> GraphInterface:
    """The interface of an exported graph, by these entries of its :class:`ExportRecord`."""
    if client is not None:
        return _OF_CLIENTS[client]
    own = _OWN[input]
    return own if lengths else own._replace(inputs=own.inputs[:1])


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
    client: Client | None = None
    """The runtime that the graph is for. Its only input is then features, its batch of equal
    lengths."""
    precision: Precision = "float32"
    """Of the weights of the ONNX model."""
    lengths: bool = True
    """Whether the graph takes the second input, unless it is for a client. Without it, each batch
    has equal lengths."""

    @property
    def interface(self) -> GraphInterface:
        return graph_interface(self.input, self.client, self.lengths)

    def as_json(self) -> dict[str, Any]:
        """What :meth:`read` reads. ``lengths`` is there only if false: earlier versions refuse a
        key that they do not know."""
        content = asdict(self)
        if self.lengths:
            del content["lengths"]
        return content

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
        names = {field.name for field in fields(cls)}
        required = {field.name for field in fields(cls) if field.default is MISSING}
        return (
            required <= found.keys() <= names
            and found["input"] in get_args(GraphInput)
            and found.get("client") in (None, *get_args(Client))
            and found.get("precision", "float32") in get_args(Precision)
            and isinstance(found.get("lengths", True), bool)
            and isinstance(found["weights_sha256"], str)
            and found["sample_rate"] in SAMPLE_RATES
            and all(
                type(number) is int and 0 < number <= limit
                for number, limit in zip(numbers, most, strict=True)
            )
        )


class ExportedExtractor(Extractor):
    """An exported model. A subclass implements :meth:`run`.

    Args:
        batches: run several waveforms as one padded batch, if the graph can; otherwise one by one.

    Raises:
        CheckpointError: ``model.state`` is not an exported model's.
    """

    def __init__(self, saved: SavedCheckpoint, *, batches: bool) -> None:
        record = ExportRecord.read(saved)
        self.folder = saved.folder
        self.interface = record.interface
        self._batches = batches and record.interface.takes_lengths
        self.state = SpeakerState.of(saved)
        self.sample_rate = record.sample_rate
        self.min_samples = record.min_samples
        self.embedding_dim = record.embedding_dim
        self.digest = embedding_digest(
            self.state, weights_sha256=record.weights_sha256, sample_rate=record.sample_rate
        )
        self._feature: FeatureExtractor | None = None
        if record.input == "features":
            from vprtrain.features import FeatureExtractor

            self._feature = build(
                self.state.feature, FeatureExtractor, str(saved.folder), self.state.imports
            )
            self._feature.eval()

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        """The graph's output for the inputs that its interface names. Several threads may call it.
        Any exception means that the graph does not fit the record."""
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        batch, lengths = padded(waveforms)
        inputs = (batch, lengths)
        if self._feature is not None:
            inputs = (self._feature.on_host(batch, lengths), self._feature.frames(lengths))
        try:
            found = self._run_batch(*inputs)
        except Exception as error:  # the runtimes' errors have no common base class
            raise CheckpointError(f"{self.folder} cannot be run ({cause(error)})") from error
        expected = (len(waveforms), self.embedding_dim)
        if found.shape != expected or found.dtype != np.float32:
            raise CheckpointError(
                f"{self.folder} gives {found.dtype} of the shape {found.shape}, expected float32 "
                f"of the shape {expected}: its graph is not that of its model.state"
            )
        return found

    def _run_batch(self, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if self._batches:
            return self.run(inputs, lengths)
        alone = []
        for place, length in enumerate(lengths.tolist()):
            row = slice(place, place + 1)
            own = (lengths[row],) if self.interface.takes_lengths else ()
            alone.append(self.run(inputs[row, :length], *own))
        return np.concatenate(alone)
