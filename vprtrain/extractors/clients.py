"""The clients of the field that compute features themselves: what each of them computes, and what
it reads in the metadata of an ONNX model."""

from __future__ import annotations

from typing import Any

from vprtrain.errors import UsageError
from vprtrain.extractors.exported import Client
from vprtrain.features import Fbank, FeatureExtractor

_KALDI = {
    **{"frame_length_ms": 25, "frame_shift_ms": 10, "f_min": 20, "preemphasis": 0.97},
    **{"variance_norm": False, "level": None},
}
"""What the clients' front ends have in common, by the options of Fbank."""
_NECESSARY = ("n_mels", "mean_norm", "variance_norm")
"""Options without which the embeddings would mean nothing."""
_SHERPA_MELS = 80
_SHERPA_HEADROOM = 400  # Hz between the last filter and half the sample rate


def front_end_differences(client: Client, feature: FeatureExtractor) -> list[str]:
    """How a client's front end differs from that of a model, for a person; often it does a little.

    Raises:
        UsageError: the client cannot compute features for the model at all.
    """
    if type(feature) is not Fbank:
        raise UsageError(
            f"{client} computes Kaldi's filter banks (Fbank), but the model was trained with "
            f"{type(feature).__name__}: export without --for, which takes the features along"
        )
    expected = _front_end(client, feature)
    found = {**feature.init_args, "f_max": feature.init_args["f_max"] or feature.sample_rate / 2}
    differences = [name for name in expected if found[name] != expected[name]]
    necessary = [name for name in differences if name in _NECESSARY]
    if necessary:
        raise UsageError(
            f"{client} cannot compute the features of this model: "
            f"{_compared(necessary, expected, found)}; export without --for, which takes the "
            "features along"
        )
    said = [_compared([name], expected, found) for name in differences]
    if client == "sherpa-onnx":
        said.append("it also makes frames at the edges, from mirrored samples")
    return said


def client_metadata(
    client: Client, feature: FeatureExtractor, embedding_dim: int
) -> dict[str, str]:
    """The keys that a client reads in a model with a checked front end."""
    if client == "wespeaker":
        return {}
    options = feature.init_args
    return {
        "framework": "3d-speaker",  # sherpa-onnx knows this name, and treats wespeaker's alike
        "language": "unknown",
        "sample_rate": str(options["sample_rate"]),
        "output_dim": str(embedding_dim),
        "normalize_samples": "0" if options["int16_scale"] else "1",
        "feature_normalize_type": "global-mean" if options["mean_norm"] else "",
    }


def _front_end(client: Client, feature: Fbank) -> dict[str, Any]:
    """What a client computes, by the options of Fbank. Of those that it reads in the metadata or in
    its own options, they are the model's."""
    nyquist = feature.sample_rate / 2
    if client == "sherpa-onnx":
        f_max = nyquist - _SHERPA_HEADROOM
        return {**_KALDI, "n_mels": _SHERPA_MELS, "window": "povey", "f_max": f_max}
    own = {"window": "hamming", "f_max": nyquist, "int16_scale": True, "mean_norm": True}
    return {**_KALDI, **own}


def _compared(names: list[str], expected: dict[str, Any], found: dict[str, Any]) -> str:
    return ", ".join(f"its {name} is {expected[name]}, the model's {found[name]}" for name in names)
