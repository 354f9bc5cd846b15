"""One of vprtrain's features on a batch of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vprtrain import runtime


def extraction(
    *, feature: str, arguments: dict[str, Any], batch: int, samples: int, threads: int
) -> Callable[[], float]:
    runtime.prepare(threads=threads)

    import numpy as np
    import paddle

    from vprtrain import features

    layer = getattr(features, feature)(mean_norm=True, **arguments)
    noise = np.random.default_rng(0).normal(0, 0.1, (batch, samples)).astype("float32")
    waveforms = paddle.to_tensor(noise)
    return lambda: layer(waveforms)[0, 0].abs().sum().item()
