"""G6: callbacks that only read, loader threads, prefetching and intervals change no bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_encoders import DropoutTDNN

from vprtrain.callbacks import (
    EMA,
    Checkpoint,
    CosineWarmup,
    CsvLog,
    EtaLogger,
    GracefulStop,
    JsonlLog,
    MarginSchedule,
    ModelSummary,
    NanGuard,
    Profiler,
    TensorBoard,
)
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import AdamW, Callback, Engine, Run
from vprtrain.engine.seeding import seed_all
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.speaker.data import SpeakerData
from vprtrain.speaker.module import SpeakerModule

LOGS = (TensorBoard, JsonlLog, CsvLog)
OBSERVERS = (*LOGS, EtaLogger, NanGuard, GracefulStop, ModelSummary, Profiler)


def outcome(
    manifests: Path,
    run_dir: Path,
    *,
    observers: list[type[Callback]],
    first: bool = True,
    workers: int = 0,
    prefetch: int = 1,
    log_every: int = 100,
    commit_every: str = "never",
    sanity_batches: int = 0,
) -> dict[str, Any]:
    """Train for 12 steps.

    Returns:
        The metrics and the best record, and the digests of the weights, their average and the
        optimizer's state, of last_model and best_model.
    """
    data = SpeakerData.from_files(
        train_manifest=manifests / "train.tsv",
        trials=manifests / "trials.txt",
        eval_manifest=manifests / "eval.tsv",
        enroll=manifests / "enroll.map",
        batch_size=8,
        crop_seconds=0.5,
        workers=workers,
        prefetch=prefetch,
    )
    seed_all(7)
    module = SpeakerModule(
        model=DropoutTDNN(),
        feature=Fbank(mean_norm=True),
        loss=AAMLoss(),
        num_classes=data.num_classes,
        evaluation=data.evaluation,
    )
    made = [observer() for observer in observers]
    needed = [
        CosineWarmup(warmup_epochs=0.5),
        MarginSchedule(start_epoch=0.5, fix_epoch=1.5),
        EMA(decay=0.8),
    ]
    engine = Engine(
        run_dir=run_dir,
        optimizer=AdamW(learning_rate=0.02),
        callbacks=[*(made + needed if first else needed + made), Checkpoint()],
        max_epochs=2,
        validate_every="5 steps",
        commit_every=commit_every,
        clip_norm=1.0,
        log_every=log_every,
        seed=3,
        sanity_batches=sanity_batches,
    )
    engine.fit(module, data)
    last, best = (
        open_checkpoint(run_dir / name).state.to_json() for name in ("last_model", "best_model")
    )
    names = (
        "step",
        "eer",
        "min_dcf",
        "threshold",
        "eer_step",
        "best_eer",
        "best_step",
        "margin",
        "learning_rate",
    )
    arrays = ("model.pdparams", "ema.pdparams", "optimizer.pdopt")
    return {
        **{name: last[name] for name in names},
        **{f"last {name}": last["files"][name] for name in arrays},
        **{f"best {name}": best["files"][name] for name in arrays},
    }


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Iterator[Callable[..., dict[str, Any]]]:
    folder, number = tmp_path_factory.mktemp("neutral"), itertools.count()
    yield lambda **options: outcome(corpus, folder / str(next(number)), **options)


@pytest.fixture(scope="module")
def bare(run) -> dict[str, Any]:
    """The outcome without observers or threads, with commits only after validations and at the
    end."""
    return run(observers=[])


@settings(max_examples=6, deadline=None)
@given(
    observers=st.lists(st.sampled_from(OBSERVERS), unique=True),
    first=st.booleans(),
    workers=st.sampled_from([0, 1, 2, 4]),
    prefetch=st.integers(1, 5),
    log_every=st.sampled_from([1, 2, 5, 100]),
    commit_every=st.sampled_from(["never", "1 steps", "3 steps", "1 epoch", "0.0001 minutes"]),
    sanity_batches=st.sampled_from([0, 1, 2, 100]),
)
@example(
    observers=[*OBSERVERS],
    first=True,
    workers=4,
    prefetch=2,
    log_every=1,
    commit_every="1 steps",
    sanity_batches=2,
)
@example(
    observers=[*OBSERVERS],
    first=False,
    workers=2,
    prefetch=1,
    log_every=3,
    commit_every="4 steps",
    sanity_batches=2,
)
@example(
    observers=[],
    first=True,
    workers=1,
    prefetch=3,
    log_every=1,
    commit_every="never",
    sanity_batches=0,
)
def test_observers_change_no_bit(
    run, bare, observers, first, workers, prefetch, log_every, commit_every, sanity_batches
):
    """G6: with dropout, clipping, schedules, EMA, and validations in the middle of epochs."""
    assert (
        run(
            observers=observers,
            first=first,
            workers=workers,
            prefetch=prefetch,
            log_every=log_every,
            commit_every=commit_every,
            sanity_batches=sanity_batches,
        )
        == bare
    )


def test_a_callback_that_writes_does_change_them(run, bare):
    """G6: the comparison above can fail."""

    class Meddler(Callback):
        def on_before_optimizer_step(self, run: Run) -> None:
            run.learning_rate *= 1.0001

    other = run(observers=[Meddler], first=False)
    assert {name for name in bare if other[name] != bare[name]} >= {
        "last model.pdparams",
        "best optimizer.pdopt",
    }
