"""Write ``ppvector_trajectory.json``: 50 steps of training with ppvector's own network, classifier,
loss and learning rate schedule, in the order of its trainer and in float64.

PYTHONPATH=tests python tests/parity/ppvector_trajectory_figures.py

in an environment with ppvector 1.0.2 and without vprtrain. ``training_settings.py`` has the
settings. The margin is constant: ppvector's margin schedule is one update behind 3D-Speaker's,
because its trainer calls it after the update.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# This import comes before Paddle: with the releases that ppvector supports, the other order may end
# in a segmentation fault.
import ppvector  # noqa: F401  # isort: skip
import paddle
from ppvector.models.fc import SpeakerIdentification
from ppvector.models.loss import AAMLoss
from ppvector.models.tdnn import TDNN
from ppvector.utils.scheduler import cosine_decay_with_warmup
from reference_weights import reference_weight
from training_settings import (
    CLASSES,
    EMBEDDING,
    EPOCHS,
    MARGIN,
    MELS,
    SCALE,
    STEPS,
    STEPS_PER_EPOCH,
    TRAININGS,
    WARMUP_EPOCHS,
    features,
    head_weight,
    labels,
)

FILE = Path(__file__).parent / "ppvector_trajectory.json"
NAME = "ppvector_tdnn/aam"


def trajectory() -> dict[str, Any]:
    training = TRAININGS[NAME]
    encoder = TDNN(input_size=MELS, channels=48, embd_dim=EMBEDDING)
    keys = {key: list(value.shape) for key, value in encoder.state_dict().items()}
    weights = {key: reference_weight(key, shape).astype("float64") for key, shape in keys.items()}
    encoder.set_state_dict(weights)
    classifier = SpeakerIdentification(EMBEDDING, CLASSES)
    classifier.weight = paddle.create_parameter([EMBEDDING, CLASSES], "float64")
    classifier.weight.set_value(head_weight(CLASSES).T.astype("float64"))
    model = paddle.nn.Sequential(encoder, classifier)
    criterion = AAMLoss(margin=MARGIN, scale=SCALE)
    peak, minimum = training.rates
    schedule = cosine_decay_with_warmup(peak, STEPS_PER_EPOCH, EPOCHS, WARMUP_EPOCHS, minimum)
    optimizer = paddle.optimizer.Adam(
        parameters=model.parameters(), learning_rate=schedule, weight_decay=training.decay
    )
    model.train()
    losses, rates = [], []
    for step in range(STEPS):
        loss = criterion(model(paddle.to_tensor(features(step))), paddle.to_tensor(labels(step)))
        loss.backward()
        rates.append(optimizer.get_lr())
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
        schedule.step()
    state = encoder.state_dict()
    shown = ["bn1._mean", "bn1._variance", "pooling_bn.norm._mean", "pooling_bn.norm._variance"]
    return {
        "keys": keys,
        "losses": losses,
        "rates": [float(f"{rate:.9g}") for rate in rates],
        "margins": [MARGIN] * STEPS,
        "statistics": {key: [float(f"{v:.9g}") for v in state[key].numpy()[:4]] for key in shown},
    }


def compute_in_float64() -> None:
    """ppvector asks for float32 in masks and classes whatever the type of the weights is."""
    paddle.set_default_dtype("float64")
    cast, one_hot = paddle.Tensor.astype, paddle.nn.functional.one_hot
    paddle.Tensor.astype = lambda x, dtype: cast(x, "float64" if dtype == "float32" else dtype)
    paddle.nn.functional.one_hot = lambda x, classes: cast(one_hot(x, classes), "float64")


if __name__ == "__main__":
    compute_in_float64()
    FILE.write_text(json.dumps({NAME: trajectory()}, separators=(",", ":")) + "\n")
