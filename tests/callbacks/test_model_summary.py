"""The table of the model."""

import logging

import pytest
from probes import StopAfter, train

from vprtrain.callbacks import Freeze, ModelSummary
from vprtrain.errors import UsageError


def logged(caplog, *callbacks, **options):
    with caplog.at_level(logging.INFO, logger="vprtrain.callbacks.model_summary"):
        train(ModelSummary(**options), *callbacks)
    return [
        record.message
        for record in caplog.records
        if record.name == "vprtrain.callbacks.model_summary"
    ]


def test_the_table_is_logged_once(caplog):
    assert logged(caplog) == [
        "layer     class        weights  parameters  state",
        "layers    Sequential            193         trained",
        "layers.0  Linear       8x16 16  144         trained",
        "layers.1  BatchNorm1D  16 16    32          trained",
        "layers.4  Linear       16x1 1   17          trained",
        "193 parameters: 193 trained, 0 frozen",
    ]


def test_what_is_frozen_in_this_phase(caplog):
    freeze = Freeze(parts=["layers.0"], until_epoch=1)
    lines = logged(caplog, freeze, StopAfter(1))
    assert [line.split()[-1] for line in lines[2:5]] == ["frozen", "trained", "trained"]
    assert lines[1].endswith("193         partly trained")
    assert lines[-1] == "193 parameters: 49 trained, 144 frozen"


def test_the_depth(caplog):
    assert len(logged(caplog, depth=1)) == 3
    with pytest.raises(UsageError, match="ModelSummary's depth is 0"):
        ModelSummary(depth=0)
