"""What the engine drives: a Module that learns and a DataModule that feeds it. Users write both."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import paddle

from vprtrain.engine.batches import closing
from vprtrain.ranks.ranks import Ranks

Scalars = dict[str, Any]
"""Numbers to log by name: Tensors with one element, or numbers of Python or NumPy"""


class Module(paddle.nn.Layer):
    """Everything with parameters: the network, the head, a loss with its own weights.

    A subclass implements :meth:`training_step`. To be validated, it also implements
    :meth:`validation_step` and :meth:`on_validation_end`, and names its metrics in
    :attr:`metric_names`.
    """

    metric_names: Sequence[str] = ()
    """The names of the metrics that :meth:`on_validation_end` returns. The first one chooses the
    best model (lower is better)."""

    scheduled: tuple[str, ...] = ()
    """Float attributes that a schedule callback may set, for example ``("margin",)``."""

    ranks: Ranks = Ranks()
    """The processes of the run, set by the engine. If they divide a validation, each rank sees its
    part of the batches, and :meth:`on_validation_end` gathers the results of all ranks."""

    at_log_point: bool = False
    """Set before each training step. Scalars that only the log needs (accuracy) are computed when
    it is true."""

    def on_step_start(self, batches: Sequence[Any], key: int) -> None:
        """A step begins.

        Args:
            batches: the micro-batches of the step.
            key: a seed for draws outside the device's generator; a function of seed, rank and step,
                so that a resumed run draws the same.
        """

    def training_step(self, batch: Any) -> tuple[paddle.Tensor, Scalars]:
        """The loss of one micro-batch (a floating-point Tensor with one element), and further
        numbers to log by name.

        The global generators of Paddle, NumPy and ``random`` are seeded before each step, so that a
        resumed run draws the same. Numbers to log are best left on the device: they are fetched at
        log points only.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no training_step: the engine cannot train it"
        )

    def on_validation_start(self) -> None:
        """Called in evaluation mode before the first validation batch.

        Forget earlier batches here: those of a validation that was cut short, and those that the
        engine tries before the first step.
        """

    def validation_step(self, batch: Any) -> None:
        """Process one validation batch (evaluation mode, no gradients)."""
        raise NotImplementedError(
            f"{type(self).__name__} has no validation_step: the engine cannot validate it"
        )

    def on_validation_end(self) -> dict[str, float]:
        """The metrics over all validation batches, exactly those of :attr:`metric_names`, in any
        order and as numbers of any kind."""
        raise NotImplementedError(
            f"{type(self).__name__} has no on_validation_end: the engine cannot validate it"
        )

    def predict_step(self, batch: Any) -> Any:
        """The output for one batch of ``Engine.predict`` (evaluation mode, no gradients)."""
        raise NotImplementedError(
            f"{type(self).__name__} has no predict_step: the engine cannot predict with it"
        )

    def scheduled_value(self, name: str) -> float:
        """The current value of one of :attr:`scheduled`."""
        return float(getattr(self, name))

    def set_scheduled(self, name: str, value: float) -> None:
        """Set one of :attr:`scheduled`."""
        # a number does not need the bookkeeping of Layer.__setattr__
        object.__setattr__(self, name, value)

    def trained_parameters(self) -> list[paddle.Tensor]:
        """The parameters that the optimizer updates. (In Paddle, the statistics of batch
        normalisation are parameters too.)"""
        return [parameter for parameter in self.parameters() if not parameter.stop_gradient]

    def state_keys(self) -> dict[str, Any]:
        """The module's own keys for ``model.state`` (JSON values): what users of the model need."""
        return {}

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that can change the weights. A resume with other values is refused."""
        return {"module": type(self).__name__}


class ValidationData:
    """The data of a validation."""

    unit: str = "examples"
    """What the throughput counts, in the plural."""

    def validation_batches(self) -> Iterator[Any] | None:
        """All validation batches, the same in every call; ``None`` without validation data.

        With several ranks each may give a part, if the module gathers the results.
        """
        return None

    @property
    def validation_steps(self) -> int | None:
        """The number of batches in :meth:`validation_batches`, for progress bars; ``None`` if
        unknown."""
        return None


class DataModule(ValidationData, ABC):
    """Training batches from any position, validation batches, and the fingerprint of both.

    With several ranks each gives its part of every training batch.
    """

    world_size: int = 1
    """The number of ranks that each training batch is divided among. It must be the run's."""

    def setup(self, run_dir: Path | None, *, resumed: bool) -> None:
        """Called once before the first batch of a run, new or resumed. ``run_dir`` is ``None`` if
        this rank writes nothing."""

    def counts(self) -> Mapping[str, int]:
        """Counts about the training data so far, by name, for the progress line."""
        return {}

    def share(self, batch: Any) -> float:
        """The share of this rank's batch in the batch of all ranks, 0 to 1; equal unless
        overridden."""
        return 1 / self.world_size

    def whole_size(self, batch: Any) -> float:
        """How many :attr:`unit` the batch of all ranks holds, of which this batch is a part."""
        return self.batch_size(batch) / self.share(batch)

    def pop_findings(self) -> list[Any]:
        """JSON values found while loading since the last call. The engine collects them from all
        ranks and gives them to rank 0."""
        return []

    def add_findings(self, findings: list[Any]) -> None:
        """On rank 0: take the findings of another rank."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """The number of training batches in one epoch."""

    @abstractmethod
    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        """The batches ``start, start + 1, ..`` of an epoch (both counted from 0).

        The result depends on the arguments alone, and skipped batches are not decoded. When the
        engine leaves the epoch it calls the iterator's ``close()``, if there is one.
        """

    def state_keys(self) -> dict[str, Any]:
        """The data's own keys for ``model.state`` (JSON values): what is needed to use the model on
        other data of this kind."""
        return {}

    @abstractmethod
    def fingerprint(self) -> Mapping[str, Any]:
        """JSON values that identify the training and validation data and their order."""

    def batch_size(self, batch: Any) -> int:
        """How many :attr:`unit` a batch holds: the leading dimension of its first array, unless
        overridden."""
        if hasattr(batch, "shape"):
            return int(batch.shape[0])
        if isinstance(batch, Mapping):
            return self.batch_size(next(iter(batch.values())))
        return self.batch_size(batch[0])


class FirstBatches(DataModule):
    """The first few batches of another DataModule as its whole epoch, the same in every epoch.

    Args:
        count: training batches.
        validation_count: validation batches; ``None`` for all of them.
    """

    def __init__(
        self, data: DataModule, *, count: int, validation_count: int | None = None
    ) -> None:
        self._data = data
        self._count = min(count, data.steps_per_epoch)
        self._validation_count = validation_count
        self.unit = data.unit
        self.world_size = data.world_size

    def share(self, batch: Any) -> float:
        return self._data.share(batch)

    def pop_findings(self) -> list[Any]:
        return self._data.pop_findings()

    def add_findings(self, findings: list[Any]) -> None:
        self._data.add_findings(findings)

    def setup(self, run_dir: Path | None, *, resumed: bool) -> None:
        self._data.setup(run_dir, resumed=resumed)

    def counts(self) -> Mapping[str, int]:
        return self._data.counts()

    @property
    def steps_per_epoch(self) -> int:
        return self._count

    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        with closing(self._data.train_batches(0, start)) as batches:
            yield from itertools.islice(batches, self._count - start)

    def validation_batches(self) -> Iterator[Any] | None:
        batches = self._data.validation_batches()
        return None if batches is None else self._first(batches)

    def _first(self, batches: Iterator[Any]) -> Iterator[Any]:
        with closing(batches) as open_batches:
            yield from itertools.islice(open_batches, self._validation_count)

    @property
    def validation_steps(self) -> int | None:
        return self._validation_count or self._data.validation_steps

    def state_keys(self) -> dict[str, Any]:
        return self._data.state_keys()

    def fingerprint(self) -> Mapping[str, Any]:
        return self._data.fingerprint()

    def batch_size(self, batch: Any) -> int:
        return self._data.batch_size(batch)
