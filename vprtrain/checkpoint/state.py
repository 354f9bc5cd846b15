"""The record that ``model.state`` holds: the position of a run, its newest metrics, its best
record, and what the module needs to be used again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from vprtrain.errors import UsageError
from vprtrain.version import __version__

SCHEMA = 1

_FIXED_KEYS = (
    *("schema", "version", "last_epoch", "step", "batch_in_epoch", "validation_pending"),
    *("learning_rate", "seed", "world_size", "running_loss", "callbacks", "config_sha256"),
    *("data_sha256", "fingerprint", "metrics_offset", "best_step", "files", "sha256"),
)


@dataclass(frozen=True)
class RunningLoss:
    """The training losses since the newest log point."""

    sum: float
    count: int


class BestRecord(NamedTuple):
    """The lowest value of the monitored metric so far."""

    metric: str
    value: float | None = None
    """``None`` before the first validation."""
    step: int | None = None
    """The step at which the value was measured."""


@dataclass(frozen=True, kw_only=True)
class CheckpointState:
    """The content of ``model.state``, except the file's own digest.

    The constructor makes a new record, :meth:`derived` one for other weights of the same model,
    :func:`dataclasses.replace` one with single fields changed, and
    :func:`vprtrain.checkpoint.state_file.read_state` reads one from disk.

    Raises:
        UsageError: two fields would use the same key of the file.
    """

    version: str = __version__
    """The version of vprtrain that wrote the checkpoint."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """The keys of the module and of its data (JSON values)."""
    last_epoch: int = 0
    """Completed epochs."""
    step: int = 0
    """Completed optimizer updates."""
    batch_in_epoch: int = 0
    """Training batches of the current epoch that have been consumed."""
    validation_pending: bool = False
    """A validation was due at this position and was interrupted."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """The newest validation's metrics, first the one that selects the best model; ``None`` before
    the first validation."""
    metrics_step: int | None = None
    """The step of the newest validation. Its key is ``<first metric>_step``."""
    learning_rate: float | None = None
    """``None``, as the next two, if no run made these weights."""
    seed: int | None = None
    world_size: int | None = None
    running_loss: RunningLoss | None = None
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The states of the callbacks, by name."""
    config_sha256: str | None = None
    data_sha256: str | None = None
    fingerprint: Mapping[str, Mapping[str, Any]] | None = None
    """``config`` and ``data``: what a resume must find unchanged."""
    metrics_offset: int | None = None
    """The size of ``metrics.jsonl`` in bytes."""
    best: BestRecord | None = None
    """Its keys are ``best_<metric>`` and ``best_step``. ``None`` if no metric is monitored."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further keys (JSON values), written after the engine's: the origin of converted, averaged or
    exported weights, and what a user's callback adds."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file, by name."""

    def __post_init__(self) -> None:
        keys = [*_FIXED_KEYS, *self.own, *self.metrics, *self._metrics_step_item(), *self.extra]
        keys += self._best_items().keys() - {"best_step"}
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise UsageError(
                f"model.state would have the key {twice[0]!r} twice: rename that key of the "
                "module, data or callback, or that metric"
            )

    def derived(self, **extra: Any) -> CheckpointState:
        """The record for other weights of the same model, which were never validated and which no
        run resumes from.

        Args:
            extra: keys that say where the weights come from (JSON values).
        """
        return CheckpointState(
            own=self.own,
            last_epoch=self.last_epoch,
            step=self.step,
            metrics=dict.fromkeys(self.metrics),
            learning_rate=self.learning_rate,
            seed=self.seed,
            best=None if self.best is None else BestRecord(self.best.metric),
            extra=extra,
        )

    def with_extra(self, **extra: Any) -> CheckpointState:
        """This record with further keys (JSON values)."""
        return replace(self, extra={**self.extra, **extra})

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file, its keys in the order of the file."""
        running_loss = None if self.running_loss is None else asdict(self.running_loss)
        return {
            "schema": SCHEMA,
            "version": self.version,
            **self.own,
            "last_epoch": self.last_epoch,
            "step": self.step,
            "batch_in_epoch": self.batch_in_epoch,
            "validation_pending": self.validation_pending,
            **self.metrics,
            **self._metrics_step_item(),
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "world_size": self.world_size,
            **_unless_none(running_loss=running_loss),
            "callbacks": self.callbacks,
            "config_sha256": self.config_sha256,
            "data_sha256": self.data_sha256,
            **_unless_none(fingerprint=self.fingerprint, metrics_offset=self.metrics_offset),
            **self._best_items(),
            **self.extra,
            "files": self.files,
        }

    def _metrics_step_item(self) -> dict[str, int | None]:
        return {f"{name}_step": self.metrics_step for name in list(self.metrics)[:1]}

    def _best_items(self) -> dict[str, float | None]:
        if self.best is None:
            return {}
        return {f"best_{self.best.metric}": self.best.value, "best_step": self.best.step}


def _unless_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
