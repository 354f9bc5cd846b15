"""The same training step in PyTorch, with the networks of the toolkits that published them; and
the embedding of features by these networks, in PyTorch or as an export in ONNX Runtime.

``toolkits`` is a folder with checkouts: ``wespeaker``, ``3D-Speaker``, ``speechbrain``.
"""

from __future__ import annotations

import importlib
import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

_PACKAGES = {
    "wespeaker": "wespeaker/wespeaker",
    "wespeaker.models": "wespeaker/wespeaker/models",
    "wespeaker.utils": "wespeaker/wespeaker/utils",
    "speakerlab": "3D-Speaker/speakerlab",
    "speechbrain": "speechbrain/speechbrain",
}
_SPEAKERLAB = {"feat_dim": 80, "embedding_size": 192}
_SPEECHBRAIN = {"input_size": 80, "lin_neurons": 192}
_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "CAMPPlus": ("speakerlab.models.campplus.DTDNN.CAMPPlus", _SPEAKERLAB),
    "ERes2Net": ("speakerlab.models.eres2net.ERes2Net.ERes2Net", _SPEAKERLAB),
    "ERes2NetV2": ("speakerlab.models.eres2net.ERes2NetV2.ERes2NetV2", _SPEAKERLAB),
    "EcapaTdnn": ("speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN", _SPEECHBRAIN),
    "ResNet34": ("wespeaker.models.resnet.ResNet34", {"feat_dim": 80, "embed_dim": 192}),
    "ResNetTDNN": ("speechbrain.lobes.models.ResNet.ResNet", _SPEECHBRAIN),
}


def training_step(
    *,
    model: str,
    toolkits: str,
    channels_last: bool,
    batch: int,
    frames: int,
    classes: int,
    threads: int,
) -> Callable[[], float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder = _network(model, Path(toolkits))
    if channels_last:
        encoder = encoder.to(memory_format=torch.channels_last)
    weight = torch.nn.Parameter(torch.empty(classes, 192))
    torch.nn.init.xavier_uniform_(weight)
    optimizer = torch.optim.Adam([*encoder.parameters(), weight], lr=1e-3)
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((batch, frames, 80), "float32"))
    labels = torch.from_numpy(rng.integers(classes, size=batch))

    def step(examples: int = batch) -> float:
        embeddings = encoder(features[:examples])
        if isinstance(embeddings, tuple):
            embeddings = embeddings[-1]
        cosines = F.normalize(embeddings.flatten(1)) @ F.normalize(weight).t()
        loss = _aam_loss(cosines, labels[:examples])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    step(2)  # one-time work is done here
    return step


def embedding(
    *, model: str, toolkits: str, onnx: bool, frames: int, threads: int
) -> Callable[[], float]:
    """The features are made before, so that a step is the network alone."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder = _network(model, Path(toolkits)).eval()
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((1, frames, 80), "float32"))
    run = _in_onnxruntime(encoder, features, threads) if onnx else encoder

    def step() -> float:
        with torch.inference_mode():
            embeddings = run(features)
        if isinstance(embeddings, tuple):
            embeddings = embeddings[-1]
        return float(abs(embeddings).sum())

    step()
    return step


def _in_onnxruntime(
    encoder: torch.nn.Module, features: torch.Tensor, threads: int
) -> Callable[[torch.Tensor], Any]:
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(
        *(encoder, (features,), file),
        dynamo=False,
        opset_version=17,
        input_names=["features"],
        dynamic_axes={"features": {1: "frames"}},
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    return lambda given: session.run(None, {"features": given.numpy()})[-1]


def _network(model: str, toolkits: Path) -> torch.nn.Module:
    """A toolkit's own class, without what its packages import for other purposes."""
    for name, folder in _PACKAGES.items():
        package = types.ModuleType(name)
        package.__path__ = [str(toolkits / folder)]
        sys.modules[name] = package
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    path, options = _NETWORKS[model]
    module, _, name = path.rpartition(".")
    made: torch.nn.Module = getattr(importlib.import_module(module), name)(**options)
    return made


def _aam_loss(
    cosines: torch.Tensor, labels: torch.Tensor, margin: float = 0.2, scale: float = 32.0
) -> torch.Tensor:
    """The additive angular margin softmax."""
    own = cosines.gather(1, labels[:, None])
    sines = (1 - own.square()).clamp(min=0).sqrt()
    shifted = own * np.cos(margin) - sines * np.sin(margin)
    return F.cross_entropy(scale * cosines.scatter(1, labels[:, None], shifted), labels)
