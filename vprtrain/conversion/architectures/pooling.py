"""The poolings of WeSpeaker and 3D-Speaker, which networks of several families hold as ``pool``."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vprtrain.conversion.architectures.architecture import Rename, Shapes, Sizes

POOLING_RENAMES: tuple[Rename, ...] = (
    (r"^pool\.", "pooling."),
    # MQMHASTP, whose heads are joined
    (r"^pooling\.n_query\.(\d+)\.heads_att_trans\.\d+\.att_0\.", r"pooling.queries.\1.0."),
    (r"^pooling\.n_query\.(\d+)\.heads_att_trans\.\d+\.att_1\.", r"pooling.queries.\1.2."),
    # XI
    (r"^pooling\.prior_logprec$", "pooling.prior_log_precision"),
    (r"^pooling\.lin1_relu_bn\.0\.", "pooling.tdnn.conv."),
    (r"^pooling\.lin1_relu_bn\.2\.", "pooling.tdnn.norm."),
    (r"^pooling\.lin2\.", "pooling.conv."),
)
"""From the names of a pooling's arrays to ours."""


def pooling_sizes(shapes: Shapes, *, channels: int, pooled: int) -> list[Sizes]:
    """The readings of a pooling from ``channels`` to ``pooled`` values.

    Raises:
        ValueError: there is none.
    """
    if "pool.linear1.weight" in shapes:
        hidden, seen, _ = shapes["pool.linear1.weight"]
        return [
            {"pooling": "ASTP", "attention_channels": hidden, "global_context": seen > channels}
        ]
    if "pool.n_query.0.heads_att_trans.0.att_0.weight" in shapes:
        hidden, _, _ = shapes["pool.n_query.0.heads_att_trans.0.att_0.weight"]
        return [{"pooling": "MQMHA", "attention_channels": hidden}]
    if "pool.lin2.weight" in shapes:
        _, hidden, _ = shapes["pool.lin2.weight"]
        return [{"pooling": "XI", "attention_channels": hidden}]
    # No pooling with arrays of its own.
    names = {1: ("TAP", "TSDP"), 2: ("TSTP",)}.get(pooled // channels, ())
    if not names or pooled % channels:
        raise ValueError(f"no known pooling makes {pooled} values of {channels}")
    return [{"pooling": name} for name in names]


def spectrogram_sizes(
    shapes: Shapes, *, linear: str, channels: int, reduction: int
) -> Iterator[Sizes]:
    """The readings of a pooling over the channels and remaining mels of a network over
    spectrograms, each with the ``input_size`` that follows from it.

    Args:
        shapes: those of the state dict.
        linear: the linear layer behind the pooling.
        channels: the channels of the last stage.
        reduction: the number of mels that become one.
    """
    (embedding_dim,) = shapes[f"{linear}.bias"]
    pooled = math.prod(shapes[f"{linear}.weight"]) // embedding_dim  # in whichever order
    if "pool.n_query.0.heads_att_trans.0.att_0.weight" in shapes:
        statistics = [4]  # mean and deviation of two queries
    elif "pool.linear1.weight" in shapes:
        statistics = [2]
    else:
        statistics = [2, 1]
    for count in statistics:
        mels = pooled // count // channels
        for sizes in pooling_sizes(
            shapes, channels=mels * channels, pooled=count * mels * channels
        ):
            yield {**sizes, "input_size": mels * reduction}
