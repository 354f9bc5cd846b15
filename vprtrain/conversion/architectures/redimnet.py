"""ReDimNet of WeSpeaker, and of ID R&D, its authors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from vprtrain.conversion.architectures.architecture import (
    DROPPED,
    Architecture,
    Rename,
    Shapes,
    Sizes,
    depths,
    from_zero,
)
from vprtrain.conversion.architectures.pooling import POOLING_RENAMES, pooling_sizes
from vprtrain.models.encoder import MOST_STAGES
from vprtrain.models.redimnet import ReDimNet

_LAST_SUM = "backbone.fin_wght1d.w"


def _renames(first: int) -> tuple[Rename, ...]:
    """For stages whose convolution has the number ``first`` among their layers."""
    return (
        (rf"^backbone\.stage(\d+)\.{first}\.(weight|bias)$", r"stages.\1.conv.\2"),
        (r"^backbone\.stage(\d+)\.(\d+)\.conv_block\.", _block_after(first)),
        # The first number in a stage counts its layers.
        (r"^backbone\.stage(\d+)\.\d+\.red_dim_conv\.0\.", r"stages.\1.context.reduce."),
        (r"^backbone\.stage(\d+)\.\d+\.red_dim_conv\.1\.", r"stages.\1.context.norm."),
        (r"^backbone\.stage(\d+)\.\d+\.tcm\.4\.", r"stages.\1.context.transformer."),
        (r"^backbone\.stage(\d+)\.\d+\.tcm\.", r"stages.\1.context.convolutions."),
        (r"^backbone\.stage(\d+)\.\d+\.exp_dim_conv\.", r"stages.\1.context.expand."),
        (r"^backbone\.stage(\d+)\.\d+\.0\.", r"stages.\1.squeeze.conv."),
        (r"^backbone\.stage(\d+)\.\d+\.1\.", r"stages.\1.squeeze.norm."),
        (r"^backbone\.stage(\d+)\.\d+\.3\.", r"stages.\1.squeeze.pointwise."),
        (r"^backbone\.", ""),
        (r"\bdwconvs\.0\.", "conv."),
        (r"\bpwconv1\.", "pointwise."),
        (r"\bconv(\d)pw\.", r"pointwise\1."),
        (r"\bse\.squeeze\.", "se.linear1."),
        (r"\bse\.exitation\.", "se.linear2."),
        (r"\bq_proj\.", "query."),
        (r"\bk_proj\.", "key."),
        (r"\bv_proj\.", "value."),
        (r"\bout_proj\.", "output."),
        (r"\btransformer\.layer_norm\.", "transformer.attention_norm."),
        (r"\bfeed_forward\.intermediate_dense\.", "linear1."),
        (r"\bfeed_forward\.output_dense\.", "linear2."),
        (r"\bfinal_layer_norm\.", "norm."),
        *POOLING_RENAMES,
    )


def _block_after(first: int) -> Callable[[re.Match[str]], str]:
    return lambda match: f"stages.{match[1]}.blocks.{int(match[2]) - first - 1}."


def _readings(shapes: Shapes, *, first: int, last: str, sums: str) -> list[Sizes]:
    """The sizes that both have: ``first`` as for the renames; ``last`` is the embedding's linear
    layer, ``sums`` the weights of a sum."""
    channels = shapes["backbone.stem.0.weight"][0]
    embedding_dim, pooled = shapes[f"{last}.weight"]
    _, _, size, _ = shapes[sums]
    blocks = depths(shapes, r"backbone\.stage(\d+)\.(\d+)\.conv_block\.")
    convolutions = [shapes[f"backbone.stage{i}.{first}.weight"] for i in range(len(blocks))]
    strides = [stride for _, _, stride, _ in convolutions]
    widths = [channels * math.prod(strides[: i + 1]) for i in range(len(blocks))]
    firsts = [f"backbone.stage{i}.{first + 1}.conv_block" for i in range(len(blocks))]
    convnext = f"{firsts[0]}.dwconvs.0.weight" in shapes
    grouped = "dwconvs.0" if convnext else "conv1"
    gated = f"{firsts[0]}.se.squeeze.weight" in shapes
    sizes = {
        "input_size": size // channels,
        "embedding_dim": embedding_dim,
        "channels": channels,
        "strides": strides,
        "blocks": blocks,
        "expansions": [
            convolution[0] // width for convolution, width in zip(convolutions, widths, strict=True)
        ],
        "reductions": [_reduction(shapes, i, size) for i in range(len(blocks))],
        "block": "convnext" if convnext else "basic_se" if gated else "basic",
        # Groups are wider where their width does not divide the channels.
        "group_width": min(shapes[f"{block}.{grouped}.weight"][1] for block in firsts),
    }
    return [{**sizes, **pooling} for pooling in pooling_sizes(shapes, channels=size, pooled=pooled)]


def _reduction(shapes: Shapes, stage: int, size: int) -> int:
    """How many times narrower a stage's attention is; 0 if it has none."""
    pattern = rf"backbone\.stage{stage}\.\d+\.red_dim_conv\.0\.weight"
    hidden = next((shape[0] for name, shape in shapes.items() if re.fullmatch(pattern, name)), None)
    return size // hidden if hidden else 0


def _wespeaker(shapes: Shapes) -> list[Sizes]:
    readings = _readings(shapes, first=0, last="seg_1", sums="backbone.inputs_weights.1")
    return [{**sizes, "second_embedding": "seg_2.weight" in shapes} for sizes in readings]


def _id_rnd(shapes: Shapes) -> list[Sizes]:
    readings = _readings(shapes, first=2, last="linear", sums=_LAST_SUM)
    norms = {"pooling_norm": True, "embedding_norm": "bn2.weight" in shapes}
    return [{**sizes, **norms} for sizes in readings]


def _of_id_rnd(stages: int) -> Architecture:
    """Of so many stages: the name of the last sum does not tell its number."""
    return Architecture(
        model=ReDimNet,
        has=(_LAST_SUM, f"backbone.stage{stages - 1}.0.w"),
        lacks=(f"backbone.stage{stages}.0.w",),
        sizes=_id_rnd,
        renames=(
            # The first stage has nothing to add up.
            (r"^backbone\.stage0\.0\.w$", DROPPED),
            (r"^backbone\.stage(\d+)\.0\.w$", from_zero("sums.{}.weight")),
            (rf"^{re.escape(_LAST_SUM)}$", f"sums.{stages - 1}.weight"),
            *_renames(2),
            (r"^bn\.", "pooling_norm."),
            (r"^linear\.", "embedding."),
            (r"^bn2\.", "embedding_norm."),
        ),
    )


ARCHITECTURES = (
    Architecture(
        model=ReDimNet,
        toolkits=("wespeaker",),
        has=("backbone.inputs_weights.1", "backbone.stage0.0.weight"),
        sizes=_wespeaker,
        renames=(
            (r"^backbone\.inputs_weights\.0$", DROPPED),
            (r"^backbone\.inputs_weights\.(\d+)$", from_zero("sums.{}.weight")),
            *_renames(0),
            (r"^seg_1\.", "embedding."),
            (r"^seg_bn_1\.", "second_embedding.1."),
            (r"^seg_2\.", "second_embedding.2."),
        ),
    ),
    *(_of_id_rnd(stages) for stages in range(1, MOST_STAGES + 1)),
)
