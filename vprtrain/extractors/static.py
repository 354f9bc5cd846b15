"""The extractor that uses a static Paddle model with Paddle's inference engine, without the code
of training."""

from __future__ import annotations

import threading

import numpy as np
import paddle
from paddle import inference

from vprtrain import runtime
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError, cause, shown
from vprtrain.extractors.exported import ExportedExtractor
from vprtrain.extractors.extractor import STATIC_FILE
from vprtrain.extractors.static_graph import check_static_graph, check_static_weights
from vprtrain.files import parse_json

STATIC_WEIGHTS_FILE = "inference.pdiparams"
_FIRST_GPU_MEMORY_MB = 100
_MOST_GRAPH_BYTES = 16 * 2**20  # of the graph, which has about half a megabyte


class StaticExtractor(ExportedExtractor):
    """The static Paddle model of an export.

    Raises:
        UsageError: the device is not available.
        CheckpointError: the folder is not an exported model's, its graph has operators that no
            model needs, or its weights are not those of the graph.
    """

    def __init__(self, saved: SavedCheckpoint, *, device: str) -> None:
        super().__init__(saved, batches=True)
        _check_files(saved)
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
        try:
            self._predictor = inference.create_predictor(config)
            inputs = tuple(self._predictor.get_input_names())
        except Exception as error:  # Paddle's errors have no common base class
            raise CheckpointError(
                f"{saved.folder / STATIC_FILE} cannot be run by Paddle ({cause(error)})"
            ) from error
        if inputs != self.interface.inputs:
            raise CheckpointError(
                f"{saved.folder / STATIC_FILE} has the inputs {shown(inputs)}, expected "
                f"{shown(self.interface.inputs)}"
            )
        self._lock = threading.Lock()
        self.runtime = f"paddle {paddle.__version__}"
        self.threads = 1

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        with self._lock:
            (embeddings,) = self._predictor.run([paddle.to_tensor(value) for value in inputs])
            found: np.ndarray = embeddings.numpy()
        return found


def _check_files(saved: SavedCheckpoint) -> None:
    """Check the graph and its weights, which may come from a stranger.

    Raises:
        CheckpointError: Paddle must not read them.
    """
    path = saved.folder / STATIC_FILE
    try:
        graph = saved.read(STATIC_FILE)
        if len(graph) > _MOST_GRAPH_BYTES:
            raise ValueError(f"it has {len(graph)} bytes, expected at most {_MOST_GRAPH_BYTES}")
        weights = check_static_graph(parse_json(graph))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not a static Paddle model that vprtrain made ({error})"
        ) from error
    path = saved.folder / STATIC_WEIGHTS_FILE
    try:
        check_static_weights(saved.read(STATIC_WEIGHTS_FILE), weights)
    except ValueError as error:
        raise CheckpointError(f"{path} is not of this graph ({error})") from error
