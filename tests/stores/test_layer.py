"""Layers and receipts as values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.stores.fakes import FakeStore
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.operations import StoreVerb
from wellwired.stores import Layer, LayerOutcome, LayerState, MemoryStore, Receipt
from wellwired.stores.layer import named_layers


class Source(FakeStore):
    """A store that says that it only reads."""

    read_only = True


def test_a_layer_asks_its_store_whether_it_takes_writes() -> None:
    """Unless it was told."""
    assert Layer(FakeStore()).writable and not Layer(Source()).writable
    assert Layer(Source(), read_only=False).writable and not Layer(FakeStore(), read_only=True).writable


def test_only_plain_memory_is_filled_inline_by_itself() -> None:
    """A subclass may do anything, so it has to be told."""

    class Special(MemoryStore):
        """A memory store that may wait."""

    assert Layer(MemoryStore()).fills_inline and not Layer(Special()).fills_inline
    assert Layer(Special(), inline=True).fills_inline and not Layer(MemoryStore(), inline=False).fills_inline


def test_naming_changes_nothing_else() -> None:
    """A layer keeps its options, and one that was given a name keeps that, even if a default would have been it."""
    options: dict[str, Any] = {
        "primary": True, "ttl": 5.0, "name": "memory", "inline": True, "read_only": True, "time_limit": 1.0,
        "soft_limit": 0.5, "callers": 3, "stale": 7.0, "breaker": BreakerPolicy(),
    }  # fmt: skip
    given = Layer(MemoryStore(), **options)
    named = named_layers([MemoryStore(), given])
    assert named[1] == given and named[0].name == "memory-2"
    assert ["store", *options] == [field.name for field in dataclasses.fields(Layer)]


def test_a_layer_does_not_show_its_store() -> None:
    """Its repr has the role and not what is kept, or how it is reached."""
    shown = repr(Layer(FakeStore(), name="sql.main"))
    assert "FakeStore" not in shown and "sql.main" in shown


@pytest.mark.parametrize("verb", StoreVerb)
def test_a_receipt_is_true_unless_a_delete_found_nothing(verb: StoreVerb) -> None:
    """So that `if store.delete(key)` says what it seems to say."""
    assert bool(Receipt(verb)) is (verb not in (StoreVerb.DELETE, StoreVerb.DELETE_MANY))
    assert Receipt(verb, removed=1)


@pytest.mark.parametrize("state", LayerState)
def test_a_receipt_is_complete_unless_a_layer_failed(state: LayerState) -> None:
    """A copy that was dropped or skipped holds nothing wrong."""
    receipt = Receipt(StoreVerb.SET, (LayerOutcome("memory", 0, is_primary=False, state=state),))
    assert receipt.complete is (state is not LayerState.FAILED)
