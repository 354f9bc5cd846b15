"""The help of ``fit``: the common options first, and a text for every argument of a class."""

from __future__ import annotations

import inspect
import re

import pytest

from vprtrain import losses, models
from vprtrain.commands.config import CommandParser
from vprtrain.commands.fit import fit
from vprtrain.commands.main import COMMANDS
from vprtrain.engine import optimizers


def help_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        fit(CommandParser(prog="vprtrain fit"), list(arguments))
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_common_options_come_first_and_all_on_request(capsys) -> None:
    common = help_text(capsys, "--help")
    everything = help_text(capsys, "--help", "all")
    assert len(common.splitlines()) < 130 < 200 < len(everything.splitlines())
    assert common.rstrip().splitlines()[-1].startswith("vprtrain fit --help all lists ")
    for option in ("--model", "--import", "--data.train_manifest", "--engine.max_epochs"):
        assert f"\n  {option} " in common and f"\n  {option} " in everything
    assert "--data.prefetch" not in common and "--data.prefetch" in everything
    assert not re.search(r"`|:\w+:`|%%", everything)
    assert not re.search(
        r"CLASS_PATH|<class|class_path'|Optional\[|Union\[|\| null|\(\)", everything
    )
    assert "(type: FeatureExtractor, default: Fbank with {'mean_norm': True}, known: " in (
        " ".join(everything.split())
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_option_has_a_text(command, capsys) -> None:
    with pytest.raises(SystemExit):
        command(CommandParser(prog="vprtrain"), ["--help", "all"])
    text = capsys.readouterr().out.partition("options:")[2]
    entries = re.split(r"\n  (?=-)", text)
    for entry in entries[1:]:
        words = re.split(r"\n|  ", entry, maxsplit=1)[-1].split()
        assert words and words[0] not in (entry.split()[0], "(required)", "(type:"), entry


@pytest.mark.parametrize("module", [models, losses, optimizers])
def test_every_argument_of_a_class_is_explained(module) -> None:
    bases = (models.SpeakerEncoder, losses.SpeakerLoss, optimizers.OptimizerFactory)
    abstract = {*bases, losses.MarginLoss, losses.MarginSoftmaxLoss}
    for cls in (getattr(module, name) for name in getattr(module, "__all__", dir(module))):
        if not inspect.isclass(cls) or not issubclass(cls, bases) or cls in abstract:
            continue
        texts = " ".join(inspect.getdoc(each) or "" for each in cls.__mro__ if each not in bases)
        for name in inspect.signature(cls).parameters:
            assert re.search(rf"\s{name}: \w", texts), f"{cls.__name__} does not explain {name}"
