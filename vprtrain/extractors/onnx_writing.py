"""A traced graph as an ONNX model: conversion, weights of lower precision, names and metadata."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vprtrain.errors import RunError, UsageError
from vprtrain.extractors.exported import ExportRecord, Precision
from vprtrain.extractors.extractor import ONNX_FILE, STATIC_FILE
from vprtrain.extractors.onnx_convolutions import flatten_convolutions
from vprtrain.extractors.static import STATIC_WEIGHTS_FILE
from vprtrain.version import __version__

if TYPE_CHECKING:
    import onnx

_OPSET = 17
_ERRORS_ONLY = 3
_LEAST_HALVED = 1024
"""Tensors of fewer values stay float32: they are biases, statistics and constants."""
_PACKAGES = ("paddle2onnx", "onnx", "onnxruntime")

log = logging.getLogger(__name__)


def require_onnx_packages(precision: Precision) -> None:
    """Refuse an export to ONNX without the packages for it.

    Raises:
        UsageError: a package is not installed.
    """
    needed = (*_PACKAGES, "ml_dtypes") if precision == "int8" else _PACKAGES
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"ONNX needs {' and '.join(missing)}, not installed here: pip install "
            "'vprtrain[onnx]', or export with "
            f"{'--format paddle' if precision == 'float32' else 'another --precision'}"
        )


def write_onnx(folder: Path, record: ExportRecord, metadata: Mapping[str, str]) -> None:
    """Convert the static model in a folder to ONNX, in the same folder.

    The weights are initializers. The axes of any size are called ``batch`` and ``samples`` or
    ``frames``.

    Args:
        record: the input, the client, the precision and the size of the embeddings.
        metadata: key-value pairs that runtimes show to their users.

    Raises:
        RunError: the converter failed.
    """
    import onnx

    _convert(folder)
    path = folder / ONNX_FILE
    _fold_constants(path)
    flatten_convolutions(path)
    _fold_constants(path)
    if record.precision == "int8":
        _quantise(path)
    model = onnx.load(path)
    if record.precision == "float16":
        _halve_weights(model.graph)
    for tensor in model.graph.initializer:  # the quantiser writes lists of numbers, not bytes
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name)
        )
    _name(model.graph, record)
    model.producer_name, model.producer_version = "vprtrain", __version__
    used = [opset for opset in model.opset_import if opset.domain == ""]
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(used)
    onnx.helper.set_model_props(model, dict(metadata))
    path.write_bytes(model.SerializeToString())


def _convert(folder: Path) -> None:
    """Run paddle2onnx.

    The converter runs in its own process: it writes to standard output, and it aborts at an unknown
    operator. Its graph optimizer is off, because it would install packages.

    Raises:
        RunError: the converter failed.
    """
    names = {
        "model_filename": STATIC_FILE,
        "params_filename": STATIC_WEIGHTS_FILE,
        "save_file": ONNX_FILE,
    }
    options = {
        **names,
        "opset_version": _OPSET,
        "enable_auto_update_opset": False,
        "optimize_tool": None,
    }
    command = [sys.executable, "-m", "paddle2onnx.command", "--model_dir=."]
    command += [f"--{name}={value}" for name, value in options.items()]
    log.info("converting to ONNX")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode or not (folder / ONNX_FILE).is_file():
        reason = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        raise RunError(
            f"paddle2onnx cannot convert this model ({reason}); nothing was exported: export it "
            "with --format paddle, or build it from operations that paddle2onnx supports"
        )


def _fold_constants(path: Path) -> None:
    """Compute what depends on constants only, and make the weights initializers.

    paddle2onnx writes weights as Constant nodes behind Identity and Unsqueeze: quantisers do not
    find them, and every start of a runtime folds them anew. onnxruntime's basic optimizations give
    a graph of standard operators with the same result.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folded = path.with_name("folded.onnx")
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    folded.replace(path)


def _quantise(path: Path) -> None:
    """Weights of matrix products and convolutions as uint8; their inputs are quantised at run time
    (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it writes a line for every operator
    try:
        # onnxruntime's convolution on a CPU takes unsigned weights only.
        quantize_dynamic(path, path, weight_type=QuantType.QUInt8)
    finally:
        logging.disable(logging.NOTSET)


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Store the weights as float16, and cast them to float32, in which everything is computed.

    A graph that computes in float16 has half the range of exponents: the sum over the frames of a
    long recording would be infinite.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        numbers = numpy_helper.to_array(tensor)
        if numbers.dtype == np.float32 and numbers.size >= _LEAST_HALVED:
            name, stored = tensor.name, f"{tensor.name}.float16"
            tensor.CopyFrom(numpy_helper.from_array(numbers.astype("float16"), stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _name(graph: onnx.GraphProto, record: ExportRecord) -> None:
    """Name the output and the axes. Inputs have their names from the trace."""
    from onnx import TensorProto, helper

    interface = record.interface
    (output,) = graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [interface.output if name == output.name else name for name in names]
    axes = {
        "waveform": ["batch", "samples"],
        "features": ["batch", "frames", graph.input[0].type.tensor_type.shape.dim[-1].dim_value],
    }
    declared = [(interface.inputs[0], TensorProto.FLOAT, axes[record.input])]
    declared += [(name, TensorProto.INT64, ["batch"]) for name in interface.inputs[1:]]
    result = helper.make_tensor_value_info(
        interface.output, TensorProto.FLOAT, ["batch", record.embedding_dim]
    )
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(helper.make_tensor_value_info(*value) for value in declared)
    graph.output.append(result)
