"""RepVGG (https://arxiv.org/abs/2101.03697) over spectrograms: parallel convolutions in training
that are one convolution afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from paddle.nn.initializer import KaimingNormal

from vprtrain.errors import UsageError, require_flags, require_whole, shown
from vprtrain.layers.initialisation import Conv2D, redraw
from vprtrain.layers.sizes import require_channels
from vprtrain.models.encoder import require_stages
from vprtrain.models.pooling import PoolingName
from vprtrain.models.repvgg_block import RepVGGBlock, RepVGGStem
from vprtrain.models.residual import ResidualEncoder, ResidualStages, Stride

_MOST_STEM_CHANNELS = 64
_LAST_GROUPED = 26


class RepVGG(ResidualEncoder):
    """RepVGG as in WeSpeaker: stages of blocks of parallel convolutions, pooling over frames, one
    linear layer.

    | network | widths | blocks |
    |---|---|---|
    | REPVGG_TINY_A0 | 32, 64, 128, 256 | 3, 4, 23, 3 |
    | A0 | 48, 96, 192, 1280 | 2, 4, 14, 1 |
    | A1 | 64, 128, 256, 1280 | 2, 4, 14, 1 |
    | A2 | 96, 192, 384, 1408 | 2, 4, 14, 1 |
    | B0 | 64, 128, 256, 1280 | 4, 6, 16, 1 |
    | B1 | 128, 256, 512, 2048 | 4, 6, 16, 1 |
    | B2 | 160, 320, 640, 2560 | 4, 6, 16, 1 |
    | B3 | 192, 384, 768, 2560 | 4, 6, 16, 1 |
    | D2SE | 160, 320, 640, 2560 | 8, 14, 24, 1 |

    The first is the default: 6,833,792 trained parameters, 6,264,352 with ``deploy``. ``dilated``
    gives the RSBB variants (https://arxiv.org/abs/2110.09720), ``groups`` those with g2 and g4;
    D2SE has ``groups=4, squeeze_excitation=True``.

    Args:
        input_size: the number of values of a feature frame.
        embedding_dim: the number of values of an embedding.
        widths: the channels of each stage. The stem has those of the first, at most 64.
        blocks: the number of blocks of each stage.
        dilated: the second convolution of a block is 3 x 3 with dilation 2, instead of 1 x 1.
        groups: the groups of the convolutions of every second block, up to the 26th (g2 and g4).
        squeeze_excitation: weight the channels after each block (D2SE).
        deploy: blocks of one convolution with a bias. :meth:`deployed` makes them of trained
            blocks.
        pooling: the pooling over frames; see :func:`~vprtrain.models.pooling.build_pooling`.
        pooling_eps: the pooling's ``eps``; ``None`` is its default.

    Raises:
        UsageError: a value is out of its range, or ``widths`` and ``blocks`` differ in length.
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 256,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (3, 4, 23, 3),
        dilated: bool = False,
        groups: int = 1,
        squeeze_excitation: bool = False,
        deploy: bool = False,
        pooling: PoolingName = "TSTP",
        pooling_eps: float | None = 1e-7,
    ) -> None:
        require_flags(dilated=dilated, squeeze_excitation=squeeze_excitation, deploy=deploy)
        require_stages("blocks", blocks, 1)
        if not isinstance(widths, Sequence) or len(widths) != len(blocks):
            raise UsageError(
                f"widths are {shown(widths)}; expected a number for each of {len(blocks)} stages"
            )
        for width in widths:
            require_channels(**{"a value of widths": width})
        require_whole("groups", groups, 1, 64)
        counted = itertools.count(1)

        def block(in_channels: int, out_channels: int, *, stride: Stride) -> RepVGGBlock:
            number = next(counted)
            return RepVGGBlock(
                in_channels,
                out_channels,
                stride=stride,
                dilated=dilated,
                groups=groups if number % 2 == 0 and number <= _LAST_GROUPED else 1,
                squeeze_excitation=squeeze_excitation,
                deploy=deploy,
            )

        channels = min(_MOST_STEM_CHANNELS, widths[0])
        super().__init__(
            input_size=input_size,
            embedding_dim=embedding_dim,
            stem=RepVGGStem(
                channels, dilated=dilated, squeeze_excitation=squeeze_excitation, deploy=deploy
            ),
            stages=ResidualStages(block, channels, widths, blocks),
            pooling=pooling,
            pooling_eps=pooling_eps,
            second_embedding=False,
        )
        redraw(self, Conv2D, weight=KaimingNormal(mode="fan_out"))  # as in WeSpeaker

    def deployed(self) -> RepVGG:
        """This network with ``deploy``, in evaluation mode: its embeddings up to rounding, with one
        convolution in each block."""
        model = RepVGG(**{**self.init_args, "deploy": True})
        state = {name: value.numpy() for name, value in self.state_dict().items()}
        for name, block in self.named_sublayers():
            if isinstance(block, RepVGGBlock) and not block.deploy:
                state |= {f"{name}.conv.{part}": value for part, value in block.fused().items()}
        model.set_state_dict({name: state[name] for name in model.state_dict()})
        model.eval()
        return model
