"""Calls every part of a training step once, for a log of the kernels that Paddle chooses.

    operators_ours.py MODEL ...

Before each part, a line ``part NAME`` appears on standard error, and ``part`` after it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from speaker_step import make_batch, make_module, make_stepper

from vprtrain import features, losses, runtime


@contextmanager
def part(name: str) -> Iterator[None]:
    print(f"part {name}", file=sys.stderr, flush=True)
    yield
    print("part", file=sys.stderr, flush=True)


def concrete(room: object, base: type) -> list[type]:
    """The public classes of a package that can be built without options."""
    classes = [getattr(room, name) for name in room.__all__]  # type: ignore[attr-defined]
    return [
        each
        for each in classes
        if inspect.isclass(each) and issubclass(each, base) and each is not base
        if all(
            option.default is not option.empty or option.kind is option.VAR_KEYWORD
            for option in inspect.signature(each).parameters.values()
        )
    ]


def main(models: list[str]) -> None:
    runtime.prepare()
    batch = make_batch(4, 0.6)
    for model in models:
        stepper = make_stepper(make_module(model))
        with part(f"step of {model}"):
            stepper.run(0, [batch], None)
    for loss in concrete(losses, losses.SpeakerLoss):
        stepper = make_stepper(make_module("TDNN", loss=loss()))
        with part(f"step with {loss.__name__}"):
            stepper.run(0, [batch], None)
    waveforms, lengths = paddle.to_tensor(batch.waveforms), np.array([9600, 8000, 9000, 9600])
    for feature in concrete(features, features.FeatureExtractor):
        extractor = feature()
        with part(feature.__name__):
            extractor.on_device(waveforms, paddle.to_tensor(lengths))
    masks = features.SpecAugment()
    frames = paddle.randn([4, 60, 80])
    with part("SpecAugment"):
        masks(frames)


if __name__ == "__main__":
    main(sys.argv[1:])
