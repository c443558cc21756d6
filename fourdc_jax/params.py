"""Parameters of the data from plain configuration values, checked before anything runs."""

import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def read_params(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Builds a parameter dataclass, its nested ones too, from a mapping with the same keys.

    Integers become floats, and lists tuples, where the dataclass says so.

    Raises:
      ValueError: a key is missing or unknown, named as in the configuration below `where`.
    """
    types = typing.get_type_hints(cls)
    names = {field.name for field in fields(cls)}
    unknown, missing = sorted(set(values) - names), sorted(names - set(values))
    if unknown or missing:
        raise ValueError(
            f"{where}: "
            + "; ".join(
                [f"unknown key {key!r}" for key in unknown]
                + [f"missing key {key!r}" for key in missing]
            )
        )
    read = {name: read_value(types[name], values[name], f"{where}.{name}") for name in names}
    return cls(**read)


def read_value(kind: Any, value: Any, where: str) -> Any:
    """One value as the type a parameter is declared with.

    Raises:
      ValueError: the value is of another type, or a (smallest, largest) pair is reversed.
    """
    if is_dataclass(kind):
        return read_params(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Mapping:
        return {
            key: read_value(arguments[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if origin is tuple:
        return read_tuple(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where}: {value!r} is none of {', '.join(map(repr, arguments))}")
        return value
    if type(None) in arguments:  # `kind | None`
        return None if value is None else read_value(arguments[0], value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {value!r} is not of type {kind.__name__}")
    return value


def read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """A tuple of any length where the last kind is an ellipsis, else of the kinds' number.

    Raises:
      ValueError: the length is another, or the two values of a range are reversed.
    """
    if not isinstance(value, tuple | list):
        raise ValueError(f"{where}: {value!r} is not a tuple")
    if kinds[-1] is Ellipsis:
        return tuple(read_value(kinds[0], item, where) for item in value)
    if len(value) != len(kinds):
        raise ValueError(f"{where}: {value!r} does not have {len(kinds)} values")
    read = tuple(read_value(kind, item, where) for kind, item in zip(kinds, value))
    if len(read) == 2 and read[0] > read[1]:
        raise ValueError(f"{where}: {read!r} is not (smallest, largest)")
    return read
