"""YAML of a stranger: plain values are read, all else is refused in one line and soon."""

from __future__ import annotations

import pytest
import yaml
from limited import run_limited

from vprtrain.checkpoint.yaml_text import MOST_YAML_BYTES, parse_yaml


def test_plain_values_are_read() -> None:
    text = b"data:\n  sample_rate: 16000\n  list: [a, 1.5, null, true]\n  empty: {}\n"
    assert parse_yaml(text) == {
        "data": {"sample_rate": 16000, "list": ["a", 1.5, None, True], "empty": {}}
    }
    assert parse_yaml(b"") is None


def test_aliases_of_a_configuration_are_read() -> None:
    """PyYAML writes them for an object that a configuration has twice."""
    shared = {"min": 0.9, "max": [1.1]}
    value = {"train": {"speed": shared}, "validation": {"speed": shared}}
    text = yaml.safe_dump(value)
    assert "*id001" in text
    assert parse_yaml(text.encode()) == value
    assert parse_yaml(b"a: &x {b: 1}\nc: {<<: *x, d: 2}\n") == {
        "a": {"b": 1},
        "c": {"b": 1, "d": 2},
    }


def doubled(levels: int) -> bytes:
    """A list of twice the list before it, again and again."""
    lines = [f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, levels + 1)]
    return "\n".join(["l0: &l0 [1, 1, 1]", *lines]).encode()


def merged(levels: int) -> bytes:
    """The same by merge keys, whose entries PyYAML copies."""
    lines = [f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}" for n in range(1, levels + 1)]
    return "\n".join(["l0: &l0 {a: 1}", *lines]).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"b: *x\n", "undefined alias"),
        (b"a: &x [*x]\n", "aliases make inf values"),
        (b"a: &x {b: {c: *x}}\n", "aliases make inf values"),
        (b"&x a: *x\n<<: &y [*y]\n", "aliases make inf values"),
        (doubled(60), r"aliases make 1.\de\+19 values"),
        (merged(60), r"aliases make \d.\de\+\d\d values"),
        (b"data: [\n", "ParserError"),
        (b"a: b: c\n", "ScannerError"),
        (b"\0", "ReaderError"),
        (b"\xff\xfe\xfa", "ReaderError"),
        (b"a: 2001-99-99\n", "ValueError"),
        (b"!!int ''\n", "IndexError"),
        (b"!!timestamp x\n", "AttributeError"),
        (b"!!python/object/apply:os.system [touch executed]\n", "ConstructorError"),
        (b"? [a]\n: b\n", "ConstructorError"),
        (b"[" * 2000, "RecursionError"),
        (b"a: 1\n" + b"#" * MOST_YAML_BYTES, f"expected at most {MOST_YAML_BYTES}"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        parse_yaml(text)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


WORST = {
    "a list": b"[" + b"1," * (MOST_YAML_BYTES // 2 - 2) + b"]",
    "a mapping": b"a:\n" * (MOST_YAML_BYTES // 3),
    "a number of base 60": b"1" + b":59" * (MOST_YAML_BYTES // 3 - 1),
    "an open list": b"[" * MOST_YAML_BYTES,
}
READ = """
import time
from pathlib import Path
from vprtrain.checkpoint.yaml_text import parse_yaml
before, start = peak_memory(), time.process_time()
try:
    parse_yaml(Path(sys.argv[1]).read_bytes())
except ValueError as error:
    print(error)
assert time.process_time() - start < 10 and peak_memory() - before < 250e6
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORST)
def test_the_worst_text_of_the_largest_size_ends_soon(tmp_path, kind: str) -> None:
    (tmp_path / "config.yaml").write_bytes(WORST[kind])
    run_limited(READ, tmp_path / "config.yaml")
