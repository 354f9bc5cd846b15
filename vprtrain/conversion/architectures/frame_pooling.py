"""What the pooling of a network over frames tells: which one it is."""

from __future__ import annotations

from vprtrain.conversion.architectures.architecture import Shapes, Sizes


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
