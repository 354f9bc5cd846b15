"""The checks between a ``model.state`` file, which may come from a stranger, and its record."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vprtrain.checkpoint.state import SCHEMA, BestRecord, CheckpointState, RunningLoss
from vprtrain.errors import CheckpointError, shown

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"\w[\w.-]*")


def checked_state(content: Mapping[str, Any], path: Path) -> CheckpointState:
    """The record that a file's JSON object describes.

    Args:
        content: the object, without the file's own digest.
        path: the file, for error messages.

    Raises:
        CheckpointError: a key is missing, or its value has the wrong type or range.
    """
    keys = _Keys(content, path)
    schema = keys.take("schema", f"schema {SCHEMA}", _is_whole)
    if schema != SCHEMA:
        raise keys.error("schema", schema, f"schema {SCHEMA}")
    return CheckpointState(
        version=keys.take("version", "a text", lambda value: isinstance(value, str)),
        last_epoch=keys.count("last_epoch"),
        step=keys.count("step"),
        batch_in_epoch=keys.count("batch_in_epoch"),
        validation_pending=keys.take(
            "validation_pending", "true or false", lambda value: isinstance(value, bool)
        ),
        learning_rate=keys.number_or_null("learning_rate"),
        seed=keys.whole_or_null("seed", least=-(2**63)),
        world_size=keys.whole_or_null("world_size", least=1),
        running_loss=_running_loss(keys) if "running_loss" in keys.rest else None,
        callbacks=keys.objects("callbacks"),
        config_sha256=keys.digest_or_null("config_sha256"),
        data_sha256=keys.digest_or_null("data_sha256"),
        fingerprint=_fingerprint(keys) if "fingerprint" in keys.rest else None,
        metrics_offset=keys.count("metrics_offset") if "metrics_offset" in keys.rest else None,
        files=_files(keys),
        **_open_keys(keys),
    )


class _Keys:
    """The keys of a file's JSON object. Each is taken and checked once."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        self.rest = dict(content)
        self.order = list(content)
        self.path = path

    def error(self, key: str, value: object, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is not a checkpoint's state: {shown(key)} is {shown(value)}, "
            f"expected {expected}"
        )

    def take(self, key: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        if key not in self.rest:
            raise CheckpointError(
                f"{self.path} is not a checkpoint's state: it has no {shown(key)}, "
                f"expected {expected}"
            )
        value = self.rest.pop(key)
        if not fits(value):
            raise self.error(key, value, expected)
        return value

    def count(self, key: str) -> int:
        found: int = self.take(key, "a whole number of 0 or more", _is_whole)
        return found

    def whole_or_null(self, key: str, least: int = 0) -> int | None:
        found: int | None = self.take(
            key,
            f"a whole number of {least} or more, or null",
            lambda value: value is None or _is_whole(value, least),
        )
        return found

    def number_or_null(self, key: str) -> float | None:
        found: float | None = self.take(
            key, "a number or null", lambda value: value is None or _is_number(value)
        )
        return found

    def digest_or_null(self, key: str) -> str | None:
        found: str | None = self.take(
            key, "a SHA-256 or null", lambda value: value is None or _is_digest(value)
        )
        return found

    def objects(self, key: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.take(key, "an object of objects", _is_objects)
        return found


def _running_loss(keys: _Keys) -> RunningLoss:
    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or value.keys() != {"sum", "count"}:
            return False
        return _is_number(value["sum"]) and _is_whole(value["count"])

    return RunningLoss(**keys.take("running_loss", "a sum and a count", fits))


def _fingerprint(keys: _Keys) -> dict[str, dict[str, Any]]:
    found = keys.objects("fingerprint")
    if found.keys() != {"config", "data"}:
        raise keys.error("fingerprint", found, "config and data")
    return found


def _files(keys: _Keys) -> dict[str, str]:
    files: dict[str, str] = keys.take(
        "files", "the SHA-256 of each file", lambda value: isinstance(value, dict)
    )
    for name, digest in files.items():
        if not _FILE_NAME.fullmatch(name):
            raise CheckpointError(
                f"{keys.path} names {shown(name)}, which is not a plain file name"
            )
        if not _is_digest(digest):
            raise keys.error(name, digest, "the SHA-256 of that file")
    return files


def _open_keys(keys: _Keys) -> dict[str, Any]:
    """The fields with keys that depend on the run.

    The module's keys stand before ``last_epoch``. The metrics stand between ``last_epoch`` and
    ``callbacks``, from the first metric to its ``_step``. All other keys are extra.
    """
    begin, end = keys.order.index("last_epoch"), keys.order.index("callbacks")
    own = {
        key: keys.rest.pop(key)
        for key in keys.order[:begin]
        if key in keys.rest and key != "best_step"
    }
    between = [key for key in keys.order[begin:end] if key in keys.rest and key != "best_step"]
    first = next((key for key in between if f"{key}_step" in between), None)
    metrics: dict[str, float | None] = {}
    metrics_step = None
    if first is not None:
        names = between[between.index(first) : between.index(f"{first}_step")]
        metrics = {name: keys.number_or_null(name) for name in names}
        metrics_step = keys.whole_or_null(f"{first}_step")
    return {
        "own": own,
        "metrics": metrics,
        "metrics_step": metrics_step,
        "best": _best(keys, list(metrics)) if "best_step" in keys.rest else None,
        "extra": keys.rest,
    }


def _best(keys: _Keys, metrics: list[str]) -> BestRecord:
    monitored = next((name for name in metrics if f"best_{name}" in keys.rest), None)
    if monitored is None:
        raise keys.error("best_step", keys.rest["best_step"], "the best value of a metric too")
    value = keys.number_or_null(f"best_{monitored}")
    return BestRecord(monitored, value, keys.whole_or_null("best_step"))


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # neither infinity nor an integer beyond any float


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())
