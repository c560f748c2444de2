"""Tests of the dict that does not change."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from wellwired.settings._frozen import FrozenDict


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("b", 2),
        lambda d: d.__delitem__("a"),
        lambda d: d.__ior__({"b": 2}),
        lambda d: d.clear(),
        lambda d: d.pop("a"),
        lambda d: d.popitem(),
        lambda d: d.setdefault("b", 2),
        lambda d: d.update(b=2),
    ],
)
def test_every_way_to_change_it_is_refused(change: Callable[[Any], Any]) -> None:
    """Each mutating method of dict raises, and nothing has changed."""
    frozen = FrozenDict({"a": 1})
    with pytest.raises(TypeError, match="frozen"):
        change(frozen)
    assert frozen == {"a": 1}


def test_it_copies_and_pickles() -> None:
    """Copies are equal, frozen, and hash alike."""
    frozen = FrozenDict({"a": (1,)})
    for copied in (copy.copy(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert copied == frozen and type(copied) is FrozenDict and hash(copied) == hash(frozen)


def test_merging_gives_a_plain_dict() -> None:
    """`|` makes something new that may be changed."""
    merged = FrozenDict({"a": 1}) | {"b": 2}
    merged["c"] = 3
    assert merged == {"a": 1, "b": 2, "c": 3}
