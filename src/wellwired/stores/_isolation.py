"""Which values may be shared between callers, and how the others are copied.

A value that is immutable through and through is handed to everybody as it is; any other is copied when it is kept and
again whenever it is handed out, so that no caller can change what another caller reads. How to treat a type is decided
once and remembered. Plain containers are copied by the code below, several times faster than `copy.deepcopy`, which is
left for the types that only it can treat. Two places of a value that refer to one list may get two copies of it, just
as after a journey through any codec.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import types
import uuid
from collections.abc import Callable
from typing import Any, Generic

__all__ = ["Thaw", "copied", "keep"]

Thaw = Callable[[Any], Any]
"""Makes, of a value that is kept, one that a caller may change."""

_TEXTS_AND_NUMBERS = (str, bytes, int, float, bool, complex, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID)
_TIMES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
_PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
_ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)
_PARTS_OF_PROGRAMS = (type, type(...), range, re.Pattern, types.FunctionType, types.BuiltinFunctionType)
_LEAVES: frozenset[type] = frozenset((*_TEXTS_AND_NUMBERS, *_TIMES, *_PATHS, *_ADDRESSES, *_PARTS_OF_PROGRAMS))
_all_leaves = _LEAVES.issuperset
_IN_C = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
# A program that makes classes at run time must not fill the memory with them.
_REMEMBERED_TYPES = 4096


def keep(value: Any) -> tuple[Any, Thaw | None]:
    """Makes a value safe to be kept.

    Args:
        value: what a caller gave.

    Returns:
        What to keep, and how to make a copy of it for each reader; None if it may be shared.

    Raises:
        Exception: whatever its type raises when it cannot be copied.
    """
    kind = type(value)
    if kind in _LEAVES:
        return value, None
    if kind is dict and _all_leaves(map(type, value)) and _all_leaves(map(type, value.values())):
        return value.copy(), dict.copy
    private = copied(value)
    return (value, None) if private is value else (private, _thaw(private))


def copied(value: Any) -> Any:
    """Copies a value; gives back the very same object if it is immutable through and through."""
    try:
        return _copied(value)
    except RecursionError:  # it contains itself, or is deeper than the stack
        return copy.deepcopy(value)


def _thaw(private: Any) -> Thaw:
    kind = type(private)
    flat = _FLAT.get(kind)
    if flat is None or not _all_leaves(map(type, private)):
        return copied
    return flat


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind in _LEAVES:
        return value
    copier = _COPIERS.get(kind)
    if copier is None:
        copier = _choose(kind)
        if len(_COPIERS) < _REMEMBERED_TYPES:
            _COPIERS[kind] = copier
    return copier(value)


def _list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _LEAVES else _copied(item) for item in value]


def _set(value: set[Any]) -> set[Any]:
    return {item if type(item) in _LEAVES else _copied(item) for item in value}


def _dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {
        key if type(key) in _LEAVES else _copied(key): item if type(item) in _LEAVES else _copied(item)
        for key, item in value.items()
    }


def _tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    items = [_copied(item) for item in value]
    return value if all(map(_is, items, value)) else tuple(items)


def _frozenset(value: frozenset[Any]) -> frozenset[Any]:
    items = list(value)
    copies = [_copied(item) for item in items]
    return value if all(map(_is, copies, items)) else frozenset(copies)


def _is(one: Any, other: Any) -> bool:
    return one is other


def _same(value: Any) -> Any:
    return value


def _frozen(names: tuple[str, ...]) -> Thaw:
    """For frozen classes: the object itself if all it holds is immutable, otherwise a deep copy."""

    def copier(value: Any) -> Any:
        extra = getattr(value, "__dict__", None)
        if extra and not extra.keys() <= set(names):
            return copy.deepcopy(value)
        held = [getattr(value, name, None) for name in names]  # one may have been left without a value
        return value if all(_copied(item) is item for item in held) else copy.deepcopy(value)

    return copier


def _bare(kind: type, names: tuple[str, ...]) -> bool:
    """Whether objects of a class have no place for anything beside these fields and a `__dict__`.

    A base that is written in C, such as list or Exception, may keep what its methods can change; so may a slot.
    """
    for base in kind.__mro__:
        if base in (object, Generic) or base.__module__ in ("msgspec", "msgspec._core"):
            continue
        for name, member in vars(base).items():
            if isinstance(member, _IN_C) or (type(member) is types.MemberDescriptorType and name not in names):
                return False
    return True


def _choose(kind: type) -> Thaw:
    if issubclass(kind, enum.Enum):
        return _same
    if "__deepcopy__" in dir(kind):
        return copy.deepcopy
    if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        fields = tuple(field.name for field in dataclasses.fields(kind))
        return _frozen(fields) if _bare(kind, fields) else copy.deepcopy
    # msgspec is recognised by what it leaves on a class: importing it here would cost every program that lacks structs.
    if getattr(getattr(kind, "__struct_config__", None), "frozen", False):
        fields = kind.__struct_fields__  # type: ignore[attr-defined]
        return _frozen(fields) if _bare(kind, fields) else copy.deepcopy
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _frozen(tuple(kind._fields))  # pyright: ignore[reportAttributeAccessIssue]
    return copy.deepcopy


_FLAT: dict[type, Thaw] = {list: list.copy, set: set.copy}  # a dict that is flat has been treated before

_COPIERS: dict[type, Thaw] = {
    list: _list,
    set: _set,
    dict: _dict,
    tuple: _tuple,
    frozenset: _frozenset,
    bytearray: bytearray,
}
