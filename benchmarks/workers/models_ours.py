"""A training step of one of vprtrain's encoders, on features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vprtrain import runtime


def training_step(
    *, model: str, arguments: dict[str, Any], batch: int, frames: int, classes: int, threads: int
) -> Callable[[], float]:
    runtime.prepare(threads=threads)
    runtime.keep_freed_memory()  # as the command fit does

    import numpy as np
    import paddle

    from vprtrain import models
    from vprtrain.callbacks.fast_convolutions import switch_fast_convolutions
    from vprtrain.engine import Adam
    from vprtrain.losses import AAMLoss, CosineHead

    paddle.seed(0)
    encoder = getattr(models, model)(**arguments)
    switch_fast_convolutions(encoder, True)  # as FastConvolutions does
    head = CosineHead(embedding_dim=encoder.embedding_dim, num_classes=classes)
    loss_function = AAMLoss(margin=0.2, scale=32.0)
    optimizer = Adam(learning_rate=1e-3).build([*encoder.parameters(), *head.parameters()])
    rng = np.random.default_rng(0)
    features = paddle.to_tensor(rng.standard_normal((batch, frames, encoder.input_size), "float32"))
    labels = paddle.to_tensor(rng.integers(classes, size=batch))

    def step(examples: int = batch) -> float:
        loss = loss_function(head(encoder(features[:examples])), labels[:examples])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return loss.item()

    step(2)  # one-time work is done here
    return step
