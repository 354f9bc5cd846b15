"""An option that chooses another class drops what was given for the old one."""

from __future__ import annotations

import logging

import pytest

from vprtrain.commands import training
from vprtrain.commands.config import CommandParser
from vprtrain.engine import Adam, AdamW
from vprtrain.errors import UsageError
from vprtrain.features import Fbank
from vprtrain.losses import MarginSoftmaxLoss

YAML = """
model: { class_path: CAMPPlus, init_args: { embedding_dim: 128, growth_rate: 16 } }
loss: { class_path: AAMLoss, init_args: { margin: 0.3 } }
callbacks:
  - class_path: CosineWarmup
    init_args: { warmup_epochs: 1.0 }
  - class_path: Checkpoint
    init_args: { keep: 7 }
data: { train_manifest: train.tsv }
"""


class NeedyLoss(MarginSoftmaxLoss):
    def __init__(self, *, margin: float, scale: float = 30.0) -> None:
        super().__init__(margin=margin, scale=scale)


class NarrowFbank(Fbank):
    def __init__(self, *, n_mels: int = 24, dither: float = 0.0) -> None:
        super().__init__(n_mels=n_mels, dither=dither)


@pytest.fixture
def parsed(tmp_path, caplog):
    """Parses options over that file; the configuration, and the lines of the log."""
    (tmp_path / "base.yaml").write_text(YAML)
    caplog.set_level(logging.INFO, "vprtrain")

    def parse(*options: str):
        parser = CommandParser(prog="fit")
        training.add_options(parser)
        caplog.clear()
        config = parser.parse_args([f"--config={tmp_path / 'base.yaml'}", *options])
        return config, caplog.messages

    return parse


def test_values_of_the_old_class_are_dropped_and_said(parsed):
    config, lines = parsed("--model=TDNN")
    assert config.model.init_args.embedding_dim == 512
    assert lines == ["model is TDNN now; dropped of CAMPPlus: embedding_dim=128, growth_rate=16"]


def test_defaults_of_the_old_class_are_not_handed_on(parsed):
    config, lines = parsed("--feature", f"{__name__}.NarrowFbank")
    assert (config.feature.init_args.n_mels, config.feature.init_args.dither) == (24, 0.0)
    assert lines == ["feature is NarrowFbank now; dropped of Fbank: mean_norm=true"]
    config, lines = parsed("--feature", f"{__name__}.NarrowFbank", "--feature.n_mels=40")
    assert config.feature.init_args.n_mels == 40
    config, _ = parsed("--optimizer=AdamW")
    assert config.optimizer.init_args.weight_decay == AdamW().weight_decay != Adam().weight_decay


def test_what_is_given_for_the_new_class_stays(parsed):
    config, lines = parsed("--model", "TDNN", "--model.embedding_dim", "64", "--seed", "3")
    assert (config.model.init_args.embedding_dim, config.seed) == (64, 3)
    config, _ = parsed('--model={"class_path": "TDNN", "init_args": {"embedding_dim": 32}}')
    assert config.model.init_args.embedding_dim == 32
    assert len(lines) == 1


def test_another_file_may_change_the_class(parsed, tmp_path):
    file = tmp_path / "more.yaml"
    file.write_text("model: { class_path: TDNN, init_args: { channels: 16 } }\n")
    config, lines = parsed("--config", str(file))
    assert config.model.init_args.embedding_dim == 512
    assert config.model.init_args.channels == 16
    assert lines[0].startswith("model is TDNN now")


@pytest.mark.parametrize("same", ["--model=CAMPPlus", "--model=vprtrain.models.CAMPPlus"])
def test_the_same_class_keeps_its_values(parsed, same):
    config, lines = parsed(same, "--model.growth_rate=24")
    assert (config.model.init_args.embedding_dim, config.model.init_args.growth_rate) == (128, 24)
    assert lines == []


def test_items_of_a_list_are_no_change(parsed):
    config, lines = parsed("--callbacks+=EtaLogger", "--loss=AAMLoss")
    assert config.callbacks[1].init_args.keep == 7
    assert lines == []


def test_a_value_that_the_new_class_requires_must_be_given(parsed):
    needy = f"--loss={__name__}.NeedyLoss"
    with pytest.raises(UsageError, match=r"NeedyLoss needs --loss\.init_args\.margin"):
        parsed(needy)
    config, _ = parsed(needy, "--loss.init_args.margin=0.1")
    assert config.loss.init_args.margin == 0.1


def test_the_printed_configuration_is_the_one_that_trains(parsed, capsys):
    with pytest.raises(SystemExit):
        parsed("--model=TDNN", "--print_config")
    assert "embedding_dim: 512" in capsys.readouterr().out
