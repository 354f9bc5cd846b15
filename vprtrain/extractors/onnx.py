"""The extractor that uses an ONNX model with onnxruntime."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.extractors.exported import ExportedExtractor
from vprtrain.extractors.extractor import ONNX_FILE

_ERRORS_ONLY = 3
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxExtractor(ExportedExtractor):
    """The ONNX model of an export. As in Paddle, ``OMP_NUM_THREADS`` sets the number of threads.

    Raises:
        UsageError: onnxruntime is not installed, or the device is not available.
        CheckpointError: the folder is not an exported model's, or onnxruntime cannot load it.
    """

    def __init__(self, saved: SavedCheckpoint, *, device: str) -> None:
        super().__init__(saved)
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                f"{saved.folder / ONNX_FILE} needs onnxruntime, which is not installed: "
                "pip install 'vprtrain[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 1))
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(
                saved.read(ONNX_FILE), options, providers=providers
            )
            self._input, self._lengths = (value.name for value in self._session.get_inputs())
        except Exception as error:  # onnxruntime's errors have no common base class
            raise CheckpointError(
                f"{saved.folder / ONNX_FILE} cannot be run by onnxruntime ({error})"
            ) from error

    def run(self, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        (embeddings,) = self._session.run(None, {self._input: inputs, self._lengths: lengths})
        found: np.ndarray = embeddings
        return found


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
