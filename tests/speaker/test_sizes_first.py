"""A stranger's model is compared with its arrays before it gets memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from limited import run_limited
from small_checkpoint import write_checkpoint

from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.data.audio import read_audio
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.extractors.checkpoint import CheckpointExtractor
from vprtrain.layers.sizes import count_values, without_memory
from vprtrain.models import CAMPPlus, SpeakerEncoder
from vprtrain.speaker.module import SpeakerModule

HUGE = {
    "vprtrain.models.EcapaTdnn": {"channels": 20_000},
    "vprtrain.models.TDNN": {"channels": 60_000, "pooled_channels": 60_000},
    "vprtrain.models.CAMPPlus": {"growth_rate": 10**6},
    "vprtrain.models.ResNet34": {"blocks": [10**6] * 4},
    "vprtrain.models.ERes2Net": {"channels": 8_000},
}


@pytest.fixture
def saved(tmp_path: Path) -> SavedCheckpoint:
    return open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))


OPEN_HUGE = """
import json
from pathlib import Path
from vprtrain.checkpoint.state_file import open_checkpoint
from vprtrain.errors import CheckpointError
from vprtrain.extractors.checkpoint import CheckpointExtractor
for change in json.loads(sys.argv[2]):
    saved = open_checkpoint(Path(sys.argv[1]))
    saved.state.own.update(change)
    try:
        CheckpointExtractor(saved, device="cpu")
    except CheckpointError as error:
        print("refused", str(error).count("\\n"))
"""


def test_gigabytes_are_refused_without_taking_them(saved: SavedCheckpoint) -> None:
    changes: list[dict[str, Any]] = [
        {"model": {"class_path": path, "init_args": {"input_size": 24, **options}}}
        for path, options in HUGE.items()
    ]
    feature = {"class_path": "vprtrain.features.Fbank", "init_args": {"n_mels": 10**8}}
    changes += [{"feature": feature}, {"num_classes": 2**31 - 1}, {"num_classes": 10**12}]
    said, peak = run_limited(OPEN_HUGE, saved.folder, json.dumps(changes))
    assert said.splitlines()[-len(changes) :] == ["refused 0"] * len(changes)
    assert peak < 2**30


@pytest.mark.parametrize("rate", [10**20, 0, 999, 768_001, 1e20])
def test_no_resampler_is_asked_for_an_absurd_rate(saved: SavedCheckpoint, rate: float) -> None:
    saved.state.own["sample_rate"] = rate
    with pytest.raises(CheckpointError, match=r"sample_rate is .*, expected a whole number from"):
        CheckpointExtractor(saved, device="cpu")
    with pytest.raises(UsageError, match=r"sample_rate is .*; expected a whole number from 1000"):
        read_audio("missing.wav", sample_rate=rate)  # type: ignore[arg-type]


class Faulty(SpeakerEncoder):
    """A class of the user's."""

    def __init__(self, *, fault: str) -> None:
        super().__init__(input_size=24, embedding_dim=16, min_frames=1)
        errors = {"zero": ZeroDivisionError, "memory": MemoryError, "key": KeyError}
        raise errors[fault]("two\nlines")


@pytest.mark.parametrize("fault", ["zero", "memory", "key", "unknown"])
def test_any_exception_of_a_constructor_is_one_line(saved: SavedCheckpoint, fault: str) -> None:
    path = f"{__name__}.Faulty"
    saved.state.own["model"] = {"class_path": path, "init_args": {"fault": fault}}
    with pytest.raises(CheckpointError, match=f"{path} cannot be made") as refusal:
        SpeakerModule.from_checkpoint(saved)
    assert str(saved.folder) in str(refusal.value) and "\n" not in str(refusal.value)


def test_another_size_than_the_features_is_the_checkpoints_error(saved: SavedCheckpoint) -> None:
    saved.state.own["model"]["init_args"]["input_size"] = 25
    with pytest.raises(CheckpointError, match="the model takes 25 values per frame"):
        SpeakerModule.from_checkpoint(saved)


class Computing(SpeakerEncoder):
    """A class of the user's that computes with a parameter in its constructor."""

    def __init__(self) -> None:
        super().__init__(input_size=24, embedding_dim=16, min_frames=1)
        self.linear = paddle.nn.Linear(24, 16)
        self.linear.weight.set_value(self.linear.weight * 0.5)

    def encode(self, x: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        return self.linear(x.mean(-1))


def test_a_constructor_that_computes_with_its_parameters_is_given_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("small_checkpoint.TDNN", lambda **sizes: Computing())
    saved = open_checkpoint(write_checkpoint(tmp_path / "own"))
    module = SpeakerModule.from_checkpoint(saved)
    np.testing.assert_array_equal(
        module.model.linear.weight.numpy(), saved.arrays("model.pdparams")["model.linear.weight"]
    )


def test_a_model_without_memory_has_its_sizes_and_draws_nothing() -> None:
    before = paddle.get_rng_state()[0].__getstate__()
    with without_memory():
        model = CAMPPlus()
    assert paddle.get_rng_state()[0].__getstate__() == before
    assert count_values(model) == count_values(CAMPPlus())
