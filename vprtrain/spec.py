"""How an object was made, as JSON: ``{"class_path": .., "init_args": {..}}``, the form that configurations have too."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from vprtrain.errors import CheckpointError

Spec = dict[str, Any]
T = TypeVar("T")


class Specified:
    """Mixed into a class with JSON values as constructor arguments, it remembers them."""

    init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # Copying makes an instance without arguments, and then fills its __dict__.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        _, *arguments = bound.arguments.items()
        object.__setattr__(self, "init_args", dict(arguments))
        return self

    @property
    def spec(self) -> Spec:
        """What :func:`build` makes an equal object of (weights aside)."""
        return {"class_path": class_path(type(self)), "init_args": self.init_args}


def class_path(cls: type) -> str:
    """Where a class is imported from: its package, if that hands it on (so files may be renamed), else its module."""
    package = cls.__module__.rpartition(".")[0]
    handed_on = vars(sys.modules[package]).get(cls.__name__) is cls if package in sys.modules else False
    return f"{package if handed_on else cls.__module__}.{cls.__qualname__}"


def build(spec: object, base: type[T], source: str) -> T:
    """Make the object that a checkpoint's specification describes.

    A checkpoint may come from a stranger, so only subclasses of ``base`` are called, and only modules of vprtrain
    or already imported ones are looked into: a model of your own must be imported first.

    Raises:
        CheckpointError: the class is not one of these, or refuses the arguments.
    """
    parts = spec if isinstance(spec, Mapping) else {}
    path, init_args = parts.get("class_path"), parts.get("init_args")
    if not isinstance(path, str) or not isinstance(init_args, dict):
        raise CheckpointError(f"{source}: expected class_path and init_args of a {base.__name__}, found {spec!r:.80}")
    module_name, _, class_name = path.rpartition(".")
    if module_name.partition(".")[0] == "vprtrain":
        try:
            importlib.import_module(module_name)
        except ImportError as error:
            raise CheckpointError(f"{source}: {path} is not in this version of vprtrain") from error
    cls = vars(sys.modules[module_name]).get(class_name) if module_name in sys.modules else None
    if not inspect.isclass(cls) or not issubclass(cls, base):
        raise CheckpointError(
            f"{source}: {path} is not a known {base.__name__}; import its module first if it is your own"
        )
    try:
        return cls(**init_args)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {path} cannot be made: {error}") from error
