"""The extractor that uses a static Paddle model with Paddle's inference engine, without the code
of training."""

from __future__ import annotations

import json
import threading

import numpy as np
import paddle
from paddle import inference

from vprtrain import runtime
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError
from vprtrain.extractors.exported import ExportedExtractor
from vprtrain.extractors.extractor import STATIC_FILE

STATIC_WEIGHTS_FILE = "inference.pdiparams"
_FIRST_GPU_MEMORY_MB = 100
_FILE_OPERATORS = ("load_combine", "read_file", "save_combine")


class StaticExtractor(ExportedExtractor):
    """The static Paddle model of an export.

    Raises:
        UsageError: the device is not available.
        CheckpointError: the folder is not an exported model's, or its graph would read or write
            files.
    """

    def __init__(self, saved: SavedCheckpoint, *, device: str) -> None:
        super().__init__(saved)
        _refuse_access_to_files(saved)
        runtime.use_device(device)
        kind, _, number = paddle.get_device().partition(":")
        config = inference.Config(
            str(saved.folder / STATIC_FILE), str(saved.folder / STATIC_WEIGHTS_FILE)
        )
        config.disable_glog_info()
        if kind == "gpu":
            config.enable_use_gpu(_FIRST_GPU_MEMORY_MB, int(number))
        else:
            config.disable_gpu()
            config.disable_mkldnn()  # its kernels crash on these graphs (Paddle 3.3.1)
        self._predictor = inference.create_predictor(config)
        self._lock = threading.Lock()

    def run(self, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with self._lock:
            (embeddings,) = self._predictor.run(
                [paddle.to_tensor(inputs), paddle.to_tensor(lengths)]
            )
            found: np.ndarray = embeddings.numpy()
        return found


def _refuse_access_to_files(saved: SavedCheckpoint) -> None:
    """Check a static graph, which is a program and may come from a stranger.

    Raises:
        CheckpointError: it is not a graph, or it has an operator that reads or writes files.
    """
    path = saved.folder / STATIC_FILE
    try:
        # Decoded and encoded again, so that no escape sequence hides a name.
        program = json.dumps(json.loads(saved.read(STATIC_FILE)))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a static Paddle model ({error})") from error
    found = [name for name in _FILE_OPERATORS if name in program]
    if found:
        raise CheckpointError(
            f"{path} would access files ({found[0]}), which no model needs: do not use it"
        )
