"""Write ``trajectories.json``: losses, learning rates and margins of 50 steps of training with the
toolkits' own networks, losses, schedules and order of operations, in float64. SGD's
momentum and weight decay and the epsilon of normalisations are rounded to float32, as Paddle's
kernels hold them.

``itself`` is how far PyTorch's losses part from its own if the output of every layer is moved by a
random share of it, of deviation :data:`ROUNDING`, which is the order of float64's own rounding.
``float64_settings`` is how far they part if the settings are not rounded to float32.

    REFERENCE_TOOLKITS=DIR PYTHONPATH=tests python tests/parity/trajectory_figures.py [NAME ..]

in an environment with PyTorch; ``reference_networks.py`` says what DIR holds.
``training_settings.py`` has the settings.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_networks import NETWORKS, find_toolkits, imported
from reference_weights import reference_weight
from training_settings import (
    CLASSES,
    EMBEDDING,
    EPOCHS,
    MARGIN,
    MARGIN_FIX,
    MARGIN_START,
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

ROUNDING = 1e-15
_OF_PYTORCH = [name for name in TRAININGS if not name.startswith("ppvector_")]
FILE = Path(__file__).parent / "trajectories.json"
Step = Callable[[int], None]
Held = Callable[[float], float]
"""A setting as it takes part in the training."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_PROJECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "aam": ("ArcMarginProduct", {}),
    "am": ("AddMarginProduct", {}),
    "subcenter": ("ArcMarginProduct_intertopk_subcenter", {"do_lm": True}),
    "intertopk": ("ArcMarginProduct_intertopk_subcenter", {}),
    "sphereface2_a": ("SphereFace2", {"margin_type": "A"}),
    "sphereface2_c": ("SphereFace2", {}),
}


def wespeaker_loss(training: Training, model: torch.nn.Module) -> tuple[Loss, Any]:
    """As in wespeaker/utils/executor.py. The head is ``model.projection``."""
    name, options = _PROJECTIONS[training.loss]
    made = imported(f"wespeaker.models.projections.{name}")
    model.projection = made(EMBEDDING, CLASSES, scale=SCALE, margin=0.0, **options)
    criterion = torch.nn.CrossEntropyLoss()

    def loss(embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs = model.projection(embeddings, targets)
        return outputs[1] if isinstance(outputs, tuple) else criterion(outputs, targets)

    return loss, model.projection


def speakerlab_loss(training: Training, model: torch.nn.Module) -> tuple[Loss, Any]:
    """As in speakerlab/bin/train.py."""
    name = {"aam": "ArcMarginLoss", "am": "AddMarginLoss"}[training.loss]
    model.projection = imported("speakerlab.models.campplus.classifier.CosineClassifier")(
        EMBEDDING, out_neurons=CLASSES
    )
    criterion = imported(f"speakerlab.loss.margin_loss.{name}")(scale=SCALE, margin=MARGIN)
    return lambda embeddings, targets: criterion(model.projection(embeddings), targets), criterion


def speechbrain_loss(training: Training, model: torch.nn.Module) -> tuple[Loss, Any]:
    """As in recipes/VoxCeleb/SpeakerRec/train_speaker_embeddings.py."""
    losses = "speechbrain.nnet.losses."
    if training.loss == "linear":
        model.projection = torch.nn.Linear(EMBEDDING, CLASSES)
        nll, softmax = imported(losses + "nll_loss"), torch.nn.LogSoftmax(dim=-1)
        return lambda embeddings, targets: nll(
            softmax(model.projection(embeddings)).unsqueeze(1), targets.unsqueeze(1)
        ), None
    model.projection = imported("speechbrain.lobes.models.ECAPA_TDNN.Classifier")(
        EMBEDDING, out_neurons=CLASSES
    )
    margin = imported(losses + "AdditiveAngularMargin")(margin=MARGIN, scale=SCALE)
    criterion = imported(losses + "LogSoftmaxWrapper")(margin)

    def loss(embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return criterion(model.projection(embeddings.unsqueeze(1)), targets.unsqueeze(1))

    return loss, margin


_TOOLKITS = {
    "wespeaker": wespeaker_loss,
    "3dspeaker": speakerlab_loss,
    "speechbrain": speechbrain_loss,
}


def margin_step(training: Training, toolkit: str, model: Any, criterion: Any) -> Step:
    """The toolkit's margin schedule."""
    if not training.margin_grows:
        if toolkit == "wespeaker":
            criterion.update(margin=MARGIN)
        return lambda step: None
    if toolkit == "wespeaker":  # it counts epochs from 1
        return imported("wespeaker.utils.schedulers.MarginScheduler")(
            model, STEPS_PER_EPOCH, MARGIN_START + 1, MARGIN_FIX + 1, 0.0, MARGIN, True
        ).step
    return imported("speakerlab.process.scheduler.MarginScheduler")(
        criterion, MARGIN_START, MARGIN_FIX, STEPS_PER_EPOCH, 0.0, MARGIN
    ).step


def rate_step(training: Training, optimizer: torch.optim.Optimizer) -> Step:
    """The toolkit's learning rate schedule."""
    peak, minimum = training.rates
    if training.schedule == "exponential":
        return imported("wespeaker.utils.schedulers.ExponentialDecrease")(
            optimizer, EPOCHS, STEPS_PER_EPOCH, peak, minimum, WARMUP_EPOCHS, warm_from_zero=True
        ).step
    if training.schedule == "cosine":
        return imported("speakerlab.process.scheduler.WarmupCosineScheduler")(
            optimizer, minimum, peak, WARMUP_EPOCHS, EPOCHS, STEPS_PER_EPOCH
        ).step
    return lambda step: None


def optimizer_of(training: Training, model: torch.nn.Module, held: Held) -> torch.optim.Optimizer:
    rate, parameters = training.rates[0], model.parameters()
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=held(0.9),
            nesterov=True,
            weight_decay=held(training.decay),
        )
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=training.decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=training.decay)


