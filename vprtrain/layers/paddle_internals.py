"""Everything that vprtrain uses of Paddle beyond its public interface, for Paddle 3.3.

No other file of the package may use a private attribute of Paddle or ``paddle.base``
(``tests/test_architecture.py`` checks this). Each entry says why Paddle has no public way. With a
new release of Paddle, look at the places named here, then run ``tests/layers``,
``tests/checkpoint``, ``tests/engine``, ``tests/parity`` and the distributed tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import paddle
from paddle import nn
from paddle.base.framework import EagerParamBase, default_main_program

OptimizerState: TypeAlias = dict[str, dict[str, paddle.Tensor]]

Parameter = EagerParamBase
"""The class of trained tensors. ``paddle.create_parameter`` draws new values; only this class makes
a parameter from a tensor (``from_tensor``). In Paddle 3.4: ``paddle/base/framework.py``."""

squared_norm: Callable[[paddle.Tensor], paddle.Tensor] = paddle._C_ops.squared_l2_norm
"""The sum of a tensor's squares, by the kernel of ``paddle.nn.ClipGradByGlobalNorm``. The public
``(x * x).sum()`` takes three to four times as long. In Paddle 3.4: ``paddle/nn/clip.py``."""


# Optimizers. ``Optimizer.state_dict`` is public, but its keys are process-global tensor names,
# which change as soon as another layer was built first; and it cannot make the state before the
# first step. In Paddle 3.4: ``paddle/optimizer/optimizer.py``.


def optimizer_state(optimizer: paddle.optimizer.Optimizer) -> OptimizerState:
    """The live accumulators (``_accumulators``): kind -> name of the parameter, or of its master
    weight -> tensor."""
    return optimizer._accumulators


def master_weights(optimizer: paddle.optimizer.Optimizer) -> dict[str, paddle.Tensor]:
    """The live float32 master weights (``_master_weights``), by the names of their parameters."""
    return optimizer._master_weights


def create_optimizer_state(
    optimizer: paddle.optimizer.Optimizer, parameters: Sequence[paddle.Tensor]
) -> None:
    """Make the accumulators of parameters that have none yet (``_create_accumulators``), which
    Paddle does in the first step."""
    optimizer._create_accumulators(default_main_program().global_block(), parameters)


def optimizer_parameters(optimizer: paddle.optimizer.Optimizer) -> list[paddle.Tensor]:
    """The live list of the parameters that a step updates (``_parameter_list``), fixed in the
    public constructor."""
    return optimizer._parameter_list


# Layers. Their options are public in the constructor only. In Paddle 3.4:
# ``paddle/nn/layer/conv.py`` and ``paddle/nn/layer/norm.py``.


def convolved(
    function: Callable[..., paddle.Tensor],
    x: paddle.Tensor,
    conv: nn.Conv1D | nn.Conv2D,
    bias: paddle.Tensor | None,
) -> paddle.Tensor:
    """A convolution by ``F.conv1d``, ``F.conv2d`` or a function like them with a layer's weight and
    options (``_stride``, ``_padding``, ``_dilation``, ``_groups``), and with a ``bias``."""
    return function(x, conv.weight, bias, conv._stride, conv._padding, conv._dilation, conv._groups)


def counted_inputs(conv: nn.Conv1D | nn.Conv2D) -> int:
    """The inputs that Paddle's default start of a convolution counts for an output
    (``_in_channels``, ``_kernel_size``): those of all groups."""
    return math.prod(conv._kernel_size) * conv._in_channels


def running_statistics(norm: nn.Layer) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The live running mean and variance of batch normalisation (``_mean``, ``_variance``)."""
    return norm._mean, norm._variance


def epsilon(norm: nn.Layer) -> float:
    """What batch normalisation adds to the variance (``_epsilon``)."""
    return norm._epsilon


def momentum(norm: nn.Layer) -> float:
    """The share of the old running statistics in a training step (``_momentum``)."""
    return norm._momentum


def set_momentum(norm: nn.Layer, value: float) -> None:
    norm._momentum = value


def was_made_without_affine(norm: nn.Layer) -> bool:
    """Whether batch normalisation was built without scale and shift (``_weight_attr``,
    ``_bias_attr``). ``SyncBatchNorm`` adds both, so its weight and bias do not tell."""
    return norm._weight_attr is False and norm._bias_attr is False


# Ranks.


def default_store(collective: ModuleType) -> Any:
    """The key-value store that ``init_parallel_env`` connects all ranks to.

    A public ``TCPStore`` would need a port of its own. In Paddle 3.4: ``_default_store`` in
    ``paddle/distributed/collective.py``.

    Args:
        collective: ``paddle.distributed.collective``, which only the room ``ranks`` imports.
    """
    return collective._default_store


def share_memory(tensor: paddle.Tensor, source: paddle.Tensor) -> None:
    """Let ``tensor`` be a view of ``source``'s memory (``_share_buffer_to``).

    The public ``paddle.assign`` copies, which takes ten times as long. In Paddle 3.4:
    ``paddle/fluid/pybind/eager_method.cc``.
    """
    source._share_buffer_to(tensor)
