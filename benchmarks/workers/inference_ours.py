"""The embedding of a recording by vprtrain's Predictor, with an untrained model in one format."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vprtrain.runtime import prepare


def embedding(
    *, model: str, arguments: dict[str, Any], format: str | None, runtime: Any, seconds: float
) -> Callable[[], float]:
    """``format`` is that of the exported model; ``None`` uses the checkpoint."""
    prepare(threads=1)

    import numpy as np

    from vprtrain import Predictor

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, exported = Path(folder, "checkpoint"), Path(folder, "exported")
        save_untrained(checkpoint, model, arguments)
        if format is not None:
            # In another process: this one then does only what an application does.
            options = ["--checkpoint", str(checkpoint), "--out", str(exported), "--format", format]
            subprocess.run(
                [sys.executable, "-m", "vprtrain", "export", *options],
                check=True,
                stdout=sys.stderr,
            )
        predictor = Predictor(checkpoint if format is None else exported, runtime=runtime)
    noise = (0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))).astype("float32")

    def step() -> float:
        return float(np.abs(predictor.embed((noise, 16000))).sum())

    step()  # one-time work is done here
    return step


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
