"""What the engine does in evaluation mode: a validation, its check before training, predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import paddle

from vprtrain.engine import killpoints
from vprtrain.engine.batches import closing
from vprtrain.engine.hooks import Hooks
from vprtrain.engine.module import Module
from vprtrain.engine.run import Run, ValidationRun
from vprtrain.engine.scalars import as_float, is_number
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
    hooks.call("on_validation_start", run)
    with _evaluating(module):
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
    hooks.call("on_validation_end", run, metrics)
    return metrics


def check_validation(run: Run) -> None:
    """Try the first few validation batches before the first step of a new run.

    An error in the validation is found before hours of training. Hooks are not called, and nothing
    is measured or recorded. A requested stop ends the check.
    """
    settings, module = run.settings, run.module
    validates = run.validates and not settings.validate_every.never
    if not validates or run.opened is not None or settings.fast_dev_run:
        return
    with _evaluating(module), suppress(Interrupted), paddle.no_grad():
        module.on_validation_start()
        with closing(run.validation_data.validation_batches()) as batches:
            for _ in range(settings.sanity_batches):
                if (batch := _next_batch(run, batches)) is None:
                    break
                module.validation_step(batch)


def predictions(module: Module, batches: Iterable[Any]) -> Iterator[Any]:
    """``module.predict_step`` of each batch, in evaluation mode and without gradients. The end of
    the iterator, also by ``close()``, restores the mode and closes the batches."""
    with _evaluating(module), closing(iter(batches)) as iterator:
        for batch in iterator:
            with paddle.no_grad():  # not around yield: the caller's code has its own mode
                prediction = module.predict_step(batch)
            yield prediction


@contextmanager
def _evaluating(module: Module) -> Iterator[None]:
    """A context in which the module is in evaluation mode; an error restores its mode too."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        if training:
            module.train()


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
    metrics, names = run.module.on_validation_end(), run.module.metric_names
    source = f"{type(run.module).__name__}.on_validation_end"
    if not isinstance(metrics, Mapping) or set(metrics) != set(names):
        found = list(metrics) if isinstance(metrics, Mapping) else f"a {type(metrics).__name__}"
        raise UsageError(
            f"{source} returned {found}: expected {list(names)}, as its metric_names say"
        )
    for name, value in metrics.items():
        if not is_number(value):
            raise UsageError(
                f"{source} returned a {type(value).__name__} as {name!r}: expected one real number"
            )
    return {name: as_float(metrics[name]) for name in names}
