"""What the tests of the layer suite stand on, and those of what every layer must do: values, keys, lives, batches.

What a store is able to do besides `Store` is found by `isinstance`; tests of an ability that it lacks are skipped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import pytest

from wellwired.stores.protocols import (
    Adds,
    Atomic,
    Entry,
    Fenced,
    FencedMany,
    KeepsStale,
    Leases,
    LeasesMany,
    Many,
    Ordered,
    Store,
    Tagged,
)

__all__ = ["ABILITIES", "Basics", "LayerCommon", "PassTime"]

ABILITIES: tuple[type, ...] = (Many, Fenced, FencedMany, Ordered, Atomic, Adds, KeepsStale, Tagged, Leases, LeasesMany)
"""What a store may be able to do besides `Store`."""

PassTime = Callable[[float], None]
"""Lets so many seconds pass for the store."""


class LayerCommon:
    """What a subclass says about its store, and what the tests use of it."""

    VALUES: ClassVar[tuple[Any, ...]] = (None, False, 0, 0.0, "", [], {}, True, -7, 1.5, "żółw", [1, {"a": None}])
    """Values that must come back equal, of the same type; the falsy ones are what breaks stores."""
    KEYS: ClassVar[tuple[str, ...]] = ("a", "a b", "a:b", "a.b:*", "50%_x", "{tag}", "'quoted'", "żółw", "A", "k" * 200)
    """Keys that must not be confused with one another."""
    ONE: ClassVar[Any] = "one"
    TWO: ClassVar[Any] = "two"
    """Two different values of which the store can keep either."""
    abilities: ClassVar[Collection[type] | None] = None
    """The protocols that the store claims besides `Store`; None for whatever it is found to have."""

    @pytest.fixture
    def store(self) -> Store:
        """The store under test, fresh and empty; every subclass overrides this."""
        raise NotImplementedError("a subclass supplies the store")

    @pytest.fixture
    def another(self, store: Store) -> Store:  # noqa: ARG002 - for those who override it
        """Another store on the same data as `store`, as another process would have it, where there can be one."""
        pytest.skip("what this store keeps is not shared")

    @pytest.fixture
    def pass_time(self, store: Store) -> PassTime:  # noqa: ARG002 - for those who override it
        """Lets so many seconds pass for the store; a subclass that can do so without sleeping overrides this."""
        pytest.skip("this store's time cannot be moved")

    @pytest.fixture
    def many(self, store: Store) -> Many:
        """The store as `Many`."""
        return store if isinstance(store, Many) else pytest.skip("not Many")

    @pytest.fixture
    def fenced(self, store: Store) -> Fenced:
        """The store as `Fenced`."""
        return store if isinstance(store, Fenced) else pytest.skip("not Fenced")

    @pytest.fixture
    def fenced_many(self, store: Store) -> FencedMany:
        """The store as `FencedMany`."""
        return store if isinstance(store, FencedMany) else pytest.skip("not FencedMany")

    @pytest.fixture
    def ordered(self, store: Store) -> Ordered:
        """The store as `Ordered`."""
        return store if isinstance(store, Ordered) else pytest.skip("not Ordered")

    @pytest.fixture
    def atomic(self, store: Store) -> Atomic:
        """The store as `Atomic`."""
        return store if isinstance(store, Atomic) else pytest.skip("not Atomic")

    @pytest.fixture
    def adds(self, store: Store) -> Adds:
        """The store as `Adds`."""
        return store if isinstance(store, Adds) else pytest.skip("not Adds")

    @pytest.fixture
    def stale(self, store: Store) -> KeepsStale:
        """The store as `KeepsStale`."""
        return store if isinstance(store, KeepsStale) else pytest.skip("not KeepsStale")

    @pytest.fixture
    def tagged(self, store: Store) -> Tagged:
        """The store as `Tagged`."""
        return store if isinstance(store, Tagged) else pytest.skip("not Tagged")

    @pytest.fixture
    def leases(self, store: Store) -> Leases:
        """The store as `Leases`."""
        return store if isinstance(store, Leases) else pytest.skip("not Leases")

    @pytest.fixture
    def leases_many(self, store: Store) -> LeasesMany:
        """The store as `LeasesMany`."""
        return store if isinstance(store, LeasesMany) else pytest.skip("not LeasesMany")


class Basics(LayerCommon):
    """What every layer must do."""

    # --- what it says about itself

    def test_it_is_what_it_claims(self, store: Store) -> None:
        """It has every method of `Store`, and the abilities that the subclass lists, no less and no more."""
        assert isinstance(store, Store)
        found = {ability for ability in ABILITIES if isinstance(store, ability)}
        assert self.abilities is None or found == set(self.abilities)

    # --- one key

    def test_nothing_there_is_no_entry(self, store: Store) -> None:
        """A key that was never set has no entry, is not there, and cannot be removed."""
        assert store.get("a") is None
        assert store.has("a") is False
        assert store.delete("a") is False
        assert list(store.keys()) == []

    def test_every_value_comes_back(self, store: Store) -> None:
        """Falsy values and None come back as what they are, and count as being there."""
        for number, value in enumerate(self.VALUES):
            store.set(f"k{number}", value)
            entry = store.get(f"k{number}")
            assert entry is not None and entry.value == value and type(entry.value) is type(value)
            assert store.has(f"k{number}") is True

    def test_the_last_set_wins(self, store: Store) -> None:
        """A second set replaces the value and its life."""
        store.set("a", self.ONE, 5.0)
        store.set("a", self.TWO)
        assert store.get("a") == Entry(self.TWO, None)

    def test_delete_says_whether_it_was_there(self, store: Store) -> None:
        """A delete removes one key, says that it did, and touches no other."""
        store.set("a", self.ONE)
        store.set("b", self.TWO)
        assert store.delete("a") is True
        assert store.get("a") is None and store.delete("a") is False
        assert store.get("b") == Entry(self.TWO, None)

    def test_keys_are_not_confused(self, store: Store) -> None:
        """Keys with blanks, separators, patterns and other cases are all different."""
        for number, key in enumerate(self.KEYS):
            store.set(key, [number])
        assert [getattr(store.get(key), "value", None) for key in self.KEYS] == [[n] for n in range(len(self.KEYS))]
        assert sorted(store.keys()) == sorted(self.KEYS)

    def test_clear_removes_all(self, store: Store) -> None:
        """After a clear nothing is there, and the store goes on working."""
        for key in self.KEYS:
            store.set(key, self.ONE)
        store.clear()
        assert list(store.keys()) == [] and store.get(self.KEYS[0]) is None
        store.set("a", self.TWO)
        assert store.get("a") == Entry(self.TWO, None)

    def test_what_was_read_is_the_readers_own(self, store: Store) -> None:
        """Changing a value after set, or after get, changes nothing for anybody else."""
        mine = {"tags": ["x"]}
        store.set("a", mine)
        mine["tags"].append("changed after set")
        first = store.get("a")
        assert first is not None and first.value == {"tags": ["x"]}
        first.value["tags"].append("changed after get")
        assert store.get("a") == Entry({"tags": ["x"]}, None)

    def test_a_life_of_nothing_leaves_nothing_there(self, store: Store) -> None:
        """A value that is set with no time left is not there, and neither is the one before it."""
        store.set("a", self.ONE)
        store.set("a", self.TWO, 0.0)
        assert store.get("a") is None and store.has("a") is False

    def test_close_can_be_repeated(self, store: Store) -> None:
        """Closing twice is harmless."""
        store.close()
        store.close()

    # --- time

    def test_the_time_left_is_never_more_than_was_given(self, store: Store) -> None:
        """An entry with a life says how much of it is left; one without says None."""
        store.set("a", self.ONE, 50.0)
        store.set("b", self.ONE)
        entry = store.get("a")
        assert entry is not None and entry.left is not None and 45.0 < entry.left <= 50.0
        assert store.get("b") == Entry(self.ONE, None)

    def test_an_entry_ends_with_its_time(self, store: Store, pass_time: PassTime) -> None:
        """Once its time has passed, an entry is not there in any way."""
        store.set("a", self.ONE, 10.0)
        store.set("b", self.ONE, 30.0)
        pass_time(9.0)
        assert store.has("a")
        pass_time(1.5)
        assert store.get("a") is None and store.has("a") is False and store.delete("a") is False
        assert list(store.keys()) == ["b"]

    def test_time_belongs_to_the_entry_not_to_the_key(self, store: Store, pass_time: PassTime) -> None:
        """A value set again after delete or clear does not end with the life of the one before."""
        store.set("a", self.ONE, 10.0)
        store.set("b", self.ONE, 10.0)
        store.delete("a")
        store.set("a", self.TWO)
        store.clear()
        store.set("b", self.TWO)
        pass_time(11.0)
        assert store.get("b") == Entry(self.TWO, None)

    # --- many keys

    def test_many_does_what_one_does(self, store: Store, many: Many) -> None:
        """The batch calls agree with the single ones; what is not there is left out."""
        many.set_many({"a": Entry(self.ONE), "b": Entry(None), "c": Entry(self.TWO, 50.0)})
        assert store.get("a") == Entry(self.ONE, None) and store.get("b") == Entry(None, None)
        found = many.get_many(["a", "nothing", "b", "c"])
        assert set(found) == {"a", "b", "c"} and found["b"] == Entry(None, None)
        left = found["c"].left
        assert left is not None and 45.0 < left <= 50.0
        assert many.delete_many(["a", "b", "nothing"]) == 2
        assert list(store.keys()) == ["c"]

    def test_many_of_none(self, many: Many) -> None:
        """Empty batches are harmless."""
        many.set_many({})
        assert dict(many.get_many([])) == {} and many.delete_many([]) == 0

    # --- threads

    def test_threads_do_not_disturb_one_another(self, store: Store) -> None:
        """Eight threads on keys of their own and one shared: each reads back what it wrote, nothing raises."""
        errors: list[BaseException] = []
        start = threading.Barrier(8)

        def work(me: int) -> None:
            try:
                start.wait(10)
                for step in range(20):
                    store.set(f"own-{me}", [me, step])
                    assert store.get(f"own-{me}") == Entry([me, step], None)
                    store.set("shared", [me])
                    seen = store.get("shared")
                    assert seen is not None and seen.value[0] in range(8)
                    store.delete(f"own-{me}")
            except BaseException as error:  # noqa: BLE001 - handed to the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert list(store.keys()) == ["shared"]
