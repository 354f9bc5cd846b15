"""A long run holds no more memory, open files, threads or processes at its end than at its
beginning."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from vprtrain.callbacks import EMA, default_callbacks
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.engine import Callback, Engine, Run, ValidationRun
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.speaker.data import SpeakerData
from vprtrain.speaker.module import SpeakerModule

PROC = Path("/proc/self")
STEPS, EARLY = 2000, 200
TOLERANCE = 32 << 20
"""Bytes of resident memory that allocators may keep, more so if other tests ran in this process: up
to 10 MB were measured. A leak of one batch a step would be 460 MB, of its features 220 MB."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The resources of a process."""

    memory: int
    """Resident, in bytes."""
    files: int
    threads: int
    children: int

    @classmethod
    def now(cls) -> Usage:
        gc.collect()
        time.sleep(0.5)  # the loader's threads of the previous epoch are ending
        tasks = list((PROC / "task").iterdir())
        return cls(
            memory=int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            files=len(list((PROC / "fd").iterdir())),
            threads=len(tasks),
            children=sum(len((task / "children").read_text().split()) for task in tasks),
        )


class Meter(Callback):
    """Measures at an early step and at the last one, and counts commits and validations."""

    def __init__(self) -> None:
        self.usage: list[Usage] = []
        self.commits = self.validations = 0

    def on_train_batch_end(self, run: Run) -> None:
        if run.progress.step in (EARLY, STEPS):  # both the second step of an epoch
            self.usage.append(Usage.now())

    def on_validation_start(self, run: ValidationRun) -> None:
        self.validations += 1

    def on_commit(self, run: Run, snapshot: Snapshot) -> None:
        self.commits += 1


@pytest.mark.slow
@pytest.mark.skipif(not PROC.exists(), reason="counts open files and threads in /proc")
def test_a_long_run_holds_no_more_at_its_end(corpus, tmp_path):
    """The base of G1 to G6 over weeks: 2,000 steps in 334 epochs, each with new loader threads, and
    20 validations."""
    data = SpeakerData.from_files(
        train_manifest=corpus / "train.tsv",
        trials=corpus / "trials.txt",
        eval_manifest=corpus / "eval.tsv",
        enroll=corpus / "enroll.map",
        batch_size=8,
        crop_seconds=0.5,
        workers=2,
    )
    module = SpeakerModule(
        model=TDNN(channels=16, pooled_channels=24, embedding_dim=16),
        feature=Fbank(mean_norm=True),
        loss=AAMLoss(),
        num_classes=data.num_classes,
        evaluation=data.evaluation,
    )
    before, meter = Usage.now(), Meter()
    engine = Engine(
        run_dir=tmp_path,
        callbacks=[*default_callbacks(), EMA(), meter],
        max_steps=STEPS,
        validate_every="100 steps",
        commit_every="40 steps",
        clip_norm=5.0,
        log_every=20,
    )
    assert engine.fit(module, data).step == STEPS
    after = Usage.now()
    early, late = meter.usage
    assert meter.commits >= 50
    assert meter.validations == 20
    assert (late.files, late.threads, late.children) == (early.files, early.threads, early.children)
    assert late.memory - early.memory < TOLERANCE
    assert (after.files, after.children) == (before.files, before.children)
