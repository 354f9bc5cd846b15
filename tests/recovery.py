"""Shared by the tests of faults: a small run with every option on, its outcome, and ways to damage
files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probes import Trained, train
from toy import ToyData

from vprtrain.callbacks import EMA, Checkpoint, CosineWarmup, JsonlLog, MarginSchedule
from vprtrain.checkpoint.file_names import CONFIG_FILE  # it holds the run directory
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.engine import Callback


def fit(run_dir: Path, *callbacks: Callback, **options: Any) -> Trained:
    """Start or resume a run of the toy module with 12 steps; ``options`` are those of
    :func:`probes.train`."""
    everything = {
        "max_epochs": 2,
        "accumulate": 2,
        "clip_norm": 1.0,
        "log_every": 3,
        "validate_every": "4 steps",
        "commit_every": "3 steps",
        "data": ToyData(batches=12),
    }
    schedules = [CosineWarmup(warmup_epochs=0.5), MarginSchedule(start_epoch=0.5, fix_epoch=1.5)]
    kept = (
        []
        if any(isinstance(callback, Checkpoint) for callback in callbacks)
        else [Checkpoint(keep=4)]
    )
    return train(
        *schedules,
        EMA(decay=0.9),
        JsonlLog(),
        *kept,
        *callbacks,
        run_dir=run_dir,
        **everything | options,
    )


def outcome(run_dir: Path) -> dict[str, Any]:
    """Everything in a finished run that a fault must not change. ``best`` is ``None`` without a
    best_model."""
    best = run_dir / "best_model"
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {
        "last": _state(run_dir / "last_model"),
        "best": _state(best) if best.is_symlink() else None,
        "log": [{name: value for name, value in line.items() if name != "time"} for line in lines],
    }


def _state(folder: Path) -> dict[str, Any]:
    """A checkpoint's state, with the digests of its arrays."""
    state = open_checkpoint(folder).state.to_json()
    del state["metrics_offset"]  # it depends on the digits of the time fields
    return state | {
        "files": {name: digest for name, digest in state["files"].items() if name != CONFIG_FILE}
    }


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Every name below a folder except the lock: a file's bytes, a link's target, else ``None``."""

    def of(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else None

    return {
        str(path.relative_to(folder)): of(path)
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def _cut(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(share * (path.stat().st_size - 1)))


def _flip(share: float, bit: int) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 1 << bit
        path.write_bytes(data)

    return flip


def _replace(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


DAMAGES: dict[str, Callable[[Path], None]] = {
    "emptied": _cut(0),
    "cut after a byte": lambda path: os.truncate(path, 1),
    "cut in the middle": _cut(0.5),
    "cut before the last byte": _cut(1),
    "a bit flipped in the first byte": _flip(0, 0),
    "a bit flipped in the first half": _flip(0.3, 3),
    "a bit flipped in the second half": _flip(0.7, 7),
    "a bit flipped in the last byte": _flip(1, 5),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)) and None,
    "a byte too many": lambda path: path.write_bytes(path.read_bytes() + b"\n") and None,
    "removed": Path.unlink,
    "replaced by a folder": _replace(Path.mkdir),
    "replaced by a pipe": _replace(os.mkfifo),
    "replaced by a link to nowhere": _replace(lambda path: path.symlink_to("nowhere")),
}
"""Kinds of damage to a file, by name."""
