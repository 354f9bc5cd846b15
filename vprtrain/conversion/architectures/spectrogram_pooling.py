"""What the pooling of a network over spectrograms tells: which one it is, and how many mels the
network has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from vprtrain.conversion.architectures.architecture import Rename, Shapes, Sizes

_STATISTICS = {"TSTP": 2, "TAP": 1, "TSDP": 1}
"""Statistics of each channel at each remaining mel, for the poolings without arrays."""

RENAMES: tuple[Rename, ...] = (
    (r"^pool\.", "pooling."),
    (r"^pooling\.n_query\.(\d+)\.heads_att_trans\.\d+\.att_0\.", r"pooling.queries.\1.0."),
    (r"^pooling\.n_query\.(\d+)\.heads_att_trans\.\d+\.att_1\.", r"pooling.queries.\1.2."),
    (r"^pooling\.prior_logprec$", "pooling.prior_log_precision"),
    (r"^pooling\.lin1_relu_bn\.0\.", "pooling.tdnn.conv."),
    (r"^pooling\.lin1_relu_bn\.2\.", "pooling.tdnn.norm."),
    (r"^pooling\.lin2\.", "pooling.conv."),
)
"""Those of WeSpeaker's and 3D-Speaker's poolings. MQMHASTP's heads are joined; the last four are
XI's."""


def pooling_sizes(shapes: Shapes, *, linear: str, channels: int, reduction: int) -> Iterator[Sizes]:
    """Each reading's ``pooling`` and ``input_size``.

    Args:
        shapes: those of the state dict.
        linear: the name of the linear layer behind the pooling.
        channels: the channels of the last stage.
        reduction: the number of mels that become one.
    """
    head = "pool.n_query.0.heads_att_trans.0.att_0.weight"
    if "pool.linear2.weight" in shapes:
        yield {
            "pooling": "ASTP",
            "input_size": shapes["pool.linear2.weight"][0] // channels * reduction,
        }
    elif head in shapes:
        pattern = re.compile(r"pool\.n_query\.0\.heads_att_trans\.(\d+)\.att_0\.weight")
        heads = sum(bool(pattern.fullmatch(name)) for name in shapes)
        yield {
            "pooling": "MQMHA",
            "input_size": heads * shapes[head][1] // channels * reduction,
        }
    else:
        (embedding_dim,) = shapes[f"{linear}.bias"]
        pooled = math.prod(shapes[f"{linear}.weight"]) // embedding_dim  # in whichever order
        for pooling, statistics in _STATISTICS.items():
            yield {
                "pooling": pooling,
                "input_size": pooled // (statistics * channels) * reduction,
            }
