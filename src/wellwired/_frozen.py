"""Frozen dataclasses with slots that are generic as well: told to refuse changes in the way that `typing` expects.

`Entry[int](...)` makes an `Entry` and then tries to note on it which alias made it, which it may not be able to: an
AttributeError says so. Up to Python 3.12 the refusal that a dataclass with slots is given is a TypeError for a name
that is no field of its.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import NoReturn, TypeVar

__all__ = ["refusing_changes"]

C = TypeVar("C", bound=type)


def refusing_changes(cls: C) -> C:
    """Has instances of a frozen dataclass answer every assignment and deletion with a `FrozenInstanceError`.

    Args:
        cls: the class, decorated by `dataclass` already.

    Returns:
        The same class.
    """
    setattr(cls, "__setattr__", _refuse_assignment)  # noqa: B010 - an assignment is an error to type checkers
    setattr(cls, "__delattr__", _refuse_deletion)  # noqa: B010
    return cls


def _refuse_assignment(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
