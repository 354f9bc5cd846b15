"""A complete checkpoint of a tiny untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle

from vprtrain.checkpoint.file_names import AVERAGED_MODEL_FILE, CONFIG_FILE, MODEL_FILE
from vprtrain.checkpoint.snapshot import Snapshot, layer_arrays
from vprtrain.checkpoint.state import CheckpointState
from vprtrain.data.synthetic.voices import draw_speaker, draw_utterance
from vprtrain.features import Fbank, FeatureExtractor
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN, SpeakerEncoder
from vprtrain.speaker.module import SpeakerModule


def write_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    threshold: float | None = 0.9,
    averaged: bool = False,
    rate: int | None = 16000,
    synthetic: bool = False,
    model: SpeakerEncoder | None = None,
    feature: FeatureExtractor | None = None,
) -> Path:
    """Write a new folder, the same bytes for the same arguments.

    Args:
        rate: the sample rate in its state; ``None`` leaves it out.
        synthetic: its state says that the training voices were synthetic.
        model: another network than a TDNN on 24 mels.
        feature: what the other network takes.
    """
    paddle.seed(seed)
    module = SpeakerModule(
        model=model or TDNN(input_size=24, channels=8, pooled_channels=16, embedding_dim=16),
        feature=feature or Fbank(n_mels=24, mean_norm=True),
        loss=AAMLoss(),
        num_classes=4,
    )
    audio = {} if rate is None else {"sample_rate": rate, "channel": 0}
    voices = {"synthetic_voices": True} if synthetic else {}
    state = CheckpointState(
        own={**module.state_keys(), **audio, **voices},
        last_epoch=1,
        step=1,
        metrics={"eer": None, "min_dcf": None, "threshold": threshold},
    )
    arrays = {MODEL_FILE: layer_arrays(module)}
    if averaged:
        arrays[AVERAGED_MODEL_FILE] = {
            name: value * 2 for name, value in arrays[MODEL_FILE].items()
        }
    snapshot = Snapshot(
        name=folder.name, state=state, arrays=arrays, texts={CONFIG_FILE: "seed: 0\n"}
    )
    snapshot.save(folder)
    return folder


def voice(speaker: int, take: int = 0, seconds: float = 1.0) -> np.ndarray:
    """An utterance of a synthetic speaker, float32 at 16 kHz."""
    return draw_utterance(
        draw_speaker(np.random.default_rng(speaker)),
        np.random.default_rng([speaker, take]),
        seconds=seconds,
    )
