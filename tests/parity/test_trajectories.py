"""Training step by step, against 50 steps of the toolkits' own networks, losses, margin and
learning rate schedules, in float64 on both sides (``trajectory_figures.py`` writes the figures).

At the end the tests print a table; the whole one with ``pytest -n 0 -m "slow or not slow"
tests/parity/test_trajectories.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
import pytest
from printed_table import printed_at_end
from reference_weights import reference_weight
from small_references import NETWORKS
from training_settings import (
    BATCH,
    CLASSES,
    EPOCHS,
    MARGIN,
    MARGIN_FIX,
    MARGIN_START,
    MELS,
    SCALE,
    STEPS,
    STEPS_PER_EPOCH,
    TRAININGS,
    WARMUP_EPOCHS,
    Training,
    features,
    head_weight,
    labels,
)

from vprtrain.callbacks import CosineWarmup, ExponentialWarmup, MarginSchedule
from vprtrain.conversion.reference import names_from_reference, state_from_reference
from vprtrain.engine import Adam, AdamW, Callback, DataModule, Engine, Momentum, OptimizerFactory
from vprtrain.engine.run import Run
from vprtrain.features import FeatureExtractor
from vprtrain.losses import (
    AAMLoss,
    AMLoss,
    CELoss,
    SpeakerLoss,
    SphereFace2Loss,
    SubCenterInterTopKLoss,
    SubCenterLoss,
)
from vprtrain.speaker import SpeakerModule
from vprtrain.speaker.data import SpeakerBatch

FIGURES = {
    name: figures
    for file in ("trajectories.json", "ppvector_trajectory.json")
    for name, figures in json.loads((Path(__file__).parent / file).read_text()).items()
}
SLOW = {"3dspeaker_campplus/aam", "wespeaker_campplus/aam"}
PARTED = 1e-3
"""The relative difference of a loss from which two trainings count as parted."""
ROUNDING = 1e-8
"""The largest relative difference where nothing lets rounding grow."""
GROWTH, EARLIER = 1000, 3
"""How much further, and by how many steps earlier, the two sides may part than PyTorch parts from
itself if the outputs of its layers are moved by 1e-15 of their size. (In 3dspeaker_resnet a jump by
a factor of 200 comes three steps earlier.)"""


def loss_of(training: Training) -> SpeakerLoss:
    options: dict[str, Any] = {"margin": MARGIN, "scale": SCALE}
    losses = {
        "aam": lambda: AAMLoss(**options),
        "am": lambda: AMLoss(**options),
        "intertopk": lambda: SubCenterInterTopKLoss(**options),
        "linear": CELoss,
        "sphereface2_a": lambda: SphereFace2Loss(**options, margin_type="A"),
        "sphereface2_c": lambda: SphereFace2Loss(**options),
        "subcenter": lambda: SubCenterLoss(**options),
    }
    return losses[training.loss]()


def optimizer_of(training: Training) -> OptimizerFactory:
    rate = training.rates[0]
    if training.optimizer == "sgd":
        return Momentum(learning_rate=rate, weight_decay=training.decay)
    if training.optimizer == "adam":
        return Adam(learning_rate=rate, weight_decay=training.decay)
    return AdamW(learning_rate=rate, weight_decay=training.decay)


def schedules_of(training: Training) -> list[Callback]:
    minimum, warmup = training.rates[1], float(WARMUP_EPOCHS)
    schedules: list[Callback] = []
    if training.schedule == "exponential":
        schedules.append(ExponentialWarmup(minimum=minimum, warmup_epochs=warmup))
    if training.schedule == "cosine":
        schedules.append(CosineWarmup(minimum=minimum, warmup_epochs=warmup))
    if training.margin_grows:
        schedules.append(
            MarginSchedule(final=MARGIN, start_epoch=MARGIN_START, fix_epoch=MARGIN_FIX)
        )
    return schedules


class GivenFeatures(FeatureExtractor):
    """Takes features ``[batch, frames, MELS]`` in the place of waveforms."""

    def __init__(self) -> None:
        super().__init__(
            output_size=MELS,
            frame_length=2,
            frame_shift=1,
            centred=False,
            mean_norm=False,
            variance_norm=False,
        )

    def forward(self, waveforms: paddle.Tensor, lengths: object = None) -> paddle.Tensor:
        return waveforms


class KeyedBatches(DataModule):
    """The batches of :file:`training_settings.py`."""

    steps_per_epoch = STEPS_PER_EPOCH

    def train_batches(self, epoch: int, start: int) -> Iterator[SpeakerBatch]:
        for step in range(epoch * STEPS_PER_EPOCH + start, (epoch + 1) * STEPS_PER_EPOCH):
            yield SpeakerBatch(features(step), labels(step))

    def fingerprint(self) -> Mapping[str, Any]:
        return {}


class RecordedModule(SpeakerModule):
    """Keeps the loss of every step."""

    def training_step(self, batch: SpeakerBatch) -> Any:
        loss, scalars = super().training_step(batch)
        self.losses = [*getattr(self, "losses", []), loss.item()]
        return loss, scalars


class Recorder(Callback):
    """Keeps the learning rate and the margin of every update."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.margins: list[float] = []

    def on_before_optimizer_step(self, run: Run) -> None:
        self.rates.append(run.learning_rate)
        self.margins.append(run.module.margin or 0.0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Weights and sums in double precision, so that the two sides do not part by rounding."""
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype("float32")


class Row(NamedTuple):
    """One line of the table."""

    name: str
    settings: str
    differences: np.ndarray
    """Ours from the reference."""
    of_itself: np.ndarray
    """The reference from itself with rounding of 1e-15 in its layers."""
    of_settings: np.ndarray
    """The reference from itself with settings in float64."""

    def __str__(self) -> str:
        figures = (
            f"{differences.max():>10.1e}{_parting(differences):>8}" for differences in self[2:]
        )
        return f"{self.name:<36}{self.settings:<22}" + "".join(figures)


def _parting(differences: np.ndarray) -> str:
    parted = np.flatnonzero(differences > PARTED)
    return str(parted[0]) if parted.size else "none"


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    with printed_at_end(
        request,
        f"{'trajectory':<58}{'largest':>10}{'parts':>8}{'itself':>10}{'parts':>8}"
        f"{'settings':>10}{'parts':>8}",
    ) as rows:
        yield rows


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FIGURES],
)
@pytest.mark.usefixtures("float64")
def test_training_follows_the_reference(name: str, rows: list[Row]) -> None:
    training, expected = TRAININGS[name], FIGURES[name]
    module = module_of(training, expected["keys"])
    recorder = Recorder()
    Engine(
        optimizer=optimizer_of(training),
        callbacks=[*schedules_of(training), recorder],
        max_epochs=EPOCHS,
    ).fit(module, KeyedBatches())

    np.testing.assert_allclose(recorder.rates, expected["rates"], rtol=1e-7)
    np.testing.assert_allclose(recorder.margins, expected["margins"], rtol=1e-7)
    differences = np.abs(np.array(module.losses) / expected["losses"] - 1)
    of_itself, of_settings = (
        np.array(expected.get(key, [0.0] * STEPS)) for key in ("itself", "float64_settings")
    )
    settings = f"{training.optimizer}, {training.schedule}"
    rows.append(Row(name, settings, differences, of_itself, of_settings))
    allowed = allowed_differences(of_itself)
    assert (differences <= allowed).all(), differences
    if allowed[-1] < PARTED:
        check_statistics(module, expected)


def allowed_differences(of_itself: np.ndarray) -> np.ndarray:
    """The largest relative difference of the loss, for each step."""
    soon = np.minimum(np.arange(STEPS) + EARLIER, STEPS - 1)
    grown = GROWTH * np.maximum.accumulate(of_itself)[soon]
    return np.maximum(ROUNDING, grown)


def module_of(training: Training, keys: Mapping[str, list[int]]) -> RecordedModule:
    """A module with the reference's initial weights."""
    model = NETWORKS[training.network]()
    weights = {key: reference_weight(key, shape).astype("float64") for key, shape in keys.items()}
    missing, unexpected = model.set_state_dict(state_from_reference(model, weights))
    assert not missing and not unexpected
    module = RecordedModule(
        model=model, feature=GivenFeatures(), loss=loss_of(training), num_classes=CLASSES
    )
    columns = CLASSES * module.loss.centers_per_class
    module.head.weight.set_value(head_weight(columns).T.astype("float64"))
    if training.loss == "linear":
        module.head.bias.set_value(paddle.zeros([CLASSES]))
    return module


def check_statistics(module: RecordedModule, expected: Mapping[str, Any]) -> None:
    """The running means equal the reference's. The running variances are smaller by up to
    ``1 / BATCH``: Paddle divides a batch's variance by its number of values, PyTorch by that
    number - 1. This acts in evaluation only."""
    names = names_from_reference(module.model, expected["keys"])
    ours = {keys[0]: module.model.state_dict()[name] for name, keys in names.items()}
    kept = 0.9 ** len(expected["losses"])
    for key, figures in expected["statistics"].items():
        figures = np.array(figures)
        found = ours[key].numpy()[: len(figures)]
        rounding = PARTED * np.abs(figures).max()
        initial = kept * reference_weight(key, expected["keys"][key])[: len(figures)]
        share = 1 / BATCH if key.endswith(".running_var") else 0.0
        assert (found <= figures + rounding).all(), key
        assert (found >= figures - share * (figures - initial) - rounding).all(), key
