"""Tests of frozen generic values: an alias makes them as the class does, and nothing changes them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from wellwired.operations import WriteResult
from wellwired.stores import Entry, Hit

MADE: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "Entry": (lambda: Entry[int](1, 2.0), lambda: Entry(1, 2.0)),
    "Hit": (lambda: Hit[int](1, "memory", 0), lambda: Hit(1, "memory", 0)),
    "WriteResult": (lambda: WriteResult[int](data=1), lambda: WriteResult(data=1)),
}

each = pytest.mark.parametrize(("by_alias", "by_class"), MADE.values(), ids=MADE)


@each
def test_an_alias_makes_what_the_class_makes(by_alias: Callable[[], Any], by_class: Callable[[], Any]) -> None:
    """`Entry[int](...)` is an `Entry`, equal to the one without, and can be hashed, copied and sent."""
    value = by_alias()
    assert value == by_class() and hash(value) == hash(by_class())
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


@each
def test_nothing_can_be_changed(by_alias: Callable[[], Any], by_class: Callable[[], Any]) -> None:
    """Neither a field nor a name that is none can be set or deleted, in the same words on every Python."""
    for value in (by_alias(), by_class()):
        for name in (dataclasses.fields(value)[0].name, "other", "__orig_class__"):
            with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
                setattr(value, name, 1)
            with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
                delattr(value, name)