def in_float32(value: float) -> float:
    """A setting as Paddle's kernels hold it, whatever the type of the weights."""
    return float(np.float32(value))


def hold_epsilons(model: torch.nn.Module, held: Held) -> None:
    for layer in model.modules():
        if isinstance(getattr(layer, "eps", None), float):
            layer.eps = held(layer.eps)


def embeddings_of(model: torch.nn.Module, step: int) -> torch.Tensor:
    outputs = model(torch.from_numpy(features(step)))
    outputs = outputs[-1] if isinstance(outputs, tuple) else outputs
    return outputs.reshape(-1, EMBEDDING)


def trajectory(training: Training) -> dict[str, Any]:
    """The figures of a training."""
    figures = trained(training)
    for key, others in (
        ("itself", trained(training, rounding=ROUNDING)),
        ("float64_settings", trained(training, held=float)),
    ):
        figures[key] = differences(figures["losses"], others["losses"])
    return figures


def differences(losses: list[float], others: list[float]) -> list[float]:
    """Relative."""
    return [float(f"{value:.1e}") for value in np.abs(np.array(others) / losses - 1)]


def trained(
    training: Training, *, held: Held = in_float32, rounding: float = 0.0
) -> dict[str, Any]:
    toolkit = training.network.partition("_")[0]
    model = NETWORKS[training.network]()
    names = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {
        key: torch.from_numpy(np.asarray(reference_weight(key, s))) for key, s in names.items()
    }
    model.load_state_dict(weights)
    loss_of, criterion = _TOOLKITS[toolkit](training, model)
    with torch.no_grad():
        head = model.projection.weight
        head.copy_(torch.from_numpy(head_weight(head.shape[0])))
        if training.loss == "linear":
            model.projection.bias.zero_()
    model.double().train()
    _silence_pooling(model)
    hold_epsilons(model, held)
    if rounding:
        _round_outputs(model, rounding)
    optimizer = optimizer_of(training, model, held)
    set_rate = rate_step(training, optimizer)
    set_margin = margin_step(training, toolkit, model, criterion)
    losses, rates, margins = [], [], []
    for step in range(STEPS):
        set_rate(step)
        set_margin(step)
        loss = loss_of(embeddings_of(model, step), torch.from_numpy(labels(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        margins.append(0.0 if criterion is None else criterion.margin)
    statistics = {
        key: [float(f"{value:.9g}") for value in model.state_dict()[key].tolist()[:4]]
        for key in _first_and_last([key for key in names if key.endswith(".running_mean")])
    }
    statistics |= {
        (key := name.replace("running_mean", "running_var")): [
            float(f"{value:.9g}") for value in model.state_dict()[key].tolist()[:4]
        ]
        for name in list(statistics)
    }
    rounded = {"rates": rates, "margins": margins}
    return {
        "keys": {key: list(shape) for key, shape in names.items() if shape},
        "losses": losses,
        **{key: [float(f"{value:.9g}") for value in values] for key, values in rounded.items()},
        "statistics": statistics,
    }


def _first_and_last(keys: list[str]) -> list[str]:
    return [keys[0], keys[-1]]


def _round_outputs(model: torch.nn.Module, deviation: float) -> None:
    """Multiply each output of the layers by 1 + a Gaussian number of this deviation."""
    generator = torch.Generator().manual_seed(0)

    def rounded(layer: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor):
            return output
        return output * (1 + deviation * torch.randn(output.shape, generator=generator))

    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(rounded)


def _silence_pooling(model: torch.nn.Module) -> None:
    """SpeechBrain's statistics pooling adds noise to the means and 1e-5 to the deviations. TDNN
    does not, which changes the losses by 1.6e-6 of their size."""
    for layer in model.modules():
        if hasattr(layer, "_get_gauss_noise"):
            layer.eps = 0.0
            layer._get_gauss_noise = types.MethodType(
                lambda self, size, device="cpu": torch.zeros(size, device=device), layer
            )


def write(figures: dict[str, Any]) -> None:
    text = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(figures[name], separators=(',', ':'))}"
        for name in _OF_PYTORCH
        if name in figures
    )
    FILE.write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    find_toolkits()
    torch.set_num_threads(1)
    # Masks of ECAPA-TDNN are of the default type, and SpeechBrain's AAM calls float().
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    figures = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in sys.argv[1:] or _OF_PYTORCH:
        figures[name] = trajectory(TRAININGS[name])
        print(name, figures[name]["losses"][::10], figures[name]["itself"][::10], flush=True)
        write(figures)
