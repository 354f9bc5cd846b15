"""The same embedding by the predictor of ppvector 1.0.2, with an untrained model of its own."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np  # must be imported before Paddle 2.6, which may crash otherwise
import paddle
from ppvector.predict import PPVectorPredictor

_MODULES = {
    "CAMPPlus": "campplus",
    "EcapaTdnn": "ecapa_tdnn",
    "ERes2Net": "eres2net",
    "Res2Net": "res2net",
    "ResNetSE": "resnet_se",
    "TDNN": "tdnn",
}


def embedding(*, model: str, seconds: float) -> Callable[[], float]:
    paddle.seed(0)
    backbone = getattr(importlib.import_module(f"ppvector.models.{_MODULES[model]}"), model)
    weights = paddle.nn.Sequential(backbone(input_size=80, embd_dim=192)).state_dict()
    configs = {  # as in ppvector's configuration files
        "use_model": model,
        "model_conf": {"backbone": {"embd_dim": 192}},
        "preprocess_conf": {"feature_method": "Fbank", "method_args": {"sr": 16000, "n_mels": 80}},
        "dataset_conf": {
            "sample_rate": 16000,
            "min_duration": 0.3,
            "use_dB_normalization": True,
            "target_dB": -20,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        paddle.save(weights, str(Path(folder, "model.pdparams")))
        predictor = PPVectorPredictor(configs, model_path=folder, use_gpu=False)
    noise = (0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))).astype("float32")

    def step() -> float:
        return float(np.abs(predictor.predict(noise, 16000)).sum())

    step()  # one-time work is done here
    return step
