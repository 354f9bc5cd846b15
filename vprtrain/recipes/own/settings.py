"""The options of ``fit`` that suit a prepared data set, as a file beside its manifests."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import yaml

from vprtrain.data.preparation.noise import MUSAN_MANIFEST, RIRS_MANIFEST
from vprtrain.data.preparation.preparation import EVAL_MANIFEST, SHARDS, TRAIN_MANIFEST
from vprtrain.files import path_from_here, replacing

SETTINGS = "fit.yaml"

_LEAST_STEPS = 3000
_HEADER = (
    "# Written by vprtrain prepare: what suits this data set. A later --config or option overrides "
    "it.\n"
)


def write_settings(
    out: Path, *, base: Path, utterances: int, trials: str | None, shards: bool
) -> None:
    """Write ``fit.yaml``.

    A network needs some thousands of steps, however small its data are. So a set whose epochs of
    ``base`` have fewer steps is trained by steps, and the schedules keep their shares of the run.

    Args:
        out: the folder of the manifests; noise and rooms are used if their manifests are there.
        base: the recipe's configuration that the file changes.
        utterances: the lines of ``train.tsv``.
        trials: the trial list; ``None`` if no speaker is held out.
        shards: the training utterances are also in shards.
    """
    content = yaml.safe_load(base.read_text(encoding="utf-8"))
    batch_size = _batch_size(utterances, content["data"]["batch_size"])
    steps_per_epoch = max(1, utterances // batch_size)
    epochs = content["engine"]["max_epochs"]
    scale = max(1.0, _LEAST_STEPS / (epochs * steps_per_epoch))
    settings = {
        "data": {
            "train_manifest": path_from_here(out / TRAIN_MANIFEST),
            "shards": path_from_here(out / SHARDS) if shards else None,
            "eval_manifest": None if trials is None else path_from_here(out / EVAL_MANIFEST),
            "trials": None if trials is None else path_from_here(out / trials),
            "batch_size": batch_size,
            "augmentations": [*content["data"]["augmentations"], *_recorded(out)],
        },
        "engine": _engine(scale),
        "callbacks": [
            callback
            for callback in map(lambda each: _scaled(each, scale), content["callbacks"])
            if trials is not None or not callback["class_path"].endswith(".EarlyStopping")
        ],
    }
    with replacing(out / SETTINGS) as temporary:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        temporary.write_text(_HEADER + text, encoding="utf-8")


def fit_command(out: Path, config: str, *, report: bool) -> str:
    """The command that trains with a configuration of the recipe and with ``fit.yaml``."""
    words = ["vprtrain", "fit", "--recipe", "own", "--config", config]
    words += ["--config", path_from_here(out / SETTINGS)]
    return shlex.join([*words, *(["--report"] if report else [])])


def _batch_size(utterances: int, most: int) -> int:
    """A power of two, so that an epoch has at least four batches."""
    return min(most, 1 << int(math.log2(max(2, utterances / 4))), utterances)


def _engine(scale: float) -> dict[str, Any]:
    if scale == 1:
        return {}
    return {
        "max_epochs": None,
        "max_steps": _LEAST_STEPS,
        "validate_every": f"{_LEAST_STEPS // 12} steps",
    }


def _scaled(callback: dict[str, Any], scale: float) -> dict[str, Any]:
    """The callback with its numbers of epochs multiplied."""
    init_args = {
        name: round(value * scale, 3) if name.endswith(("_epoch", "_epochs")) else value
        for name, value in callback.get("init_args", {}).items()
    }
    return {"class_path": callback["class_path"], **({"init_args": init_args} if init_args else {})}


def _recorded(out: Path) -> list[dict[str, Any]]:
    """The augmentations whose recordings have been prepared."""
    manifests = {"Reverberation": RIRS_MANIFEST, "AdditiveNoise": MUSAN_MANIFEST}
    return [
        {
            "class_path": f"vprtrain.data.augmentation.{name}",
            "init_args": {"manifest": path_from_here(out / manifest)},
        }
        for name, manifest in manifests.items()
        if (out / manifest).is_file()
    ]
