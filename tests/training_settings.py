"""What the training trajectories in ``parity`` share: the settings of each, and weights and batches
that follow from names and steps alone (NumPy only)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from reference_weights import reference_weight

STEPS = 50
STEPS_PER_EPOCH = 5
EPOCHS = STEPS // STEPS_PER_EPOCH
WARMUP_EPOCHS = 1
MARGIN_START, MARGIN_FIX = 2, 6
"""Completed epochs between which the margin grows."""
MARGIN = 0.2
SCALE = 32.0
BATCH, FRAMES, MELS = 8, 80, 32
CLASSES = 40
EMBEDDING = 16


class Training(NamedTuple):
    """One run: a network of ``reference_networks.py``, and how it is trained."""

    network: str
    loss: str
    """``aam``, ``am``, ``subcenter``, ``intertopk``, ``sphereface2_a``, ``sphereface2_c``,
    ``linear``."""
    optimizer: str = "sgd"
    """``sgd`` (Nesterov), ``adam``, ``adamw``."""
    schedule: str = "exponential"
    """``exponential`` (WeSpeaker), ``cosine`` (3D-Speaker, ppvector), ``constant``."""
    margin_grows: bool = True
    peak: float = 0.05
    """The highest learning rate."""
    lowest: float = 0.01
    """The lowest learning rate of a schedule, as a share of the peak. ppvector's warm-up starts at
    0 and its cosine ends at the minimum; that of 3D-Speaker and vprtrain starts at the minimum."""
    decay: float = 0.0001
    """The weight decay."""

    @property
    def name(self) -> str:
        return f"{self.network}/{self.loss}"

    @property
    def rates(self) -> tuple[float, float]:
        """The peak and the minimum of the learning rate."""
        return self.peak, self.peak * self.lowest


def _cosine(network: str, loss: str = "aam", *, peak: float = 0.05) -> Training:
    return Training(network, loss, schedule="cosine", peak=peak)


def _speechbrain(network: str, loss: str = "aam") -> Training:
    return Training(
        network,
        loss,
        optimizer="adam",
        schedule="constant",
        margin_grows=False,
        peak=0.001,
        decay=0.000002,
    )


def _adamw(network: str, loss: str, *, margin_grows: bool = True) -> Training:
    return Training(
        network, loss, optimizer="adamw", margin_grows=margin_grows, peak=0.001, decay=0.05
    )


TRAININGS = {
    training.name: training
    for training in (
        _cosine("3dspeaker_campplus"),
        _cosine("3dspeaker_ecapa", peak=0.005),
        _cosine("3dspeaker_eres2net"),
        _cosine("3dspeaker_eres2netv2"),
        _cosine("3dspeaker_res2net"),
        _cosine("3dspeaker_resnet", peak=0.005),
        _cosine("3dspeaker_xvector", "am"),
        Training(
            "ppvector_tdnn",
            "aam",
            optimizer="adam",
            schedule="cosine",
            margin_grows=False,
            peak=0.001,
            lowest=0.0,
            decay=0.00001,
        ),
        _speechbrain("speechbrain_ecapa"),
        _speechbrain("speechbrain_resnet"),
        _speechbrain("speechbrain_xvector", "linear"),
        Training("wespeaker_campplus", "aam"),
        _adamw("wespeaker_df_resnet", "aam", margin_grows=False),
        Training("wespeaker_ecapa", "intertopk", peak=0.005),
        Training("wespeaker_eres2net", "am"),
        Training("wespeaker_redimnet", "aam"),
        Training("wespeaker_repvgg", "aam"),
        Training("wespeaker_res2net", "sphereface2_a"),
        Training("wespeaker_resnet", "aam"),
        Training("wespeaker_simam_resnet", "sphereface2_c"),
        _adamw("wespeaker_xi_vector", "subcenter"),
        Training("wespeaker_xvec", "aam"),
    )
}


def features(step: int) -> np.ndarray:
    """``[BATCH, FRAMES, MELS]``, float64."""
    return np.random.default_rng([1, step]).standard_normal((BATCH, FRAMES, MELS))


def labels(step: int) -> np.ndarray:
    """``[BATCH]``, int64."""
    return np.random.default_rng([2, step]).integers(0, CLASSES, BATCH)


def head_weight(columns: int) -> np.ndarray:
    """``[columns, EMBEDDING]``, as PyTorch's classifiers have it."""
    return reference_weight("head.weight", (columns, EMBEDDING))
