"""The families of networks of other toolkits, each described in one place: how its weights are
recognised, which sizes their shapes show, and how their names differ from ours."""

from vprtrain.conversion.architectures import (
    campplus,
    ecapa,
    eres2net,
    frames,
    redimnet,
    repvgg,
    residual,
)
from vprtrain.conversion.architectures.architecture import Architecture, Shapes, Sizes

__all__ = ["ARCHITECTURES", "Architecture", "Shapes", "Sizes"]

ARCHITECTURES: tuple[Architecture, ...] = (
    *campplus.ARCHITECTURES,
    *ecapa.ARCHITECTURES,
    *frames.ARCHITECTURES,
    *redimnet.ARCHITECTURES,
    *eres2net.ARCHITECTURES,
    *residual.ARCHITECTURES,
    *repvgg.ARCHITECTURES,
)
"""All families that are recognised."""
