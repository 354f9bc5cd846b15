"""One validation, within a fit or alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import paddle

from vprtrain.engine import killpoints
from vprtrain.engine.batches import closing
from vprtrain.engine.hooks import Hooks
from vprtrain.engine.run import ValidationRun
from vprtrain.engine.stop import Interrupted
from vprtrain.errors import UsageError


def run_validation(run: ValidationRun, hooks: Hooks) -> dict[str, float] | None:
    """Validate the run's module in evaluation mode, and restore its mode.

    Returns:
        The metrics; ``None`` if a stop or the end of this validation was requested, and in a
        ``fast_dev_run``, whose few batches give no meaningful metrics.
    """
    module, requests, ranks = run.module, run.requests, run.ranks
    batch_end = hooks.of("on_validation_batch_end")
    requests.end_validation = False
    training = module.training
    hooks.call("on_validation_start", run)
    module.eval()
    module.on_validation_start()
    complete = False
    try:
        with paddle.no_grad(), closing(run.validation_data.validation_batches()) as batches:
            while (batch := _next_batch(run, batches)) is not None:
                module.validation_step(batch)
                for method in batch_end:
                    method(run)
                killpoints.reach("validation")
        complete = True
    except Interrupted:
        ranks.call_attention()
    complete = all(ranks.exchange(complete, hurry=lambda: requests.ends_validation))
    metrics = None
    if complete and not run.settings.fast_dev_run:
        metrics = ranks.exchange(_checked_metrics(run))[0]
        run.record_metrics(metrics, run.progress.step)
    if training:
        module.train()
    hooks.call("on_validation_end", run, metrics)
    return metrics


def _next_batch(run: ValidationRun, batches: Iterator[Any]) -> Any | None:
    """The next batch, ``None`` after the last.

    Raises:
        Interrupted: this process or another rank is to end the validation.
    """
    if run.requests.end_validation or run.ranks.attention:
        raise Interrupted
    with run.requests.waiting_for_data:
        return next(batches, None)


def _checked_metrics(run: ValidationRun) -> dict[str, float]:
    metrics = run.module.on_validation_end()
    if tuple(metrics) != run.module.metric_names:
        raise UsageError(
            f"{type(run.module).__name__}.on_validation_end returned {list(metrics)}: "
            f"expected {list(run.module.metric_names)}, as its metric_names say"
        )
    return metrics
