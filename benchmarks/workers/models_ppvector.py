"""The same training step with ppvector 1.0.2, as its trainer builds and runs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np  # imported before Paddle 2.6, which may crash otherwise
import paddle
from ppvector.models.fc import SpeakerIdentification
from ppvector.models.loss import AAMLoss

_MODULES = {
    "CAMPPlus": "campplus",
    "EcapaTdnn": "ecapa_tdnn",
    "ERes2Net": "eres2net",
    "Res2Net": "res2net",
    "ResNetSE": "resnet_se",
    "TDNN": "tdnn",
}


def training_step(*, model: str, batch: int, frames: int, classes: int) -> Callable[[], float]:
    paddle.seed(0)
    backbone = getattr(importlib.import_module(f"ppvector.models.{_MODULES[model]}"), model)(
        input_size=80, embd_dim=192
    )
    classifier = SpeakerIdentification(input_dim=192, num_speakers=classes, loss_type="AAMLoss")
    network = paddle.nn.Sequential(backbone, classifier)
    loss_function = AAMLoss(margin=0.2, scale=32)
    optimizer = paddle.optimizer.Adam(parameters=network.parameters(), learning_rate=1e-3)
    rng = np.random.default_rng(0)
    features = paddle.to_tensor(rng.standard_normal((batch, frames, 80), "float32"))
    labels = paddle.to_tensor(rng.integers(classes, size=batch))

    def step(examples: int = batch) -> float:
        loss = loss_function(network(features[:examples]), labels[:examples])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    step(2)  # one-time work is done here
    return step
