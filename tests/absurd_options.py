"""Every class that a checkpoint can name, with absurd values for each of its options.

``python absurd_options.py KIND [CLASS]`` prints a JSON line with the number of constructions by
their outcome, and those that end neither in an object nor in one line of the project's own errors.
"""

from __future__ import annotations

import inspect
import json
import math
import reprlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

KINDS = ("models", "features", "losses", "poolings")
MOST_SECONDS = 10
WHOLE = (0, -1, 1, 7, 255, 2**15, 20_000, 65_537, 10**6, 10**8, 2**31, 2**63, 10**20, 10**400)
OTHER = (True, False, 0.5, -1.0, 1e-60, 1e6, 1e20, 1e300, math.nan, math.inf, -math.inf, None)
TEXTS = ("", "x", "16000", "\n", "ASP", "A" * 10_000)
NESTED: tuple[Any, ...] = (
    *([], {}, [[]], [1], [0], [-1, 1, 1, 1], [1] * 100, [10**6], [10**400], ["3", 4, 6, 3]),
    *([3, 4, 6, 1e6], [True] * 4, [2, 2], {"class_path": "x", "init_args": {}}, [10**6] * 4),
)
ABSURD = (*WHOLE, *OTHER, *TEXTS, *NESTED)


def classes(kind: str) -> dict[Callable[..., Any], dict[str, Any]]:
    """The classes of a kind, with what each needs beside the option under test."""
    if kind == "models":
        from vprtrain import models

        known = [getattr(models, name) for name in models.__all__]
        return {cls: {} for cls in known if cls is not models.SpeakerEncoder}
    if kind == "features":
        from vprtrain import features

        known = [getattr(features, name) for name in features.__all__]
        return {cls: {} for cls in known if cls is not features.FeatureExtractor}
    if kind == "losses":
        from vprtrain import losses

        heads = (losses.CosineHead, losses.LinearHead, losses.SampledCosineHead)
        abstract = (losses.SpeakerLoss, losses.MarginLoss, losses.MarginSoftmaxLoss, losses.Head)
        known = [getattr(losses, name) for name in losses.__all__]
        sizes = {"embedding_dim": 4, "num_classes": 3}
        return {
            cls: sizes if cls in heads else {}
            for cls in known
            if inspect.isclass(cls) and cls not in abstract
        }
    from vprtrain.models import attentive_pooling, pooling

    found = {**vars(pooling), **vars(attentive_pooling)}
    poolings = [found[name] for name in found if name.endswith("Pooling")]
    return {
        **{cls: {"channels": 8} for cls in poolings},
        pooling.build_pooling: {"name": "ASP", "channels": 8},
    }


def constructions(kind: str, only: str | None) -> Iterator[dict[str, Any]]:
    """What becomes of each class, option and value."""
    from vprtrain.errors import UsageError
    from vprtrain.layers.sizes import without_memory

    # As a checkpoint and a configuration are opened: sizes first.
    sized = nullcontext if kind == "features" else without_memory
    for cls, others in classes(kind).items():
        if only not in (None, cls.__name__):
            continue
        for name in inspect.signature(cls).parameters:
            for value in ABSURD:
                start, outcome = time.monotonic(), "an object"
                try:
                    with sized():
                        cls(**{**others, name: value})
                except UsageError as error:
                    outcome = "refused"
                    if "\n" in str(error) or len(str(error)) > 600:
                        outcome = str(error)
                except BaseException as error:
                    outcome = f"{type(error).__name__}: {error}"
                seconds = time.monotonic() - start
                place = f"{cls.__name__}, {name}, {reprlib.repr(value)}"
                yield {"place": place, "outcome": outcome[:300], "seconds": seconds}


def main(kind: str, only: str | None = None) -> None:
    """Print the outcomes."""
    found = list(constructions(kind, only))
    counts = Counter(each["outcome"] for each in found)
    wrong = [
        each
        for each in found
        if each["outcome"] not in ("an object", "refused") or each["seconds"] > MOST_SECONDS
    ]
    print(json.dumps({"counts": counts, "wrong": wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
