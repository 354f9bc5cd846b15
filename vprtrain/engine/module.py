"""What the engine drives: a Module that learns and a DataModule that feeds it. Users write these
two."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import paddle

from vprtrain.ranks.ranks import Ranks

Scalars = dict[str, paddle.Tensor]


class Module(paddle.nn.Layer):
    """Everything with parameters: the network, the head, a loss with weights of its own.

    A subclass implements :meth:`training_step`; one that validates also :meth:`validation_step`
    and :meth:`on_validation_end`, and names its metrics in :attr:`metric_names`.
    """

    metric_names: ClassVar[tuple[str, ...]] = ()
    """What :meth:`on_validation_end` returns, the one that chooses the best model first (lower is
    better)."""

    scheduled: tuple[str, ...] = ()
    """Attributes (floats) that a schedule callback may set, for example ``("margin",)``."""

    ranks: Ranks = Ranks()
    """The processes of the run, set by the engine. Where they share a validation out, each takes in
    its part of the batches, and :meth:`on_validation_end` gathers what all of them found."""

    at_log_point: bool = False
    """Set before each training step; what is only worth its cost in the log (accuracy) is computed
    when true."""

    def on_step_start(self, batches: Sequence[Any], key: int) -> None:
        """A step begins: its micro-batches, and a number to draw from what the device's generator
        does not.

        ``key`` is a function of seed, rank and step, so that a resumed run draws the same.
        """

    def training_step(self, batch: Any) -> tuple[paddle.Tensor, Scalars]:
        """The loss (float32 scalar on the device) of one micro-batch and device scalars to log
        beside it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no training_step: the engine cannot train it"
        )

    def on_validation_start(self) -> None:
        """Called in evaluation mode before the first validation batch."""

    def validation_step(self, batch: Any) -> None:
        """Take in one validation batch (evaluation mode, no gradients)."""
        raise NotImplementedError(
            f"{type(self).__name__} has no validation_step: the engine cannot validate it"
        )

    def on_validation_end(self) -> dict[str, float]:
        """The metrics of the validation batches taken in, exactly those of :attr:`metric_names`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no on_validation_end: the engine cannot validate it"
        )

    def scheduled_value(self, name: str) -> float:
        """The present value of one of :attr:`scheduled`."""
        return float(getattr(self, name))

    def set_scheduled(self, name: str, value: float) -> None:
        """Set one of :attr:`scheduled`."""
        # a number needs none of the bookkeeping of Layer.__setattr__
        object.__setattr__(self, name, value)

    def trained_parameters(self) -> list[paddle.Tensor]:
        """What the optimizer changes: in Paddle, batch normalisation's statistics are parameters
        too."""
        return [parameter for parameter in self.parameters() if not parameter.stop_gradient]

    def state_keys(self) -> dict[str, Any]:
        """The module's own keys for ``model.state`` (JSON values): what is needed to use the model
        elsewhere."""
        return {}

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that can change the weights; a resume with others is refused."""
        return {"module": type(self).__name__}


class ValidationData:
    """The data's side of a validation."""

    unit: str = "examples"
    """What is counted in the throughput, in the plural."""

    def validation_batches(self) -> Iterator[Any] | None:
        """All validation batches, always the same; ``None`` where there is nothing to validate on.

        Of several processes, each may give a part, where the module gathers what comes of them.
        """
        return None

    @property
    def validation_steps(self) -> int | None:
        """How many batches :meth:`validation_batches` gives, for progress bars; ``None`` where it
        is not known."""
        return None


class DataModule(ValidationData, ABC):
    """The data's whole side: batches of training from any position, batches of validation, what
    identifies them.

    Of several processes, each gives its part of every training batch, and says of how many.
    """

    world_size: int = 1
    """Among how many processes each training batch is shared out; the engine refuses another
    number."""

    def setup(self, run_dir: Path | None, *, resumed: bool) -> None:
        """Called once before the first batch of a run, new or resumed; ``run_dir`` is where it
        writes, if it does."""

    def counts(self) -> Mapping[str, int]:
        """What the progress line says about the training data so far, where there is something to
        say."""
        return {}

    def share(self, batch: Any) -> float:
        """Which part of all processes' batch this one is, 0 to 1; equal parts unless overridden."""
        return 1 / self.world_size

    def whole_size(self, batch: Any) -> float:
        """How many :attr:`unit` all processes' batch holds, of which this one is a part."""
        return self.batch_size(batch) / self.share(batch)

    def take_findings(self) -> list[Any]:
        """JSON values found out while loading, that the first process should know. It asks the
        others now and then."""
        return []

    def add_findings(self, findings: list[Any]) -> None:
        """In the first process: what another found."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """How many training batches one epoch has."""

    @abstractmethod
    def train_batches(self, epoch: int, start: int) -> Iterator[Any]:
        """The batches ``start, start + 1, ..`` of an epoch (both counted from 0).

        A function of its arguments alone; nothing that is skipped is decoded. The engine closes the
        iterator (``close()``, where it has one) when it leaves the epoch.
        """

    def state_keys(self) -> dict[str, Any]:
        """The data's own keys for ``model.state`` (JSON values): what is needed to use the model on
        other data of this kind."""
        return {}

    @abstractmethod
    def fingerprint(self) -> Mapping[str, Any]:
        """JSON values that identify the training and validation data and their order."""

    def batch_size(self, batch: Any) -> int:
        """How many :attr:`unit` a batch holds: the leading dimension of its first array unless
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

    def take_findings(self) -> list[Any]:
        return self._data.take_findings()

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
        yield from itertools.islice(self._data.train_batches(0, start), self._count - start)

    def validation_batches(self) -> Iterator[Any] | None:
        batches = self._data.validation_batches()
        return None if batches is None else itertools.islice(batches, self._validation_count)

    @property
    def validation_steps(self) -> int | None:
        return self._validation_count or self._data.validation_steps

    def state_keys(self) -> dict[str, Any]:
        return self._data.state_keys()

    def fingerprint(self) -> Mapping[str, Any]:
        return self._data.fingerprint()

    def batch_size(self, batch: Any) -> int:
        return self._data.batch_size(batch)
