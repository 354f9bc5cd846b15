"""Forward and backward of one of vprtrain's losses, alone or with the head that it builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vprtrain import runtime


def forward_backward(
    *,
    loss: str,
    arguments: dict[str, Any],
    head: bool,
    batch: int,
    classes: int,
    embedding_dim: int,
    repeats: int,
    threads: int,
) -> Callable[[], float]:
    runtime.prepare(threads=threads)

    import numpy as np
    import paddle

    from vprtrain import losses

    loss_function = getattr(losses, loss)(**arguments)
    classifier = loss_function.build_head(embedding_dim=embedding_dim, num_classes=classes)
    rng = np.random.default_rng(0)
    embeddings = paddle.to_tensor(
        rng.standard_normal((batch, embedding_dim), "float32"), stop_gradient=False
    )
    labels = paddle.to_tensor(rng.integers(classes, size=batch))
    # Small, because ppvector's cross entropy is at most 64 on a CPU.
    classifier.weight.set_value(0.05 * rng.standard_normal(classifier.weight.shape, "float32"))
    scores = classifier(embeddings).detach()
    scores.stop_gradient = False
    trained = [embeddings, scores, *classifier.parameters(), *loss_function.parameters()]

    def step() -> float:
        for _ in range(repeats):
            value = loss_function.objective(
                classifier(embeddings) if head else scores, labels, embeddings
            )
            value.backward()
            for tensor in trained:
                tensor.clear_gradient(set_to_zero=False)
        return value.item()

    return step
