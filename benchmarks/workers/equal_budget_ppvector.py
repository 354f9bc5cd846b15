"""Train ppvector 1.0.2 with its own trainer, and embed recordings as its evaluation does.

    PYTHON benchmarks/workers/equal_budget_ppvector.py OPTIONS

``OPTIONS`` is a JSON object with the options of :func:`run`. Nothing of this project is imported.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np  # imported before Paddle 2.6, which may crash otherwise
import paddle
from ppvector.data_utils.reader import CustomDataset
from ppvector.trainer import PPVectorTrainer


def configuration(
    *, model: str, train_list: str, speakers: int, epochs: int, batch: int, seconds: float
) -> dict[str, Any]:
    """Its configs/<model>.yml of 1.0.2, without augmentation."""
    pooling = {} if model == "CAMPPlus" else {"pooling_type": "ASP"}  # CAM++ has one pooling only
    return {
        "dataset_conf": {
            "min_duration": 0.5,
            "max_duration": seconds,
            "do_vad": False,
            "sample_rate": 16000,
            "use_dB_normalization": True,
            "target_dB": -20,
            "train_list": train_list,
            # Both are opened by the constructor, and not read without evaluation.
            "enroll_list": train_list,
            "trials_list": train_list,
            "eval_conf": {"batch_size": 1, "max_duration": 20},
            "dataLoader": {"batch_size": batch, "num_workers": 0, "drop_last": True},
            "aug_conf": {"speed_perturb": False, "noise_dir": "none"},
            "use_spec_aug": False,
            "spec_aug_args": {},
        },
        "preprocess_conf": {"feature_method": "Fbank", "method_args": {"sr": 16000, "n_mels": 80}},
        "optimizer_conf": {
            "optimizer": "Adam",
            "weight_decay": 1e-5,
            "scheduler": "WarmupCosineSchedulerLR",
            "scheduler_args": {"learning_rate": 0.001, "min_lr": 1e-5, "warmup_epoch": 5},
        },
        "model_conf": {
            "backbone": {"embd_dim": 192} | pooling,
            "classifier": {"num_speakers": speakers, "num_blocks": 0},
        },
        "loss_conf": {
            "use_loss": "AAMLoss",
            "args": {"margin": 0.2, "scale": 32, "easy_margin": False},
            "use_margin_scheduler": True,
            "margin_scheduler_args": {"final_margin": 0.3},
        },
        "train_conf": {"enable_amp": False, "max_epoch": epochs, "log_interval": 20},
        "use_model": model,
    }


def run(*, config: dict[str, Any], seed: int, eval_list: str, out: str) -> None:
    """Train, and write the embeddings of the recordings in ``eval_list`` as rows of an .npy
    file. Its trainer logs below the working folder."""
    random.seed(seed)
    np.random.seed(seed)
    set_seed = paddle.seed
    paddle.seed = lambda fixed: set_seed(seed)  # its trainer sets 1000 in every run
    trainer = PPVectorTrainer(configuration(**config), use_gpu=False)
    trainer.train(save_model_path="models", do_eval=False)
    encoder = trainer.model[0]
    encoder.eval()
    recordings = CustomDataset(eval_list, do_vad=False, max_duration=20, mode="eval")
    with paddle.no_grad():
        embeddings = [embedding(trainer, encoder, recordings[i][0]) for i in range(len(recordings))]
    np.save(out, np.concatenate(embeddings))


def embedding(
    trainer: PPVectorTrainer, encoder: paddle.nn.Layer, waveform: np.ndarray
) -> np.ndarray:
    """The embedding of one recording, alone in its batch."""
    whole = paddle.ones([1])
    features, _ = trainer.audio_featurizer(paddle.to_tensor(waveform[None]), whole)
    is_ecapa = trainer.configs.use_model == "EcapaTdnn"
    return encoder([features, whole] if is_ecapa else features).numpy()


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    folder = Path(options["out"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    run(**options)
    print(json.dumps({"cpu_seconds": time.process_time()}))
