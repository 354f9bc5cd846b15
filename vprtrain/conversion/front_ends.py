"""The front ends of the toolkits, by the names that ``convert --from`` and ``--front_end`` take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vprtrain.features import Fbank, FeatureExtractor, SpeechBrainFbank

TOOLKIT_NAMES = {
    "3dspeaker": "3D-Speaker",
    "wespeaker": "WeSpeaker",
    "speechbrain": "SpeechBrain",
    "ppvector": "ppvector",
}
"""The toolkits' own spelling."""


def _kaldi_fbank(**options: Any) -> FeatureExtractor:
    return Fbank(**{"mean_norm": True, **options})


def _wespeaker_fbank(**options: Any) -> FeatureExtractor:
    return _kaldi_fbank(window="hamming", int16_scale=True, **options)


def _speechbrain_fbank(**options: Any) -> FeatureExtractor:
    return SpeechBrainFbank(**{"mean_norm": True, **options})


FRONT_ENDS: Mapping[str, Callable[..., FeatureExtractor]] = {
    "3dspeaker": _kaldi_fbank,
    "wespeaker": _wespeaker_fbank,
    "speechbrain": _speechbrain_fbank,
}
"""A toolkit's features in use, without dither: ``n_mels`` and options that a configuration of the
toolkit gives."""
HUB_FOLDERS = ("campplus", "eres2net", "campplus_cn_common_200k", "eres2net_cn_commom_200k")
"""Where WeSpeaker's hub puts the two models that 3D-Speaker trained. WeSpeaker's command line uses
3D-Speaker's front end for them (wespeaker/cli/speaker.py): a povey window and samples in [-1, 1].
The spelling is WeSpeaker's."""
HUB_MODELS = ("CAMPPlus", "ERes2Net")
"""The classes of these two."""
