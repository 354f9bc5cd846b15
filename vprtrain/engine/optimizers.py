"""Optimizers as small typed factories.

Paddle's constructors need the parameters, so a configuration cannot hold Paddle's optimizers. A
factory holds the values and gets the parameters once the module exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import paddle

from vprtrain.errors import require_number

_LIMITS = {
    "beta1": {"least": 0.0, "below": 1.0},
    "beta2": {"least": 0.0, "below": 1.0},
    "epsilon": {"above": 0.0},
}


@dataclass(frozen=True, kw_only=True)
class OptimizerFactory(ABC):
    """The values of an optimizer, without the parameters.

    Raises:
        UsageError: a value is negative or out of its range.
    """

    learning_rate: float = 1e-3
    """The rate if no schedule sets another."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool):
                continue
            limits = _LIMITS.get(name, {"least": 0})
            require_number(f"{type(self).__name__}'s {name}", value, **limits)

    @abstractmethod
    def build(self, parameters: Sequence[paddle.Tensor]) -> paddle.optimizer.Optimizer:
        """A fresh optimizer over these parameters."""

    def fingerprint(self) -> dict[str, Any]:
        """The class and the values."""
        return {"class": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Adam(OptimizerFactory):
    """Adam (Kingma and Ba, 2015), with L2 regularisation added to the gradient.

    Args:
        learning_rate: the rate if no schedule sets another.
        beta1: how much of the mean of earlier gradients is kept.
        beta2: how much of the mean of their squares is kept.
        epsilon: is added to the root of the mean square.
        weight_decay: the factor of the weights that is added to their gradients; 0 for none.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def build(self, parameters: Sequence[paddle.Tensor]) -> paddle.optimizer.Optimizer:
        return paddle.optimizer.Adam(
            learning_rate=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay or None,
            parameters=list(parameters),
        )


@dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Args:
        learning_rate: the rate if no schedule sets another.
        beta1: how much of the mean of earlier gradients is kept.
        beta2: how much of the mean of their squares is kept.
        epsilon: is added to the root of the mean square.
        weight_decay: the share of the weights, times the rate, that each step takes away.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def build(self, parameters: Sequence[paddle.Tensor]) -> paddle.optimizer.Optimizer:
        return paddle.optimizer.AdamW(
            learning_rate=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            parameters=list(parameters),
        )


@dataclass(frozen=True, kw_only=True)
class SGD(OptimizerFactory):
    """Stochastic gradient descent without momentum, with L2 regularisation added to the
    gradient.

    Args:
        learning_rate: the rate if no schedule sets another.
        weight_decay: the factor of the weights that is added to their gradients; 0 for none.
    """

    weight_decay: float = 0.0

    def build(self, parameters: Sequence[paddle.Tensor]) -> paddle.optimizer.Optimizer:
        return paddle.optimizer.SGD(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay or None,
            parameters=list(parameters),
        )


@dataclass(frozen=True, kw_only=True)
class Momentum(OptimizerFactory):
    """Stochastic gradient descent with momentum, by default Nesterov's; ``momentum=0`` is
    :class:`SGD`.

    Args:
        learning_rate: the rate if no schedule sets another.
        momentum: how much of the earlier update is kept.
        nesterov: look ahead along the earlier update (Nesterov's momentum).
        weight_decay: the factor of the weights that is added to their gradients; 0 for none.
    """

    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0

    def build(self, parameters: Sequence[paddle.Tensor]) -> paddle.optimizer.Optimizer:
        if self.momentum == 0.0:
            plain = SGD(learning_rate=self.learning_rate, weight_decay=self.weight_decay)
            return plain.build(parameters)
        return paddle.optimizer.Momentum(
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
            weight_decay=self.weight_decay or None,
            parameters=list(parameters),
        )
