"""The parts of the JSON value of a static Paddle graph: objects, lists, types and attributes, each
checked before it is used."""

from __future__ import annotations

from typing import Any, NamedTuple

from vprtrain.errors import shown

_MOST_AXES = 8
_DTYPES = (
    *("bool", "float32", "float64", "int32", "int64", "uint8", "complex64"),
    "Undefined(ALL_DTYPE)",
)
_TENSOR_TYPES = (*("0.t_bool", "0.t_f32", "0.t_f64", "0.t_i32", "0.t_i64", "0.t_ui8", "0.t_c64"),)


class Tensor(NamedTuple):
    """The type of a result of a graph."""

    kind: str
    shape: tuple[int, ...]


def tensor_of(kind: object, name: str) -> Tensor:
    """The type of a tensor that an operator ``name`` has."""
    parts = fields_of(kind, {"#", "D"}, f"the type of {name}")
    require(parts["#"] == "0.t_dtensor", f"the type of {name}")
    numbers, shape, layout, *rest = items_of(parts["D"], 5, f"the type of {name}")
    number_type = fields_of(numbers, {"#"}, f"the type of {name}")["#"]
    require(number_type in _TENSOR_TYPES, f"the type of {name}")
    require(layout == "NCHW" and rest == [[], 0], f"the layout of {name}")
    sizes = items_of(shape, None, f"the shape of {name}")
    require(
        len(sizes) <= _MOST_AXES and all(_is_whole(size, -1, 2**31) for size in sizes),
        f"the shape of {name}",
    )
    return Tensor(number_type, tuple(sizes))


def attributes_of(found: object, name: str) -> dict[str, tuple[str, Any]]:
    """Type and value of each attribute by its name."""
    attributes: dict[str, tuple[str, Any]] = {}
    for attribute in items_of(found, None, f"attributes of {name}"):
        parts = fields_of(attribute, {"N", "AT"}, f"an attribute of {name}")
        require(
            isinstance(parts["N"], str) and parts["N"] not in attributes, f"attributes of {name}"
        )
        attributes[parts["N"]] = _typed(parts["AT"], name)
    return attributes


def _typed(value: object, name: str) -> tuple[str, Any]:
    parts = fields_of(value, {"#", "D"}, f"an attribute of {name}")
    kind, data = parts["#"], parts["D"]
    match kind:
        case "0.a_str":
            fits = isinstance(data, str)
        case "0.a_bool":
            fits = isinstance(data, bool)
        case "0.a_i32":
            fits = _is_whole(data, -(2**31), 2**31)
        case "0.a_i64":
            fits = _is_whole(data, -(2**63), 2**63)
        case "0.a_f32" | "0.a_f64":
            fits = isinstance(data, int | float) and not isinstance(data, bool)
        case "0.a_array":
            items = items_of(data, None, f"an attribute of {name}")
            kinds = [item.get("#") if isinstance(item, dict) else None for item in items]
            fits = all(inner == kinds[0] and inner != kind for inner in kinds)
            require(fits, f"an attribute of {name}")  # before the items, which could be nested
            for item in items:
                _typed(item, name)
        case "1.a_intarray":
            fits = isinstance(data, list) and all(_is_whole(item, -1, 2**31) for item in data)
        case "1.a_dtype":
            fits = data in _DTYPES
        case "1.a_place":
            fits = data in ([0, 0, ""], [1, 0, ""])
        case _:
            fits = False
    require(fits, f"an attribute of {name}: {shown(value)}")
    return kind, data


def numbers_of(items: list[dict[str, Any]]) -> list[float]:
    """The numbers of an array that :func:`attributes_of` has checked; none for other items."""
    return [item["D"] for item in items if isinstance(item["D"], int | float)]


def _is_whole(value: object, least: int, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < end


def fields_of(value: object, keys: set[str] | None, what: str) -> dict[str, Any]:
    """An object, which must have these keys (``None``: any)."""
    if not isinstance(value, dict) or (keys is not None and value.keys() != keys):
        expected = "an object" if keys is None else f"an object of {', '.join(sorted(keys))}"
        raise ValueError(f"{what} is {shown(value)}, expected {expected}")
    return value


def items_of(value: object, count: int | None, what: str) -> list[Any]:
    """A list, which must have this many items (``None``: any)."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        expected = "a list" if count is None else f"{count} of them"
        raise ValueError(f"{what}: found {shown(value)}, expected {expected}")
    return value


def require(condition: bool, what: str) -> None:
    """Refuse a graph in which ``what`` is not as expected."""
    if not condition:
        raise ValueError(f"{what} is not as in an exported model")
