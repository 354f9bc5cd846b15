"""``--recipe``, and ``--config NAME`` for a configuration of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.commands.config import CommandParser
from vprtrain.commands.fit import fit
from vprtrain.commands.recipe_options import split_recipe, with_config_files
from vprtrain.errors import UsageError
from vprtrain.recipes import CNCELEB, OWN, RECIPES


def test_the_other_arguments_keep_their_order() -> None:
    recipe, others = split_recipe(["--a=1", "--recipe", "own", "source", "--b", "-1", "--a=2"])
    assert recipe is OWN and others == ["--a=1", "source", "--b", "-1", "--a=2"]
    assert split_recipe(["--recipe=cnceleb"]) == (CNCELEB, [])
    assert split_recipe(["source"]) == (None, ["source"])
    assert split_recipe(["source"], default="own") == (OWN, ["source"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe=cncelb"], "unknown recipe 'cncelb': the closest is 'cnceleb'"),
        (["--recipe=xyz"], "unknown recipe 'xyz': known are cnceleb, voxceleb, own"),
        (["--recipe"], "--recipe needs a name: cnceleb, voxceleb, own"),
    ],
)
def test_an_unknown_recipe_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        split_recipe(arguments)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "arguments",
    [["--config=demo", "--seed=1"], ["--config", "demo", "--seed=1"]],
)
def test_a_bare_name_is_a_configuration_of_the_recipe(arguments: list[str]) -> None:
    *config, seed = with_config_files(arguments, CNCELEB)
    assert "=".join(config) == f"--config={CNCELEB.folder / 'demo.yaml'}" and seed == "--seed=1"


def test_without_config_the_recipes_default_comes_first() -> None:
    expected = [f"--config={CNCELEB.folder / 'campplus.yaml'}", "--seed=1"]
    assert with_config_files(["--seed=1"], CNCELEB) == expected
    assert with_config_files(["--help"], None) == ["--help"]
    assert with_config_files(["--model.help=TDNN"], None) == ["--model.help=TDNN"]
    with pytest.raises(UsageError, match="nothing says what to train"):
        with_config_files(["--seed=1"], None)


def test_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "mine"):
        Path(name).touch()
        assert with_config_files([f"--config={name}"], CNCELEB) == [f"--config={name}"]
        assert with_config_files([f"--config={name}"], None) == [f"--config={name}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("camplus", "recipe cnceleb has no configuration 'camplus': known are campplus, demo,"),
        ("recipes/cnceleb/campplus.yaml", "does not exist: recipe cnceleb has its own configur"),
    ],
)
def test_a_configuration_that_does_not_exist_is_refused(
    value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        with_config_files([f"--config={value}"], CNCELEB)


def test_a_configuration_of_a_recipe_needs_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"--config compact is .* recipe: add --recipe own$"):
        with_config_files(["--config=compact"], None)


def test_a_data_set_that_is_not_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"data/train\.tsv: .* vprtrain prepare --recipe own "):
        fit(CommandParser(), ["--recipe=own", "--data.trials=null"])


@pytest.mark.parametrize("name", list(RECIPES))
def test_fit_prints_the_default_configuration_of_every_recipe(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        fit(CommandParser(), [f"--recipe={name}", "--data.trials=null", "--print_config"])
    printed = capsys.readouterr().out
    assert left.value.code == 0
    assert f"train_manifest: {RECIPES[name].out_dir}/train.tsv" in printed
    assert "  trials: null\n" in printed and "recipe" not in printed


def test_the_classes_of_a_configuration_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """The class comes from the recipe's file, from the command line, or from a list there."""
    for argument, expected in (
        ("--model.init_args.chanels=3", "unknown option '--model.init_args.chanels'"),
        ("--model.embeding_dim=3", "the closest is '--model.init_args.embedding_dim'"),
        ("--feature.n_mel=3", "the closest is '--feature.init_args.n_mels'"),
        ("--callbacks=[Chekpoint]", "unknown class 'Chekpoint' for 'callbacks'"),
        ("--engine.max_epoch=3", "the closest is '--engine.max_epochs'"),
    ):
        with pytest.raises(UsageError, match=expected.replace("[", r"\[")):
            fit(CommandParser(), ["--recipe=own", argument])
