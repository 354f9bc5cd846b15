"""How an object was made, as JSON: ``{"class_path": .., "init_args": {..}}``, the form that
configurations have too."""

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
    """The import path of a class: its package's, where the package lists the class in ``__all__``,
    else its module's.

    A file inside a package may then be renamed without changing what configurations and checkpoints
    say.
    """
    package = cls.__module__.rpartition(".")[0]
    face = sys.modules[package] if package in sys.modules else None
    listed = face is not None and cls.__name__ in vars(face).get("__all__", ())
    home = package if listed and getattr(face, cls.__name__) is cls else cls.__module__
    return f"{home}.{cls.__qualname__}"


def canonical(value: Any) -> Any:
    """A JSON value with the class paths in it as :func:`class_path` gives them now; earlier
    versions named modules.

    Only paths into vprtrain are looked up. A path that leads to no class stays as it is.
    """
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: canonical(item) for key, item in value.items()}
    path = found.get("class_path")
    if isinstance(path, str) and path.startswith("vprtrain."):
        cls = _find(path)
        if inspect.isclass(cls):
            found["class_path"] = class_path(cls)
    return found


def build(spec: object, base: type[T], source: str) -> T:
    """Make the object that a checkpoint's specification describes.

    A checkpoint may come from a stranger, so only subclasses of ``base`` are called, and only
    modules of vprtrain or already imported ones are looked into: a model of your own must be
    imported first.

    Raises:
        CheckpointError: the class is not one of these, or refuses the arguments.
    """
    parts = spec if isinstance(spec, Mapping) else {}
    path, init_args = parts.get("class_path"), parts.get("init_args")
    if not isinstance(path, str) or not isinstance(init_args, dict):
        raise CheckpointError(
            f"{source}: expected class_path and init_args of a {base.__name__}, found {spec!r:.80}"
        )
    cls = _find(path)
    if cls is None and path.partition(".")[0] == "vprtrain":
        raise CheckpointError(f"{source}: {path} is not in this version of vprtrain")
    if not inspect.isclass(cls) or not issubclass(cls, base):
        raise CheckpointError(
            f"{source}: {path} is not a known {base.__name__}; import its module first if it is your own"
        )
    try:
        return cls(**init_args)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {path} cannot be made: {error}") from error


def _find(path: str) -> object:
    """What an import path leads to; ``None`` where there is nothing. Only modules of vprtrain are
    imported."""
    module_name, _, name = path.rpartition(".")
    if module_name.partition(".")[0] == "vprtrain":
        try:
            importlib.import_module(module_name)
        except ImportError:
            return None
    return vars(sys.modules[module_name]).get(name) if module_name in sys.modules else None
