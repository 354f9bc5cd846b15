"""The extractor that uses an ONNX model with onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError, UsageError, cause, shown
from vprtrain.extractors.exported import ExportedExtractor
from vprtrain.extractors.extractor import ONNX_FILE
from vprtrain.extractors.onnx_graph import check_onnx_graph

_ERRORS_ONLY = 3
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxExtractor(ExportedExtractor):
    """The ONNX model of an export. As in Paddle, ``OMP_NUM_THREADS`` sets the number of threads,
    which are divided among the callers: two waveforms on a thread each take less time than one
    after the other on two threads.

    On a CPU waveforms are run one by one: it takes no longer than a batch, and the embedding of a
    waveform then does not depend on the others to its last bit.

    Args:
        saved: the exported model.
        device: "auto", "cpu", "gpu" or "gpu:N".
        batches: run padded batches on a CPU too.
        callers: the threads that will call it at once.

    Raises:
        UsageError: onnxruntime is not installed, or the device is not available.
        CheckpointError: the folder is not an exported model's, or onnxruntime cannot load it.
    """

    def __init__(
        self, saved: SavedCheckpoint, *, device: str, batches: bool = False, callers: int = 1
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                f"{saved.folder / ONNX_FILE} needs onnxruntime, which is not installed: "
                "pip install 'vprtrain[onnx]'"
            ) from error
        providers = _providers(device, onnxruntime.get_available_providers())
        super().__init__(saved, batches=batches or providers != [_CPU])
        path = saved.folder / ONNX_FILE
        data = saved.read(ONNX_FILE)
        try:
            check_onnx_graph(data)
        except ValueError as error:
            raise CheckpointError(f"{path} is not a model that vprtrain made ({error})") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        own_threads = max(1, int(os.environ.get("OMP_NUM_THREADS", 1)) // callers)
        options.intra_op_num_threads = own_threads
        # Threads that wait for work would spin: next to other work that doubles the processor time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=providers)
            found = [
                [(value.name, value.type, len(value.shape)) for value in values]
                for values in (self._session.get_inputs(), self._session.get_outputs())
            ]
        except Exception as error:  # onnxruntime's errors have no common base class
            raise CheckpointError(
                f"{path} cannot be run by onnxruntime ({cause(error)})"
            ) from error
        self._require_interface(path, *found)
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        cores = len(os.sched_getaffinity(0))
        self.threads = max(1, cores // own_threads) if providers == [_CPU] else 1

    def _require_interface(
        self, path: Path, inputs: list[tuple[str, str, int]], outputs: list[tuple[str, str, int]]
    ) -> None:
        """Check the name, type and number of axes of each input, and those of the output."""
        first, *second = self.interface.inputs
        axes = 2 if self._feature is None else 3
        expected = [
            (first, "tensor(float)", axes),
            *((name, "tensor(int64)", 1) for name in second),
        ]
        if inputs != expected or [value[1:] for value in outputs] != [("tensor(float)", 2)]:
            raise CheckpointError(
                f"{path} maps {shown(inputs)} to {shown(outputs)}, expected {shown(expected)} to "
                "embeddings, a tensor(float) of 2 axes"
            )

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        feeds = dict(zip(self.interface.inputs, inputs, strict=True))
        (embeddings,) = self._session.run(None, feeds)
        found: np.ndarray = embeddings
        return found


def runs_on_cpu(device: str) -> bool:
    """Whether onnxruntime, which must be installed, runs a model on the CPU for a device.

    Raises:
        UsageError: the device is not available.
    """
    import onnxruntime

    return _providers(device, onnxruntime.get_available_providers()) == [_CPU]


def _providers(device: str, available: list[str]) -> list[Any]:
    """onnxruntime's providers for a device. "auto" is a GPU if one is available.

    Raises:
        UsageError: the device is not available, or this build of onnxruntime does not support it.
    """
    kind, _, number = device.partition(":")
    number = number or "0"
    if kind == "cpu" or (kind == "auto" and _CUDA not in available):
        return [_CPU]
    if kind not in ("gpu", "auto") or _CUDA not in available or not number.isdecimal():
        raise UsageError(
            f"device is {device!r}, which this onnxruntime does not support ({available}): try "
            "auto or cpu"
        )
    return [(_CUDA, {"device_id": number}), _CPU]
