"""The embedding of a recording by vprtrain's Predictor, with an untrained model in one format."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vprtrain.runtime import prepare

if TYPE_CHECKING:
    import numpy as np


def embedding(
    *, model: str, arguments: dict[str, Any], format: str | None, runtime: Any, seconds: float
) -> Callable[[], float]:
    """``format`` is that of the exported model; ``None`` uses the checkpoint."""
    prepare(threads=1)

    import numpy as np

    from vprtrain import Predictor

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint")
        save_untrained(path, model, arguments)
        if format is not None:
            path = exported(path, format)
        predictor = Predictor(path, runtime=runtime)
    waveform = noise(seconds)

    def step() -> float:
        return float(np.abs(predictor.embed((waveform, 16000))).sum())

    step()  # one-time work is done here
    return step


def onnxruntime_alone(
    *, model: str, arguments: dict[str, Any], seconds: float
) -> Callable[[], float]:
    """The exported network without vprtrain."""
    prepare(threads=1)

    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        save_untrained(checkpoint, model, arguments)
        file = exported(checkpoint, "onnx") / "inference.onnx"
        session = onnxruntime.InferenceSession(file, options)
    waveform = noise(seconds)
    inputs = {"waveforms": waveform[None], "lengths": np.array([len(waveform)])}

    def step() -> float:
        return float(np.abs(session.run(None, inputs)[0]).sum())

    step()
    return step


def noise(seconds: float) -> np.ndarray:
    """At 16 kHz."""
    import numpy as np

    drawn = np.random.default_rng(0).standard_normal(int(16000 * seconds))
    return (0.1 * drawn).astype("float32")


def exported(checkpoint: Path, format: str) -> Path:
    """An export beside a checkpoint. Another process makes it: this one then does only what an
    application does."""
    out = checkpoint.with_name("exported")
    options = ["--checkpoint", str(checkpoint), "--out", str(out), "--format", format]
    subprocess.run(
        [sys.executable, "-m", "vprtrain", "export", *options], check=True, stdout=sys.stderr
    )
    return out


def save_untrained(folder: Path, model: str, arguments: dict[str, Any]) -> None:
    """A checkpoint with random weights."""
    import paddle

    from vprtrain import models
    from vprtrain.checkpoint.file_names import CONFIG_FILE, MODEL_FILE
    from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays
    from vprtrain.checkpoint.state import CheckpointState
    from vprtrain.features import Fbank
    from vprtrain.losses import AAMLoss
    from vprtrain.speaker.module import SpeakerModule

    paddle.seed(0)
    encoder = getattr(models, model)(**arguments)
    module = SpeakerModule(
        model=encoder, feature=Fbank(mean_norm=True), loss=AAMLoss(), num_classes=None
    )
    snapshot = Snapshot(
        name=folder.name,
        state=CheckpointState(own={**module.state_keys(), "sample_rate": 16000, "channel": 0}),
        arrays={MODEL_FILE: layer_arrays(module)},
        texts={CONFIG_FILE: "seed: 0\n"},
    )
    snapshot.save(folder)
