"""A modular trainer on PaddlePaddle with callbacks, and a speaker-verification toolkit on top of it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vprtrain.engine import Callback, DataModule, Engine, Module
    from vprtrain.inference.predictor import Predictor

__version__ = "0.1.0"

__all__ = ["Callback", "DataModule", "Engine", "Module", "Predictor"]

_HOMES = {
    **dict.fromkeys(("Callback", "DataModule", "Engine", "Module"), "vprtrain.engine"),
    "Predictor": "vprtrain.inference.predictor",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use, so that scoring or reading audio does not pay for importing Paddle.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
