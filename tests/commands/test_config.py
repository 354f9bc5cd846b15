from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml
from config_examples import CAMPPlus, Corpus, EcapaTdnn, Hook, Network, Patience, Pooling, Warmup
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.commands.config import CommandParser, dump, instantiate
from vprtrain.commands.option_names import closest
from vprtrain.errors import UsageError


def new_parser() -> CommandParser:
    """The shape of a recipe's parser."""
    parser = CommandParser(prog="run.py fit", description="Train.")
    parser.add_subclass_arguments(Network, "model", required=True)
    parser.add_class_arguments(Corpus, "data")
    parser.add_argument("--hooks", type=list[Hook], default=[])
    parser.add_argument("--device", type=str)
    parser.set_defaults({"model": {"class_path": "config_examples.CAMPPlus"}})
    return parser


def from_yaml(folder: Path, values: dict) -> list[str]:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return ["--config", str(file)]


def mistake(arguments: list[str]) -> str:
    with pytest.raises(UsageError) as error:
        new_parser().parse_args(arguments)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(" (--help lists all options)")
    return message.removesuffix(" (--help lists all options)")


def test_yaml_then_command_line_then_objects(tmp_path: Path) -> None:
    values = {
        "model": {
            "class_path": "EcapaTdnn",
            "init_args": {"channels": 256, "pooling": {"class_path": "Pooling"}},
        },
        "data": {"batch_size": 8, "speeds": [0.9, 1, 1.1]},
        "hooks": [{"class_path": "Warmup"}, {"class_path": "Patience", "init_args": {"checks": 3}}],
    }
    arguments = [
        *from_yaml(tmp_path, values),
        "--data.seconds=2",
        "--model.init_args.channels",
        "128",
    ]
    parser = new_parser()
    made = instantiate(parser, parser.parse_args(arguments))
    assert type(made.model) is EcapaTdnn
    assert (made.model.channels, made.model.embedding_dim) == (128, 192)
    assert type(made.model.pooling) is Pooling
    assert (made.data.batch_size, made.data.seconds, made.data.speeds) == (8, 2.0, (0.9, 1.0, 1.1))
    assert [type(hook) for hook in made.hooks] == [Warmup, Patience]
    assert made.hooks[1].checks == 3


def test_another_class_on_the_command_line_leaves_the_files_init_args_behind(
    tmp_path: Path,
) -> None:
    values = {"model": {"class_path": "EcapaTdnn", "init_args": {"channels": 256}}}
    parser = new_parser()
    made = instantiate(
        parser, parser.parse_args([*from_yaml(tmp_path, values), "--model=CAMPPlus"])
    )
    assert type(made.model) is CAMPPlus
    assert made.model.growth_rate == 32


def test_list_items_can_be_appended_from_the_command_line(tmp_path: Path) -> None:
    values = {"hooks": [{"class_path": "Warmup"}]}
    parser = new_parser()
    arguments = [*from_yaml(tmp_path, values), "--hooks+=Patience", "--hooks.checks=5"]
    made = instantiate(parser, parser.parse_args(arguments))
    assert [type(hook) for hook in made.hooks] == [Warmup, Patience]
    assert made.hooks[1].checks == 5


@pytest.mark.parametrize(
    ("text", "value"), [("1e1", 10.0), ("1e-3", 1e-3), ("1E3", 1000.0), ("5", 5.0), ("-.5", -0.5)]
)
def test_numbers_mean_the_same_in_a_file_and_on_the_command_line(
    tmp_path: Path, text: str, value: float
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"data:\n  seconds: {text}\n")
    for arguments in ([f"--data.seconds={text}"], ["--config", str(file)]):
        seconds = new_parser().parse_args(arguments).data.seconds
        assert seconds == value
        assert type(seconds) is float


