"""The construction of an object as JSON: ``{"class_path": .., "init_args": {..}}``, as in
configurations."""

from __future__ import annotations

import importlib
import inspect
import json
import keyword
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from vprtrain.errors import CheckpointError, VprTrainError, cause, cut, shown

Spec = dict[str, Any]
T = TypeVar("T")


class _ConstructorSignature:
    """The signature of a class, as ``inspect.signature`` asks for it. Computed when it is asked
    for: ``dataclass`` writes the constructor after the class was made."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        own = inspect.signature(owner.__init__)  # type: ignore[misc]  # that of the class itself
        return own.replace(parameters=list(own.parameters.values())[1:])


class Specified:
    """A mix-in that remembers the constructor's arguments, which must be JSON values."""

    init_args: dict[str, Any]
    # Before Python 3.11.5, inspect takes __new__ for the constructor if __init__ is inherited.
    __signature__: ClassVar[_ConstructorSignature] = _ConstructorSignature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # copy.copy calls __new__ without arguments, and then fills __dict__.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        _, *arguments = bound.arguments.items()
        object.__setattr__(self, "init_args", dict(arguments))
        return self

    @property
    def spec(self) -> Spec:
        """The specification from which :func:`build` makes an equal object, except its weights."""
        return {"class_path": class_path(type(self)), "init_args": self.init_args}


def class_path(cls: type) -> str:
    """The import path of a class: through its package if the package lists the class in
    ``__all__``, otherwise through its module.

    A file inside a package can then be renamed without a change to configurations and checkpoints.
    """
    package = cls.__module__.rpartition(".")[0]
    face = sys.modules.get(package)
    listed = face is not None and cls.__name__ in vars(face).get("__all__", ())
    home = package if listed and getattr(face, cls.__name__) is cls else cls.__module__
    return f"{home}.{cls.__qualname__}"


def canonical(value: Any) -> Any:
    """A JSON value as this version would have written it. Each class path is the one that
    :func:`class_path` gives now. Arguments that the class has had only since then are added with
    their default, which must do what earlier versions did.

    Only paths into vprtrain are looked up. A path without a class stays unchanged.
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
            if issubclass(cls, Specified) and isinstance(found.get("init_args"), dict):
                found["init_args"] = {**_defaults(cls), **found["init_args"]}
    return found


def _defaults(cls: type) -> dict[str, Any]:
    """The arguments of a class that have a default, as JSON values."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is not parameter.empty
    }
    values: dict[str, Any] = json.loads(json.dumps(defaults))
    return values


def is_module_name(text: str) -> bool:
    """Whether a text is a dotted name that an import statement could have."""
    parts = text.split(".")
    return len(text) <= 200 and all(
        part.isidentifier() and not keyword.iskeyword(part) for part in parts
    )


def build(spec: object, base: type[T], source: str, imports: Sequence[str] = ()) -> T:
    """Make the object that a checkpoint's specification describes.

    A checkpoint may come from a stranger. So only subclasses of ``base`` are called, and a class is
    looked up only in vprtrain and in modules that are already imported. Import the module of your
    own class first.

    Args:
        spec: the specification, unchecked.
        base: the class that the object must be an instance of.
        source: the checkpoint, for error messages.
        imports: the modules that its run had imported, for error messages; none is imported.

    Raises:
        CheckpointError: the specification is malformed, the class is not allowed or unknown, or it
            refuses the arguments.
    """
    parts = spec if isinstance(spec, Mapping) else {}
    path, init_args = parts.get("class_path"), parts.get("init_args")
    if not isinstance(path, str) or not isinstance(init_args, dict):
        raise CheckpointError(
            f"{source}: expected class_path and init_args of a {base.__name__}, found {shown(spec)}"
        )
    cls = _find(path)
    if cls is None and path.partition(".")[0] == "vprtrain":
        raise CheckpointError(f"{source}: {path} is not in this version of vprtrain")
    if not inspect.isclass(cls) or not issubclass(cls, base):
        raise CheckpointError(
            f"{source}: {cut(path, 200)} is not a known {base.__name__}; if it is your own class, "
            f"import its module first{_import_options(path, imports)}"
        )
    with constructor_errors(source, path):
        return cls(**init_args)


@contextmanager
def constructor_errors(source: str, what: str) -> Iterator[None]:
    """Any exception of a constructor that is called with a checkpoint's values as a
    :class:`CheckpointError`: a class of the user may raise anything. MemoryError is included,
    because the values may ask for any amount.

    Args:
        source: the checkpoint.
        what: what is made.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, VprTrainError) else cause(error)
        raise CheckpointError(f"{source}: {what} cannot be made: {reason}") from error


def _import_options(path: str, imports: Sequence[str]) -> str:
    """What to add to a command: the modules of a run, or without them that of the class."""
    names = [name for name in imports or [path.rpartition(".")[0]] if is_module_name(name)]
    options = " ".join(f"--import {name}" for name in names if name != "__main__")
    return f": add {options}" if options else ""


def _find(path: str) -> object:
    """The object at an import path, or ``None``. Only modules of vprtrain are imported."""
    module_name, _, name = path.rpartition(".")
    if module_name.partition(".")[0] == "vprtrain":
        try:
            importlib.import_module(module_name)
        except ImportError:
            return None
    return vars(sys.modules[module_name]).get(name) if module_name in sys.modules else None
