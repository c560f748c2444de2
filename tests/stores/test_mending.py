"""Mending: what a write could not reach is removed as soon as the layer answers again, whoever reads or does not."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from tests.stores.fakes import FakeStore
from wellwired.stores import DelegatedStore, FillPolicy, Layer, MemoryStore

SOON = FillPolicy(mend=0.01)


def stack(copy: FakeStore) -> DelegatedStore[Any]:
    """A copy over a primary."""
    return DelegatedStore([Layer(copy), Layer(MemoryStore(), primary=True)], fills=SOON, name="mended")


def wait_for(fact: Callable[[], bool]) -> None:
    """Waits until it is so, ten seconds at most."""
    end = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < end, "it did not come to pass"
        threading.Event().wait(0.005)


def menders() -> list[threading.Thread]:
    """The threads at work."""
    return [thread for thread in threading.enumerate() if thread.name == "wellwired-mender-mended"]


def test_what_could_not_be_removed_is_removed_later() -> None:
    """Without anybody reading the key; and the thread ends when there is nothing left to do."""
    copy = FakeStore()
    with stack(copy) as store:
        store.set("a", "old")
        copy.fail = {"all"}
        store.set("a", "new")
        store.delete("b")
        assert copy.data["a"][0] == "old" and store.stats().layers[0].doubtful == 2
        wait_for(lambda: sum(call == "delete" for call, _ in copy.calls) > 3)
        copy.fail = set()
        wait_for(lambda: copy.data == {} and store.stats().layers[0].doubtful == 0)
        wait_for(lambda: menders() == [])
        copy.fail = {"all"}
        store.set("c", "again")
        copy.fail = set()
        wait_for(lambda: store.stats().layers[0].doubtful == 0)


def test_a_layer_in_doubt_as_a_whole_is_cleared() -> None:
    """When a clear could not reach it."""
    copy = FakeStore()
    with stack(copy) as store:
        store.set("a", "old")
        copy.fail = {"all"}
        store.clear()
        assert store.stats().layers[0].doubted
        copy.fail = set()
        wait_for(lambda: copy.data == {} and not store.stats().layers[0].doubted)


def test_a_closed_store_mends_no_more() -> None:
    """Its thread ends, and touches no layer afterwards."""
    copy = FakeStore()
    store = stack(copy)
    copy.fail = {"set", "delete"}
    store.set("a", "new")
    store.close()
    wait_for(lambda: menders() == [])


def test_a_store_that_nobody_has_any_more_is_not_kept_alive() -> None:
    """Not by its mender either."""
    copy = FakeStore()
    store = stack(copy)
    copy.fail = {"all"}
    store.set("a", "new")
    alive = weakref.ref(store._stack)
    del store

    def gone() -> bool:
        gc.collect()
        return alive() is None and menders() == []

    wait_for(gone)
