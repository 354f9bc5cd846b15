"""Write ``initial.json``: how the weights of each family start in the toolkit that published it.

    REFERENCE_TOOLKITS=DIR PYTHONPATH=tests python tests/parity/initial_figures.py [NAME ..]

in an environment with PyTorch (``reference_networks.py`` says what DIR holds), and then, with
``ppvector`` as its argument, in one with ppvector 1.0.2: see ``ppvector_figures.py``.

For every tensor that is trained: the mean, the standard deviation, and the largest distance from
the mean in standard deviations, over many draws. The last tells the distributions apart: 1.73 is
uniform, 3 and more is normal. A standard deviation of 0 is a constant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

DRAWS = 100
FILE = Path(__file__).parent / "initial.json"


def moments(draw: Callable[[], dict[str, np.ndarray]]) -> dict[str, list[float]]:
    """``[mean, standard deviation, largest]`` of each tensor that ``draw`` gives."""
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(DRAWS):
        for name, value in draw().items():
            found.setdefault(name, []).append(value.reshape(-1).astype("float64"))
    return {name: _moments(np.concatenate(values)) for name, values in found.items()}


def _moments(values: np.ndarray) -> list[float]:
    mean, deviation = values.mean(), values.std()
    # A mean of zero is not measured exactly.
    mean = 0.0 if abs(mean) < 6 * deviation / np.sqrt(values.size) else mean
    largest = np.abs(values - mean).max() / deviation if deviation else 0.0
    return [float(f"{value:.4g}") for value in (mean, deviation, largest)]


def torch_moments(names: list[str]) -> dict[str, dict[str, list[float]]]:
    import torch
    from reference_networks import HEADS, NETWORKS, find_toolkits

    find_toolkits()
    torch.manual_seed(0)

    made = NETWORKS | HEADS

    def draw(name: str) -> dict[str, np.ndarray]:
        return {key: value.detach().numpy() for key, value in made[name]().named_parameters()}

    return {name: moments(lambda name=name: draw(name)) for name in names or made}


def ppvector_moments() -> dict[str, dict[str, list[float]]]:
    import ppvector  # noqa: F401  # isort: skip  # before Paddle, see ppvector_figures.py
    import paddle
    from ppvector.models.res2net import Res2Net
    from ppvector.models.resnet_se import ResNetSE

    paddle.seed(0)
    networks = {
        "ppvector_res2net": lambda: Res2Net(80, m_channels=8, layers=[1, 1, 1, 1], embd_dim=16),
        "ppvector_resnet_se": lambda: ResNetSE(
            32, layers=[1, 1, 1, 1], num_filters=[8, 16, 32, 64], embd_dim=16
        ),
    }

    def draw(name: str) -> dict[str, np.ndarray]:
        return {
            key: value.numpy()
            for key, value in networks[name]().named_parameters()
            if not value.stop_gradient
        }

    return {name: moments(lambda name=name: draw(name)) for name in networks}


if __name__ == "__main__":
    figures = json.loads(FILE.read_text()) if FILE.exists() else {}
    names = sys.argv[1:]
    figures.update(ppvector_moments() if names == ["ppvector"] else torch_moments(names))
    text = ",\n".join(f"{json.dumps(name)}:{json.dumps(figures[name])}" for name in sorted(figures))
    FILE.write_text(f"{{\n{text}\n}}\n")
