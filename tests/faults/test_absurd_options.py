"""A model, feature, loss or pooling with any value of any option is an object or one line of the
project's own errors, within seconds and 4 GB of address space."""

from __future__ import annotations

import json

import absurd_options
import pytest
from limited import run_limited

from vprtrain import models

SCRIPT = """
from absurd_options import main
for argument in sys.argv[1:]:
    main(*argument.split("/"))
"""
MODELS = [f"models/{name}" for name in models.__all__ if name != "SpeakerEncoder"]


def assert_all_end_well(*kinds: str) -> None:
    said, peak = run_limited(SCRIPT, *kinds)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(lines) == len(kinds) and peak < 2**30
    for line in lines:
        assert not line["wrong"], line["wrong"][:5]
        counts = line["counts"]
        assert counts["refused"] > sum(counts.values()) / 2 and counts["an object"] > 10


def test_losses_and_poolings() -> None:
    assert_all_end_well("losses", "poolings")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["features", *MODELS])
def test_features_and_models(kind: str) -> None:
    assert_all_end_well(kind)


def test_no_class_is_forgotten() -> None:
    counts = {kind: len(absurd_options.classes(kind)) for kind in absurd_options.KINDS}
    assert counts == {"models": 15, "features": 7, "losses": 11, "poolings": 12}
