"""The same losses by ppvector 1.0.2, alone or with its classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np  # imported before Paddle 2.6, which may crash otherwise
import paddle
from ppvector.models import loss as losses
from ppvector.models.fc import SpeakerIdentification


def forward_backward(
    *,
    loss: str,
    arguments: dict[str, Any],
    head: bool,
    batch: int,
    classes: int,
    embedding_dim: int,
    repeats: int,
) -> Callable[[], float]:
    loss_function = getattr(losses, loss)(**arguments)
    classifier = SpeakerIdentification(
        input_dim=embedding_dim, num_speakers=classes, loss_type=loss, K=arguments.get("K", 1)
    )
    rng = np.random.default_rng(0)
    embeddings = paddle.to_tensor(
        rng.standard_normal((batch, embedding_dim), "float32"), stop_gradient=False
    )
    labels = paddle.to_tensor(rng.integers(classes, size=batch))
    weight = classifier.parameters()[0]
    weight.set_value(0.05 * rng.standard_normal(weight.shape, "float32"))
    scores = classifier(embeddings).detach()
    scores.stop_gradient = False
    trained = [embeddings, scores, *classifier.parameters(), *loss_function.parameters()]

    def step() -> float:
        for _ in range(repeats):
            value = loss_function(classifier(embeddings) if head else scores, labels)
            value.backward()
            for tensor in trained:
                tensor.clear_gradient(set_to_zero=False)
        return float(value)

    return step
