"""How weights start, against figures of the toolkits' own classes (``initial_figures.py`` writes
them). At the end the tests print a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle
import pytest
from printed_table import printed_at_end
from small_references import NETWORKS

from vprtrain.conversion.reference import names_from_reference
from vprtrain.layers import draw_as_paddle
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    CELoss,
    SpeakerLoss,
    SphereFace2Loss,
    SubCenterInterTopKLoss,
)
from vprtrain.models import SpeakerEncoder

FIGURES = json.loads((Path(__file__).parent / "initial.json").read_text())
DRAWS = 12
UNIFORM = 2.0
"""In standard deviations. The values of a uniform distribution are closer to their mean, by a
factor of 1.15; the largest of a thousand of a normal one is farther."""


class Moments(NamedTuple):
    """Of one tensor, over several draws: the figures of ``initial_figures.py``."""

    size: int
    mean: float
    deviation: float
    largest: float

    @classmethod
    def of(cls, draws: list[np.ndarray]) -> Moments:
        values = np.concatenate([draw.reshape(-1) for draw in draws]).astype("float64")
        mean, deviation = values.mean(), values.std()
        largest = np.abs(values - mean).max() / deviation if deviation else 0.0
        return cls(values.size, mean, deviation, largest)

    def differences(self, mean: float, deviation: float, largest: float) -> list[str]:
        """What differs from a reference's figures by more than chance explains."""
        if deviation == 0:
            constant = self.deviation == 0 and self.mean == mean
            return [] if constant else [f"not always {mean}"]
        found = []
        if abs(self.mean - mean) > 6 * deviation / self.size**0.5:
            found.append(f"mean {self.mean:.3g}, not {mean:.3g}")
        if abs(self.deviation / deviation - 1) > 6 / (2 * self.size) ** 0.5:
            found.append(f"deviation {self.deviation:.3g}, not {deviation:.3g}")
        if self.size > 1000 and (self.largest < UNIFORM) != (largest < UNIFORM):
            found.append(f"largest {self.largest:.3g} deviations, not {largest:.3g}")
        return found


def drawn(make: Callable[[], paddle.nn.Layer]) -> dict[str, Moments]:
    """The moments of every trained tensor of a layer."""
    draws: dict[str, list[np.ndarray]] = {}
    for _ in range(DRAWS):
        for name, value in make().named_parameters():
            if not value.stop_gradient:
                draws.setdefault(name, []).append(value.numpy())
    return {name: Moments.of(values) for name, values in draws.items()}


def expected(name: str) -> dict[str, list[float]]:
    """The reference's figures by our names."""
    figures = FIGURES[name]
    names = names_from_reference(NETWORKS[name](), figures)
    return {ours: figures[key] for ours, (key,) in names.items()}


class Row(NamedTuple):
    """One line of the table: tensors that are no constants, and the widest and the narrowest of
    them in ratio to the reference."""

    family: str
    tensors: int
    ratios: list[float]

    def __str__(self) -> str:
        return (
            f"{self.family:<24}{self.tensors:>8}{min(self.ratios):>12.3f}{max(self.ratios):>12.3f}"
        )


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    header = f"{'standard deviations':<24}{'tensors':>8}{'smallest':>12}{'largest':>12}"
    with printed_at_end(request, header) as rows:
        yield rows


# ppvector's TDNN starts as Paddle draws; it is a reference of training only.
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "ppvector_tdnn"])
def test_weights_start_as_the_reference_s(name: str, rows: list[Row]) -> None:
    paddle.seed(1)
    figures, ours = expected(name), drawn(NETWORKS[name])
    assert ours.keys() == figures.keys()
    random = [tensor for tensor, (_, deviation, _) in figures.items() if deviation]
    rows.append(Row(name, len(random), [ours[t].deviation / figures[t][1] for t in random]))
    differences = {tensor: ours[tensor].differences(*figures[tensor]) for tensor in ours}
    assert {tensor: found for tensor, found in differences.items() if found} == {}


@pytest.mark.parametrize(
    ("name", "loss", "class_share"),
    [
        ("3dspeaker_cosine_head", AAMLoss, 1.0),
        ("speechbrain_cosine_head", AAMLoss, 1.0),
        ("wespeaker_aam_head", AAMLoss, 0.5),
        ("wespeaker_am_head", AMLoss, 1.0),
        ("wespeaker_intertopk_head", SubCenterInterTopKLoss, 1.0),
        ("wespeaker_linear_head", CELoss, 1.0),
        ("wespeaker_sphereface2_head", SphereFace2Loss, 1.0),
    ],
)
def test_heads_start_as_the_reference_s(
    name: str, loss: type[SpeakerLoss], class_share: float
) -> None:
    paddle.seed(1)

    def make() -> paddle.nn.Layer:
        made = loss()
        head = made.build_head(embedding_dim=16, num_classes=40, class_share=class_share)
        return paddle.nn.LayerList([head, made])

    ours = {key.rpartition(".")[2]: moments for key, moments in drawn(make).items()}
    figures = {key.rpartition(".")[2]: values for key, values in FIGURES[name].items()}
    assert ours.keys() == figures.keys()
    differences = {key: ours[key].differences(*figures[key]) for key in ours}
    assert {key: found for key, found in differences.items() if found} == {}


def test_paddle_s_own_start_is_another() -> None:
    figures = expected("3dspeaker_xvector")

    def make() -> SpeakerEncoder:
        model = NETWORKS["3dspeaker_xvector"]()
        draw_as_paddle(model)
        return model

    weight = drawn(make)["frames.1.conv.weight"].deviation
    assert weight == pytest.approx(6**0.5 * figures["frames.1.conv.weight"][1], rel=0.02)
