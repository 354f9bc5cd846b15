"""The callbacks that come with vprtrain, one class a file."""

from vprtrain.callbacks.checkpoint import Checkpoint
from vprtrain.callbacks.cosine_warmup import CosineWarmup
from vprtrain.callbacks.csv_log import CsvLog
from vprtrain.callbacks.early_stopping import EarlyStopping
from vprtrain.callbacks.ema import EMA
from vprtrain.callbacks.eta_logger import EtaLogger
from vprtrain.callbacks.exponential_warmup import ExponentialWarmup
from vprtrain.callbacks.fast_convolutions import FastConvolutions
from vprtrain.callbacks.freeze import Freeze
from vprtrain.callbacks.graceful_stop import GracefulStop
from vprtrain.callbacks.jsonl_log import JsonlLog
from vprtrain.callbacks.margin_schedule import MarginSchedule
from vprtrain.callbacks.mixed_precision import MixedPrecision
from vprtrain.callbacks.mlflow_log import MLflowLog
from vprtrain.callbacks.model_summary import ModelSummary
from vprtrain.callbacks.nan_guard import NanGuard
from vprtrain.callbacks.profiler import Profiler
from vprtrain.callbacks.resume_step import ResumeStep
from vprtrain.callbacks.tensorboard import TensorBoard
from vprtrain.callbacks.visualdl_log import VisualDLLog
from vprtrain.callbacks.wandb_log import WandbLog
from vprtrain.engine.callback import Callback

__all__ = [
    "EMA",
    "Checkpoint",
    "CosineWarmup",
    "CsvLog",
    "EarlyStopping",
    "EtaLogger",
    "ExponentialWarmup",
    "FastConvolutions",
    "Freeze",
    "GracefulStop",
    "JsonlLog",
    "MLflowLog",
    "MarginSchedule",
    "MixedPrecision",
    "ModelSummary",
    "NanGuard",
    "Profiler",
    "ResumeStep",
    "TensorBoard",
    "VisualDLLog",
    "WandbLog",
    "default_callbacks",
]


def default_callbacks() -> list[Callback]:
    """The callbacks that log, stop, resume and save a run. Schedules are not among them."""
    return [
        ResumeStep(),
        MixedPrecision(),
        NanGuard(),
        GracefulStop(),
        EtaLogger(),
        ModelSummary(),
        TensorBoard(),
        JsonlLog(),
        Checkpoint(),
    ]