def test_a_whole_number_is_not_written_with_an_exponent() -> None:
    assert (
        mistake(["--data.batch_size=1e1"]) == "option '--data.batch_size': expected int, got 10.0"
    )


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (
            "--data.bach_size=3",
            "unknown option '--data.bach_size': the closest is '--data.batch_size'",
        ),
        ("--batch_size=3", "unknown option '--batch_size': the closest is '--data.batch_size'"),
        ("--data.batch=3", "unknown option '--data.batch': the closest is '--data.batch_size'"),
        ("--qqq", "unknown option '--qqq'"),
        (
            "stray",
            "unexpected argument 'stray': options start with --, "
            "and no option may stand between the other arguments",
        ),
        ("--data.batch_size=x", "option '--data.batch_size': expected int, got x"),
        ("--data.epochs=x", "option '--data.epochs': expected int, got x"),
        ("--model.growth_rate=x", "option '--model.init_args.growth_rate': expected int, got x"),
        ("--data.batch_size", "argument --data.batch_size: expected one argument"),
        ("--model=EcapaTDN", "unknown class 'EcapaTDN' for 'model': the closest is 'EcapaTdnn'"),
        ("--model=Xyz", "unknown class 'Xyz' for 'model': known are CAMPPlus, EcapaTdnn"),
        (
            "--model=config_examples.Corpus",
            "option '--model': Import path does not correspond to a subclass of Network, "
            "got config_examples.Corpus",
        ),
        (
            "--model.init_args.growht_rate=3",
            "unknown option '--model.init_args.growht_rate': "
            "the closest is '--model.init_args.growth_rate'",
        ),
        (
            "--modle.init_args.growth_rate=3",
            "unknown option '--modle.init_args.growth_rate': "
            "the closest is '--model.init_args.growth_rate'",
        ),
        ("--hooks+=Wramup", "unknown class 'Wramup' for 'hooks': the closest is 'Warmup'"),
    ],
)
def test_mistakes_on_the_command_line(argument: str, expected: str) -> None:
    assert mistake([argument]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "data: {bach_size: 3}",
            "unknown option '--data.bach_size': the closest is '--data.batch_size'",
        ),
        (
            "dta: {batch_size: 3}",
            "unknown option '--dta.batch_size': the closest is '--data.batch_size'",
        ),
        (
            "model: {class_path: EcapaTDN}",
            "unknown class 'EcapaTDN' for 'model': the closest is 'EcapaTdnn'",
        ),
        (
            "model: {class_path: EcapaTdnn, init_args: {embeding_dim: 3}}",
            "unknown option '--model.init_args.embeding_dim': "
            "the closest is '--model.init_args.embedding_dim'",
        ),
        (
            "model: {class_path: EcapaTdnn, init_args: {growth_rate: 3}}",
            "unknown option '--model.init_args.growth_rate'",
        ),
        (
            "model: {class_path: EcapaTdnn, init_args: "
            "{pooling: {class_path: Pooling, init_args: {haeds: 3}}}}",
            "unknown option '--model.init_args.pooling.init_args.haeds': "
            "the closest is '--model.init_args.pooling.init_args.heads'",
        ),
        (
            "model: {class_path: EcapaTdnn, init_args: {pooling: {class_path: Poling}}}",
            "unknown class 'Poling' for 'model.init_args.pooling': the closest is 'Pooling'",
        ),
        (
            "model: {class_path: config_examples.EcapaTDN}",
            "unknown class 'config_examples.EcapaTDN' for 'model' "
            "(module 'config_examples' has no attribute 'EcapaTDN'): the closest is 'EcapaTdnn'",
        ),
        (
            "model: {class_path: EcapaTdnn, init_args: {channels: many}}",
            "option '--model.init_args.channels': expected int, got many",
        ),
        (
            "hooks: [{class_path: Warmup, init_args: {epoch: 3}}]",
            "unknown option '--hooks.init_args.epoch': the closest is '--hooks.init_args.epochs'",
        ),
        (
            "hooks: [{class_path: Patience}]",
            "missing: --hooks.init_args.checks",
        ),
        ("hooks: Warmup", "option '--hooks': expected list, got Warmup"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert mistake(["--config", str(file)]) == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{class_pth: EcapaTdnn}", "class_pth"),
        ("{class_path: EcapaTdnn, init_arg: {channels: 8}}", "init_arg"),
    ],
)
def test_a_misspelt_class_path_or_init_args(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"model: {text}")
    expected = "option '--model' takes class_path and init_args only, found"
    assert mistake(["--config", str(file)]) == f"{expected} '{key}'"
    assert mistake(["--model.init_arg.growth_rate=3"]) == f"{expected} 'init_arg'"


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("data: 3", "data"),
        ("data: [1]", "data"),
        ("data: {batch_size: null}", "data.batch_size"),
        ("hooks: null", "hooks"),
        ("model: {class_path: EcapaTdnn, init_args: {channels: null}}", "model.init_args.channels"),
        ("hooks: [{class_path: Warmup, init_args: {peak: null}}]", "hooks.init_args.peak"),
    ],
)
def test_nothing_in_the_place_of_something_is_refused(
    tmp_path: Path, text: str, option: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert mistake(["--config", str(file)]).startswith(f"option '--{option}': expected")


@pytest.mark.parametrize("text", ["data: {noise: null}", "device: null"])
def test_null_is_a_value_where_none_is_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert dump(new_parser(), new_parser().parse_args(["--config", str(file)])) == dump(
        new_parser(), new_parser().parse_args([])
    )


def test_a_file_that_is_absent_or_no_yaml(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    assert (
        mistake(["--config", str(absent)]) == f"option '--config': File does not exist: '{absent}'"
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text("data: [1")
    assert "line 1" in mistake(["--config", str(broken)])


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes("data: büro".encode("latin-1"))
    assert "config.yaml is not UTF-8 text" in mistake([f"--config={file}"])


def test_what_a_constructor_refuses_is_a_usage_error() -> None:
    parser = new_parser()
    config = parser.parse_args(["--model=EcapaTdnn", "--model.channels=9"])
    with pytest.raises(UsageError, match="channels must be a multiple of 8, found 9"):
        instantiate(parser, config)


def test_print_config_is_what_dump_writes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model=EcapaTdnn", "--data.batch_size=2"]
    with pytest.raises(SystemExit) as left:
        new_parser().parse_args([*arguments, "--print_config"])
    assert left.value.code == 0
    parser = new_parser()
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(
        dump(parser, parser.parse_args(arguments))
    )


def test_help_explains_from_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        new_parser().parse_args(["--model.help=EcapaTdnn"])
    assert left.value.code == 0
    assert "width of every layer" in capsys.readouterr().out


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.floats(min_value=1e-9, max_value=1e9),
    batch_size=st.integers(min_value=1),
    # PyYAML writes U+0085 and other line breaks as they are, and reads them as a space: no file is
    # named so.
    train_list=st.text(
        st.characters(
            min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cc", "Cs", "Zl", "Zp"]
        ),
        min_size=1,
    ),
    speeds=st.lists(st.floats(0.5, 2.0), max_size=3),
    model=st.sampled_from(["EcapaTdnn", "CAMPPlus"]),
    embedding_dim=st.integers(1, 512),
    peaks=st.lists(st.floats(1e-12, 1.0), max_size=2),
)
def test_a_dump_is_read_back_as_the_same_configuration(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: float,
    batch_size: int,
    train_list: str,
    speeds: list[float],
    model: str,
    embedding_dim: int,
    peaks: list[float],
) -> None:
    values = {
        "model": {"class_path": model, "init_args": {"embedding_dim": embedding_dim}},
        "data": {
            "seconds": seconds,
            "batch_size": batch_size,
            "train_list": train_list,
            "speeds": speeds,
        },
        "hooks": [{"class_path": "Warmup", "init_args": {"peak": peak}} for peak in peaks],
    }
    folder = tmp_path_factory.getbasetemp()
    parser = new_parser()
    first = parser.parse_args(from_yaml(folder, values))
    assert (first.data.seconds, first.data.train_list, first.model.init_args.embedding_dim) == (
        seconds,
        train_list,
        embedding_dim,
    )
    text = dump(parser, first)
    (folder / "dumped.yaml").write_text(text)
    second = parser.parse_args(["--config", str(folder / "dumped.yaml")])
    assert second.clone(with_meta=False).as_dict() | {"config": None} == first.as_dict() | {
        "config": None
    }
    assert dump(parser, second) == text


@given(st.lists(st.text(min_size=1), min_size=1, unique_by=str.lower), st.data())
def test_a_name_is_closest_to_itself(names: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in names if not name.endswith(".")] or ["a"]))
    assert closest(name, [*names, name]) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lr", "optimizer.init_args.lr"),
        ("data.sed", "data.seed"),
        ("engine.sed", "engine.seed"),
        ("ENGINE.SEED", "engine.seed"),
        ("optimizer.init_args.zzz", None),
        ("", None),
    ],
)
def test_closest(name: str, expected: str | None) -> None:
    assert closest(name, ["data.seed", "engine.seed", "optimizer.init_args.lr"]) == expected


def test_closest_of_nothing() -> None:
    assert closest("a", []) is None


def test_examples_do_not_hide_behind_tunnels() -> None:
    """The candidates that a message names come from signatures; a ``**kwargs`` there would hide
    them."""
    for cls in (EcapaTdnn, CAMPPlus, Warmup, Patience, Corpus):
        kinds = {parameter.kind for parameter in inspect.signature(cls).parameters.values()}
        assert kinds == {inspect.Parameter.KEYWORD_ONLY}
