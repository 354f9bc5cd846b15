"""What several ranks combine in each step, so that all hold the same bits afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import paddle

from vprtrain.engine.module import Module, Scalars
from vprtrain.layers import paddle_internals
from vprtrain.layers.blocks import batch_norm_statistics
from vprtrain.ranks.ranks import Ranks


def prepare_batch_norm(module: Module, ranks: Ranks) -> None:
    """Let batch normalisation use the whole batch of several ranks, if the device supports that.

    Paddle has no synchronised batch normalisation on a CPU: there each rank normalises by its own
    part of a batch, and the running statistics are those of rank 0.
    """
    if ranks.size > 1 and paddle.get_device() != "cpu":
        synchronise_batch_norm(module)


def synchronise_batch_norm(module: paddle.nn.Layer) -> None:
    """Replace batch normalisation by Paddle's SyncBatchNorm. Parameters, state and their names
    stay."""
    paddle.nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for layer in module.sublayers():
        if isinstance(layer, paddle.nn.SyncBatchNorm) and paddle_internals.was_made_without_affine(
            layer
        ):
            for name in ("weight", "bias"):  # Paddle adds parameters to a layer that had none
                value = getattr(layer, name)
                delattr(layer, name)
                layer.register_buffer(name, value.detach(), persistable=False)


class Combining:
    """Combines the ranks once a step, after the last backward pass.

    Gradients, loss and scalars become sums over the ranks, each weighted by its share of the batch.
    Buffers (the statistics of batch normalisation) become those of rank 0.

    ``paddle.DataParallel`` is not used: its wrapper renames parameters, must run the forward pass,
    and ignores buffers and unequal shares; with accumulation it reduces every micro-batch by
    default. Its advantage is that it reduces while the backward pass still runs. That hides a few
    milliseconds a step on GPUs of one machine (28 MB for 7 million parameters), and nothing on a
    CPU, where the same cores compute and communicate.

    Args:
        share: the share of a rank's batch in the batch of all ranks, 0 to 1.
    """

    def __init__(
        self,
        *,
        ranks: Ranks,
        module: Module,
        trained: Sequence[paddle.Tensor],
        share: Callable[[Any], float],
    ) -> None:
        self.share = share
        self.ranks = ranks
        self._trained = trained
        self._buffers = _changing_buffers(module)

    @paddle.no_grad()
    def __call__(
        self, loss: paddle.Tensor, scalars: Scalars, rows: Sequence[paddle.Tensor] = ()
    ) -> None:
        """Combine the gradients, ``loss`` and ``scalars`` in place. All are already weighted by the
        share.

        Args:
            rows: further tensors trained in this step only, the same on all ranks.
        """
        numbers = [loss.astype("float32"), *scalars.values()]
        joined = paddle.concat([number.reshape([1]) for number in numbers])
        self.ranks.combine([*self._gradients(), *(row.grad for row in rows), joined], self._buffers)
        for place, name in enumerate(scalars, 1):
            scalars[name] = joined[place]
        paddle.assign(joined[0].astype(loss.dtype), loss)

    def _gradients(self) -> list[paddle.Tensor]:
        """The gradients of all parameters that have one on any rank, because every rank must reduce
        the same tensors. A rank that did not use such a parameter adds zeros.

        The ranks agree on them in each step: a branch may be used by chance. Remembering those of
        the first step would not survive a resume.
        """
        mask = sum(1 << place for place, one in enumerate(self._trained) if one.grad is not None)
        used = reduce(or_, self.ranks.exchange(mask))
        parameters = [one for place, one in enumerate(self._trained) if used >> place & 1]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = paddle.zeros_like(parameter)
        return [parameter.grad for parameter in parameters]


def _changing_buffers(module: Module) -> list[paddle.Tensor]:
    """The saved tensors that the forward pass changes. Frozen weights do not belong to them."""
    weights = dict(module.named_parameters())
    return [
        *batch_norm_statistics(module),
        *(tensor for name, tensor in module.state_dict().items() if name not in weights),
    ]
