"""A generic trainer: Engine, Module, DataModule, Callback, Run. It knows nothing about audio or
speakers."""

from vprtrain.engine.callback import Callback
from vprtrain.engine.engine import Engine
from vprtrain.engine.module import DataModule, Module, ValidationData
from vprtrain.engine.optimizers import SGD, Adam, AdamW, Momentum, OptimizerFactory
from vprtrain.engine.run import Run, ValidationRun
from vprtrain.engine.settings import Settings
from vprtrain.engine.state import FitResult, LiveState, Progress

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "DataModule",
    "Engine",
    "FitResult",
    "LiveState",
    "Module",
    "Momentum",
    "OptimizerFactory",
    "Progress",
    "Run",
    "Settings",
    "ValidationData",
    "ValidationRun",
]
