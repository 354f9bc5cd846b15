"""jsonargparse's own messages, raw, and the line that is made of each.

The raw messages are those of jsonargparse 4.53.0, which is the lowest version that pyproject.toml
allows. With another version the first test shows which messages have changed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from config_examples import Corpus, Hook, Network
from jsonargparse import ArgumentParser

from vprtrain.commands.parser_messages import one_line

UNION = "Does not validate against any of the Union subtypes"

# (arguments, or the text of a YAML file; the raw message; the line)
MESSAGES: list[tuple[str, str, str]] = [
    (
        "stray",
        "unrecognized arguments: stray",
        "unexpected argument 'stray': options start with --",
    ),
    (
        "--data.batch_size",
        "argument --data.batch_size: expected one argument",
        "argument --data.batch_size: expected one argument",
    ),
    (
        "--data.batch_size=x",
        "Parser key \"data.batch_size\":\n  Expected a <class 'int'>. Got value: x",
        "option '--data.batch_size': expected int, got x",
    ),
    (
        "--data.epochs=x",
        f'Parser key "data.epochs":\n  {UNION}\n'
        "  Subtypes: [<class 'int'>, <class 'NoneType'>]\n"
        "  Errors:\n    - Expected a <class 'int'>\n    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'str'>\n  Given value: x",
        "option '--data.epochs': expected int, got x",
    ),
    (
        "--model.growth_rate=x",
        f'Parser key "model":\n  {UNION}\n'
        "  Subtypes: [<class 'config_examples.Network'>, <class 'NoneType'>]\n"
        "  Errors:\n    - Problem with given class_path 'config_examples.CAMPPlus':\n"
        "        Parser key \"growth_rate\":\n          Expected a <class 'int'>. Got value: x\n"
        "    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'jsonargparse._util.NestedArg'>\n"
        "  Given value: NestedArg(key='growth_rate', val='x')",
        "option '--model.init_args.growth_rate': expected int, got x",
    ),
    (
        "--model=config_examples.Corpus",
        'Parser key "model":\n\n'
        "  - Expected a path but config_examples.Corpus either not accessible or invalid\n"
        f"  - {UNION}\n"
        "  Subtypes: [<class 'config_examples.Network'>, <class 'NoneType'>]\n"
        "  Errors:\n    - Import path does not correspond to a subclass of Network\n"
        "    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'str'>\n  Given value: config_examples.Corpus",
        "option '--model': Import path does not correspond to a subclass of Network, "
        "got config_examples.Corpus",
    ),
    (
        "data: {speeds: [a]}",
        "Parser key \"data.speeds\":\n  Expected a <class 'float'>. Got value: a",
        "option '--data.speeds': expected float, got a",
    ),
    (
        "hooks: Warmup",
        "Parser key \"hooks\":\n  Expected a <class 'list'>. Got value: Warmup",
        "option '--hooks': expected list, got Warmup",
    ),
    (
        "hooks: [{class_path: Patience}]",
        "Parser key \"hooks\":\n  Problem with given class_path 'config_examples.Patience':\n"
        "    the following arguments are required: checks",
        "missing: --hooks.init_args.checks",
    ),
    (
        "hooks: [{class_path: Patience, init_args: {checks: x}}]",
        "Parser key \"hooks\":\n  Problem with given class_path 'config_examples.Patience':\n"
        "    Parser key \"checks\":\n      Expected a <class 'int'>. Got value: x",
        "option '--hooks.init_args.checks': expected int, got x",
    ),
    (
        "model: {class_path: EcapaTdnn, init_args: {pooling: {class_path: Pooling, "
        "init_args: {heads: x}}}}",
        f'Parser key "model":\n  {UNION}\n'
        "  Subtypes: [<class 'config_examples.Network'>, <class 'NoneType'>]\n"
        "  Errors:\n    - Problem with given class_path 'config_examples.EcapaTdnn':\n"
        f'        Parser key "pooling":\n          {UNION}\n'
        "          Subtypes: [<class 'config_examples.Pooling'>, <class 'NoneType'>]\n"
        "          Errors:\n"
        "            - Problem with given class_path 'config_examples.Pooling':\n"
        '                Parser key "heads":\n'
        "                  Expected a <class 'int'>. Got value: x\n"
        "            - Expected a <class 'NoneType'>\n"
        "          Given value type: <class 'dict'>\n"
        "          Given value: {'class_path': 'Pooling', 'init_args': {'heads': 'x'}}\n"
        "    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'dict'>\n"
        "  Given value: {'class_path': 'EcapaTdnn', 'init_args': {'pooling': "
        "{'class_path': 'Pooling', 'init_args': {'heads': 'x'}}}}",
        "option '--model.init_args.pooling.init_args.heads': expected int, got x",
    ),
    (
        "data: [1",
        "Problems parsing config: while parsing a flow sequence\n"
        '  in "<unicode string>", line 1, column 7\n'
        "did not find expected ',' or ']'\n"
        '  in "<unicode string>", line 2, column 1',
        'Problems parsing config: while parsing a flow sequence in "<unicode string>", line 1, '
        "column 7 did not find expected ',' or ']'",
    ),
    (
        "--config=absent.yaml",
        "Parser key \"config\": File does not exist: 'absent.yaml'",
        "option '--config': File does not exist: 'absent.yaml'",
    ),
]


def test_a_missing_option_has_its_dashes() -> None:
    raw = "the following arguments are required: name, checkpoint, data.train_manifest"
    assert one_line(raw, ["name"]) == "missing: name, --checkpoint, --data.train_manifest"


class RefusedError(Exception):
    """What jsonargparse says of a mistake."""


class RawParser(ArgumentParser):
    """jsonargparse as it is, except that its message is raised."""

    def error(self, message: str, ex: Exception | None = None) -> None:
        if not self.exit_on_error:
            super().error(message, ex)
        raise RefusedError(message)


def raw_message(given: str, folder: Path) -> str:
    """What the installed version says of an argument, or of a file with this text."""
    parser = RawParser(allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(Network, "model", required=True)
    parser.add_class_arguments(Corpus, "data")
    parser.add_argument("--hooks", type=list[Hook], default=[])
    parser.set_defaults({"model": {"class_path": "config_examples.CAMPPlus"}})
    argument = given
    if ": " in given:
        (folder / "config.yaml").write_text(given)
        argument = f"--config={folder / 'config.yaml'}"
    with pytest.raises(RefusedError) as refused:
        parser.parse_args([argument])
    return str(refused.value)


@pytest.mark.parametrize(("given", "raw", "line"), MESSAGES, ids=[each[0] for each in MESSAGES])
def test_the_installed_version_says_it_like_this(
    given: str, raw: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert raw_message(given, tmp_path).replace(f"{tmp_path}/", "") == raw


@pytest.mark.parametrize(("given", "raw", "line"), MESSAGES, ids=[each[0] for each in MESSAGES])
def test_a_raw_message_becomes_one_line(given: str, raw: str, line: str) -> None:
    assert one_line(raw).startswith(line) and "\n" not in one_line(raw)
