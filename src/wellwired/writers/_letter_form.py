"""A payload as JSON, and back, without losing what JSON has no word for.

What JSON holds stays as it is. Anything else is an object with one key that begins with ``$``: bytes, dates, decimals,
UUIDs, sets, tuples, numbers that are none, dicts whose keys are not plain strings. An instance of a payload model
becomes its fields, by the names that it is made from; the handler's model makes an instance of them again.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

__all__ = ["read", "written"]

_DEEPEST = 64
_PLAIN = frozenset({str, int, bool, type(None)})

# A date comes after a datetime, which is one, and a bool cannot be subclassed.
_KNOWN = (str, int, float, bytes, datetime, date, time, timedelta, Decimal, list, tuple, set, frozenset)

_WRITE: dict[type[Any], tuple[str, Callable[[Any], Any]]] = {
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode()),
    datetime: ("$datetime", datetime.isoformat),
    date: ("$date", date.isoformat),
    time: ("$time", time.isoformat),
    timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("$decimal", str),
    UUID: ("$uuid", str),
}

_READ: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$decimal": Decimal,
    "$uuid": UUID,
    "$float": float,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
}


def written(value: Any) -> bytes:
    """The JSON of a value.

    Args:
        value: a payload, or anything that a payload may hold.

    Raises:
        TypeError: something in it has no form here; the text names its type.
        ValueError: it is nested deeper than 64 levels, or in itself.
    """
    return json.dumps(_form(value, 0), separators=(",", ":")).encode()


def read(text: bytes | str) -> Any:
    """The value that was written.

    Args:
        text: what `written` gave.

    Raises:
        ValueError: it is no such text.
    """
    try:
        return json.loads(text, object_hook=_object)
    except (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError):
        pass
    # Raised outside the handler above: what the parts say may quote the value.
    raise ValueError("its content is damaged")


def _form(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if depth > _DEEPEST:
        raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind in _WRITE:
        tag, write = _WRITE[kind]
        return {tag: write(value)}
    if kind is list:
        return [_form(one, depth + 1) for one in value]
    if kind in (tuple, set, frozenset):
        return {f"${kind.__name__}": [_form(one, depth + 1) for one in value]}
    if isinstance(value, Enum):
        return _form(value.value, depth + 1)
    for known in _KNOWN:
        # A subclass, such as SQLAlchemy's names or a named tuple: what it is at heart is kept.
        if isinstance(value, known):
            return _form(_plainly(value, known), depth + 1)
    return _mapping_form(value if isinstance(value, Mapping) else _fields(value), depth)


def _plainly(value: Any, kind: type[Any]) -> Any:
    if kind in (datetime, date, time):
        return kind.fromisoformat(value.isoformat())
    return timedelta(value.days, value.seconds, value.microseconds) if kind is timedelta else kind(value)


def _mapping_form(value: Mapping[Any, Any], depth: int) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _form(one, depth + 1) for key, one in value.items()}
    return {"$dict": [[_form(key, depth + 1), _form(one, depth + 1)] for key, one in value.items()]}


def _fields(value: Any) -> Mapping[str, Any]:
    """What an instance of a payload model was made of."""
    dump: Any = getattr(value, "model_dump", None)
    if dump is not None:
        dumped: Mapping[str, Any] = dump(by_alias=True)
        return dumped
    if hasattr(value, "__struct_fields__"):
        import msgspec

        given = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return {name: one for name, one in given.items() if one is not msgspec.UNSET}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    attributes = getattr(type(value), "__attrs_attrs__", None)
    if attributes is not None:
        return {one.alias: getattr(value, one.name) for one in attributes if one.init}
    raise TypeError(f"a {type(value).__name__} has no form in a dead letter")


def _object(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        (tag,) = found
        if tag.startswith("$"):
            make = _READ.get(tag)
            if make is None:
                raise ValueError(f"{tag} is no form that is known")
            return make(found[tag])
    return found
