"""Small networks of the public toolkits' own classes, for the scripts that write figures. They need
PyTorch and the toolkits' sources, and never run in a test.

``REFERENCE_TOOLKITS`` is a folder with checkouts: ``wespeaker``, ``3D-Speaker``, ``speechbrain``.
:file:`small_references.py` builds the same networks here.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MELS = 32
EMBEDDING = 16
CLASSES = 40
BLOCKS = [1, 1, 1, 1]
_PACKAGES = {
    "wespeaker": "wespeaker/wespeaker",
    "wespeaker.models": "wespeaker/wespeaker/models",
    "wespeaker.utils": "wespeaker/wespeaker/utils",
    "speakerlab": "3D-Speaker/speakerlab",
    "speechbrain": "speechbrain/speechbrain",
}


def find_toolkits() -> None:
    """Make the toolkits' modules importable one by one, without what their packages import for
    other purposes: silero_vad, torchaudio."""
    root = Path(os.environ["REFERENCE_TOOLKITS"])
    for name, folder in _PACKAGES.items():
        package = types.ModuleType(name)
        package.__path__ = [str(root / folder)]
        sys.modules[name] = package
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")


def imported(path: str) -> Any:
    """A class or function of a toolkit."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _wespeaker(path: str, *arguments: Any, **options: Any) -> torch.nn.Module:
    made = imported(f"wespeaker.models.{path}")
    return made(*arguments, feat_dim=MELS, embed_dim=EMBEDDING, **options)


def _speakerlab(path: str, *arguments: Any, **options: Any) -> torch.nn.Module:
    made = imported(f"speakerlab.models.{path}")
    return made(*arguments, feat_dim=MELS, embedding_size=EMBEDDING, **options)


def _simam_resnet() -> torch.nn.Module:
    model = imported("wespeaker.models.samresnet.SimAM_ResNet34_ASP")(8, EMBEDDING, MELS)
    block = imported("wespeaker.models.samresnet.SimAMBasicBlock")
    model.front = imported("wespeaker.models.samresnet.ResNet")(8, block, BLOCKS)
    return model


def _repvgg(**options: Any) -> torch.nn.Module:
    return _wespeaker(
        "repvgg.RepVGG",
        num_blocks=BLOCKS,
        strides=[1, 1, 2, 2, 2],
        width_multiplier=[0.25] * 4,
        pooling_func="TSTP",
        **options,
    )


def _redimnet(block: str, stages: list[tuple[Any, ...]]) -> torch.nn.Module:
    return _wespeaker(
        "redimnet.ReDimNet", C=8, block_2d_type=block, stages_setup=stages, group_divisor=2
    )


def _ecapa(module: str) -> torch.nn.Module:
    return imported(f"{module}.ECAPA_TDNN")(
        MELS,
        lin_neurons=EMBEDDING,
        channels=[32, 32, 32, 32, 96],
        attention_channels=16,
        res2net_scale=4,
        se_channels=16,
    )


def _speechbrain_xvector() -> torch.nn.Module:
    return imported("speechbrain.lobes.models.Xvector.Xvector")(
        tdnn_channels=[32, 32, 32, 32, 48], lin_neurons=EMBEDDING, in_channels=MELS
    )


NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "3dspeaker_campplus": lambda: _speakerlab(
        "campplus.DTDNN.CAMPPlus", growth_rate=8, init_channels=16
    ),
    "3dspeaker_ecapa": lambda: _ecapa("speakerlab.models.ecapa_tdnn.ECAPA_TDNN"),
    "3dspeaker_eres2net": lambda: _speakerlab(
        "eres2net.ERes2Net.ERes2Net", num_blocks=BLOCKS, m_channels=8
    ),
    "3dspeaker_eres2netv2": lambda: _speakerlab(
        "eres2net.ERes2NetV2.ERes2NetV2", num_blocks=BLOCKS, m_channels=16
    ),
    "3dspeaker_res2net": lambda: _speakerlab(
        "res2net.Res2Net.Res2Net", num_blocks=BLOCKS, m_channels=8
    ),
    "3dspeaker_resnet": lambda: _speakerlab(
        "resnet.ResNet.ResNet", num_blocks=BLOCKS, m_channels=8
    ),
    "3dspeaker_xvector": lambda: imported("speakerlab.models.xvector.TDNN.Xvector")(
        feat_dim=MELS, hid_dim=32, stats_dim=48, embed_dim=EMBEDDING
    ),
    "speechbrain_ecapa": lambda: _ecapa("speechbrain.lobes.models.ECAPA_TDNN"),
    "speechbrain_resnet": lambda: imported("speechbrain.lobes.models.ResNet.ResNet")(
        MELS, channels=[8, 8, 16, 16], block_sizes=BLOCKS, lin_neurons=EMBEDDING
    ),
    "speechbrain_xvector": _speechbrain_xvector,
    "wespeaker_campplus": lambda: _wespeaker("campplus.CAMPPlus", growth_rate=8, init_channels=16),
    "wespeaker_df_resnet": lambda: _wespeaker(
        "gemini_dfresnet.Gemini_DF_ResNet", BLOCKS, [8, 8, 16, 32, 64]
    ),
    "wespeaker_ecapa": lambda: _wespeaker(
        "ecapa_tdnn.ECAPA_TDNN", channels=32, global_context_att=True
    ),
    "wespeaker_eres2net": lambda: _wespeaker("eres2net.ERes2Net", 8, BLOCKS),
    "wespeaker_redimnet": lambda: _redimnet(
        "convnext_like", [(1, 1, 2, [(3, 3)], 8), (2, 1, 1, [(3, 3)], 16)]
    ),
    "wespeaker_redimnet_se": lambda: _redimnet(
        "basic_resnet_fwse", [(1, 1, 1, [(3, 3)], None), (2, 1, 1, [(3, 3)], 16)]
    ),
    "wespeaker_repvgg": lambda: _repvgg(),
    "wespeaker_repvgg_se": lambda: _repvgg(use_se=True, override_groups_map={2: 2}),
    "wespeaker_res2net": lambda: _wespeaker("res2net.Res2Net", 8, BLOCKS),
    "wespeaker_resnet": lambda: _wespeaker(
        "resnet.ResNet", imported("wespeaker.models.resnet.BasicBlock"), BLOCKS, m_channels=8
    ),
    "wespeaker_simam_resnet": _simam_resnet,
    "wespeaker_xi_vector": lambda: _wespeaker(
        "tdnn.XVEC", hid_dim=32, stats_dim=48, pooling_func="XI"
    ),
    "wespeaker_xvec": lambda: _wespeaker("tdnn.XVEC", hid_dim=32, stats_dim=48),
}
"""Each toolkit's families. ``NETWORKS[name]()`` draws new weights."""


def _projection(name: str) -> torch.nn.Module:
    return imported(f"wespeaker.models.projections.{name}")(EMBEDDING, CLASSES)


HEADS: dict[str, Callable[[], torch.nn.Module]] = {
    "3dspeaker_cosine_head": lambda: imported(
        "speakerlab.models.campplus.classifier.CosineClassifier"
    )(EMBEDDING, out_neurons=CLASSES),
    "speechbrain_cosine_head": lambda: imported("speechbrain.lobes.models.ECAPA_TDNN.Classifier")(
        EMBEDDING, out_neurons=CLASSES
    ),
    "wespeaker_am_head": lambda: _projection("AddMarginProduct"),
    "wespeaker_aam_head": lambda: _projection("ArcMarginProduct"),
    "wespeaker_intertopk_head": lambda: _projection("ArcMarginProduct_intertopk_subcenter"),
    "wespeaker_linear_head": lambda: _projection("Linear"),
    "wespeaker_sphereface2_head": lambda: _projection("SphereFace2"),
}
"""The classifiers of the losses, and the losses' own parameters."""
