"""Private attributes of Paddle are used in one file only: read from the source text, like the
imports in test_architecture.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from test_architecture import imported_names, modules

HOME = "vprtrain.layers.paddle_internals"
OF_THE_STANDARD_LIBRARY = {"_replace", "_asdict", "_fields", "_exit", "_actions", "_Hash"}
"""Those of named tuples, os, argparse and hashlib."""
OF_PADDLES_BASE_CLASSES = {
    *("_accumulators", "_master_weights", "_create_accumulators", "_parameter_list"),
    *("_stride", "_padding", "_dilation", "_groups", "_in_channels", "_out_channels"),
    *("_mean", "_variance", "_epsilon", "_momentum", "_weight_attr", "_bias_attr"),
    *("_parameters", "_sub_layers", "_buffers", "_non_persistable_buffer_names_set"),
}
"""What a subclass of Paddle's would find in ``self``."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_hidden(dotted: str) -> bool:
    """Whether a dotted name below ``paddle`` is outside of the public interface."""
    root, *parts = dotted.split(".")
    return root == "paddle" and (parts[:1] == ["base"] or any(map(is_private, parts)))


def dotted_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """The import path that a chain of attributes stands for; empty for any other expression."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, "")
        case ast.Attribute(value=value, attr=name):
            base = dotted_name(value, aliases)
            return f"{base}.{name}" if base else ""
    return ""


def paddle_aliases(tree: ast.AST) -> dict[str, str]:
    """Local names of what is imported from Paddle -> their import paths."""
    aliases = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [
                    (a.asname, a.name) if a.asname else (r := a.name.split(".")[0], r)
                    for a in names
                ]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = [(a.asname or a.name, f"{module}.{a.name}") for a in names]
            case _:
                continue
        aliases |= {name: path for name, path in found if path.split(".")[0] == "paddle"}
    return aliases


def is_own(node: ast.expr) -> bool:
    """Whether an expression is the object itself: ``self``, ``cls`` or ``super()``."""
    match node:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
    return False


def inherited_from_paddle(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Private attributes of Paddle's base classes that a class reads or changes in itself, without
    ever having set an attribute of that name."""
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        own = [n for n in ast.walk(cls) if isinstance(n, ast.Attribute) and is_own(n.value)]
        set_here = {node.attr for node in own if isinstance(node.ctx, ast.Store)}
        for node in own:
            if node.attr in OF_PADDLES_BASE_CLASSES - set_here:
                yield node.lineno, node.attr


def private_uses(source: str, module: str = "vprtrain.some.module") -> list[str]:
    tree = ast.parse(source)
    aliases = paddle_aliases(tree)
    found = [(line, name) for line, name in imported_names(tree, module, False) if is_hidden(name)]
    found += inherited_from_paddle(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if is_hidden(dotted_name(node, aliases)):
                found.append((node.lineno, f"{ast.unparse(value)}.{name}"))
            case ast.Attribute(value=value, attr=name) if is_private(name):
                if not is_own(value) and name not in OF_THE_STANDARD_LIBRARY:
                    found.append((node.lineno, f"{ast.unparse(value)}.{name}"))
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if is_private(name):
                found.append((node.lineno, name))
    return [f"{module}, line {line}: {name}" for line, name in sorted(set(found))]


def test_private_attributes_are_used_in_one_file_only() -> None:
    uses = {name: private_uses(file.read_text(encoding="utf-8"), name) for file, name in modules()}
    assert len(uses.pop(HOME)) > 10
    found = [use for of_module in uses.values() for use in of_module]
    assert not found, f"move to {HOME}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import paddle\npaddle._C_ops.squared_l2_norm(x)",
        "import paddle.nn.functional as F\nF._private(x)",
        "from paddle import nn\nisinstance(x, nn.layer.norm._BatchNormBase)",
        "from paddle import _C_ops",
        "from paddle.nn.layer.norm import _BatchNormBase",
        "import paddle.base.core",
        "from paddle.base.framework import EagerParamBase",
        "from paddle import base",
        "import paddle\npaddle.base.framework.default_main_program()",
        "from paddle.distributed import collective\ncollective._default_store",
        "def f(optimizer):\n    return optimizer._accumulators",
        "def f(self):\n    self.optimizer._master_weights = {}",
        "def f(parts):\n    parts[0]._share_buffer_to(parts[1])",
        "def f(norm):\n    return getattr(norm, '_mean')",
        "def f(norm):\n    setattr(norm, '_momentum', 0.9)",
        "class Conv(nn.Conv1D):\n    def forward(self, x):\n        return f(x, self._stride)",
        "class Net(nn.Layer):\n    def f(self):\n        return super()._sub_layers",
    ],
)
def test_a_private_use_is_found(source: str) -> None:
    assert private_uses(source)


@pytest.mark.parametrize(
    "source",
    [
        "import paddle\npaddle.nn.Layer.__init__(self)",
        "from paddle import nn\nnn.functional.relu(x)",
        "import os\nos._exit(1)",
        "def f(point):\n    return point._replace(x=1)._asdict()",
        "class Block(nn.Layer):\n"
        "    def __init__(self):\n        self._stride = 2\n"
        "    def forward(self, x):\n        return x[:: self._stride]",
        "class Block(nn.Layer):\n    def forward(self, x):\n        return self._fuse(x)",
        "NAMES = {'running_mean': '_mean'}",
    ],
)
def test_a_public_use_is_let_pass(source: str) -> None:
    assert private_uses(source) == []
