"""What ``gpu.py`` measures. Each function returns a line, or raises why it cannot be measured."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import gpu_operators
import numpy as np
import paddle
from fetch_counter import FetchCounter
from speaker_step import OneBatch, make_batch, make_module, make_stepper

from vprtrain.callbacks import NanGuard
from vprtrain.engine import Engine
from vprtrain.features import FeatureExtractor

WORKER = Path(__file__).parent / "workers" / "gpu_rank.py"
FLOAT32_LIMIT = 5e-3
"""Relative difference of float32 results on a GPU: TF32 rounds to 11 bits."""
HALF_LIMIT = 5e-2
"""Relative difference of the losses of a few steps in half precision."""
RANKS_LIMIT = 2e-2
"""Relative difference of the change of weights in a short run on several GPUs"""
WARM_UP = 3
VERDICTS = ("pass", "fail", "skipped")


class Options(NamedTuple):
    device: str
    models: Sequence[str]
    batch: int
    seconds: float
    steps: int


class Line(NamedTuple):
    verdict: str
    """One of :data:`VERDICTS`"""
    values: dict[str, float]
    reason: str = ""


class SkippedError(Exception):
    """This line cannot be measured here; the message says why."""


def within(limit: float, name: str, value: float, **others: float) -> Line:
    """Pass if the value is at most the limit; NaN never passes."""
    values = {name: value, "limit": limit, **others}
    return Line("pass" if value <= limit else "fail", values)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def need_gpu(options: Options, why: str) -> None:
    if options.device == "cpu":
        raise SkippedError(f"needs a GPU: {why}")


def feature_parity(kind: Callable[[], FeatureExtractor], options: Options) -> Line:
    """The batched graph on the device against NumPy, with padding."""
    extractor = kind()
    waveforms = make_batch(options.batch, options.seconds).waveforms
    lengths = np.linspace(waveforms.shape[1] // 2, waveforms.shape[1], options.batch).astype(int)
    graph = extractor.on_device(paddle.to_tensor(waveforms), paddle.to_tensor(lengths))
    return within(
        FLOAT32_LIMIT,
        "difference",
        difference(graph.numpy(), extractor.on_host(waveforms, lengths)),
    )


def embedding_parity(model: str, options: Options) -> Line:
    need_gpu(options, "the device is the CPU itself")
    waveforms = make_batch(min(options.batch, 4), options.seconds).waveforms
    embeddings = {}
    for device in ("cpu", options.device):
        paddle.set_device(device)
        module = make_module(model)
        module.eval()
        with paddle.no_grad():
            embeddings[device] = module.embed(waveforms).numpy()
    return within(
        FLOAT32_LIMIT, "difference", difference(embeddings[options.device], embeddings["cpu"])
    )


def half_precision(model: str, dtype: str, options: Options) -> Line:
    """The losses of a few steps from the same weights, against float32."""
    need_half_precision(dtype, options)
    batch = make_batch(options.batch, options.seconds)
    losses = {}
    for each in ("float32", dtype):
        stepper = make_stepper(make_module(model), each)
        losses[each] = np.array([stepper.run(step, [batch], None)[0].item() for step in range(4)])
    return within(HALF_LIMIT, "difference", difference(losses[dtype], losses["float32"]))


def need_half_precision(dtype: str, options: Options) -> None:
    need_gpu(options, "Paddle's mixed precision has no effect on a CPU")
    if dtype == "bfloat16" and not paddle.amp.is_bfloat16_supported():
        raise SkippedError("this GPU has no bfloat16")


def kernels(options: Options) -> Line:
    on_gpu = gpu_operators.gpu_kernels()
    if not on_gpu:
        raise SkippedError("this Paddle registers no GPU kernel: see gpu_operators.py --registry")
    parts = gpu_operators.used_kernels(options.models)
    missing = gpu_operators.without_gpu(parts, on_gpu)
    names = sorted(set().union(*missing.values()))
    line = within(0, "without a GPU kernel", len(names), used=len(set().union(*parts.values())))
    return line._replace(reason=", ".join(names))


def fetches(model: str, options: Options) -> Line:
    """Values that the engine fetches in steps without a log point: each waits for the device."""
    counter = FetchCounter()
    data = OneBatch(make_batch(2, 0.6), steps=8)
    engine = Engine(max_epochs=1, clip_norm=5.0, log_every=3, callbacks=[counter, NanGuard()])
    with counter.counting():
        engine.fit(make_module(model), data)
    between, logged = counter.fetched(False), counter.fetched(True)
    return within(0, "fetches", between, at_log_points=logged)


def ranks(options: Options) -> Line:
    """A run of all GPUs: every rank must end with the same bits."""
    count = need_gpus(options)
    changes, step = run_ranks(count, options)
    _, alone = run_ranks(1, options._replace(batch=options.batch // count))
    return within(
        0,
        "different weights",
        sum(int((each != changes[0]).sum()) for each in changes),
        ranks=count,
        efficiency=alone / step,
    )


def synchronised_batch_norm(options: Options) -> Line:
    """The change of the weights in a run of all GPUs, against one process with the whole batch."""
    count = need_gpus(options)
    [one], _ = run_ranks(1, options)
    several, _ = run_ranks(count, options)
    return within(RANKS_LIMIT, "difference", difference(several[0], one), ranks=count)


def need_gpus(options: Options) -> int:
    need_gpu(options, "NCCL and SyncBatchNorm have no CPU version")
    count = paddle.device.cuda.device_count()
    if count < 2:
        raise SkippedError("needs two GPUs, and this machine has one")
    return count


def run_ranks(count: int, options: Options) -> tuple[list[np.ndarray], float]:
    """The change of every rank's weights in a few steps, and rank 0's seconds of a step."""
    work = {
        "model": options.models[0],
        "device": options.device,
        "batch": options.batch,
        "seconds": options.seconds,
        "steps": WARM_UP + options.steps,
    }
    launch = ["-m", "vprtrain", "launch", f"--nprocs={count}", "--max-restarts=0", "--"]
    with tempfile.TemporaryDirectory(prefix="gpu-ranks-") as folder:
        out = Path(folder) / "rank"
        command = [sys.executable, *(launch if count > 1 else []), str(WORKER)]
        command.append(json.dumps({**work, "out": str(out)}))
        done = subprocess.run(
            command,
            env=gpu_operators.worker_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            last = done.stdout.strip().rpartition("\n")[2]
            raise RuntimeError(f"{count} rank(s) ended with status {done.returncode}: {last}")
        found = [np.load(f"{out}.{rank}.npz") for rank in range(count)]
        return [each["change"] for each in found], float(found[0]["step"])


def steps(model: str, dtype: str, options: Options) -> Line:
    if dtype != "float32":
        need_half_precision(dtype, options)
    batch = make_batch(options.batch, options.seconds)
    stepper = make_stepper(make_module(model), dtype)
    loss, values = timed(lambda step: stepper.run(step, [batch], None)[0], options)
    return Line("pass" if math.isfinite(loss) else "fail", values | {"loss": loss})


def embedding(model: str, options: Options) -> Line:
    module = make_module(model)
    module.eval()
    waveforms = make_batch(options.batch, options.seconds).waveforms
    with paddle.no_grad():
        total, values = timed(lambda step: module.embed(waveforms).sum(), options)
    return Line("pass" if math.isfinite(total) else "fail", values)


def timed(work: Callable[[int], paddle.Tensor], options: Options) -> tuple[float, dict[str, float]]:
    """The last result, and milliseconds, utterances per second and peak memory of the work."""
    gpu = options.device != "cpu"
    if gpu:
        paddle.device.cuda.reset_max_memory_allocated()
    seconds = []
    for step in range(WARM_UP * gpu + options.steps):
        started = time.perf_counter()
        result = work(step)
        if gpu:
            paddle.device.synchronize()
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[WARM_UP * gpu :])
    values = {"ms": 1e3 * median, "utterances/s": options.batch / median}
    if gpu:
        values["peak GB"] = paddle.device.cuda.max_memory_allocated() / 2**30
    return result.item(), values
