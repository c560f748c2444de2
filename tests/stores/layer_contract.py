"""The contract of a layer as tests: inherit `LayerContract`, supply the fixture `store`, and every promise is checked.

What a store is able to do besides (`Many`, `Fenced`, `FencedMany`, `Ordered`) is found by `isinstance`; tests of an
ability that it lacks are skipped. Expiry is checked where the fixture `pass_time` is overridden too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from wellwired.stores.protocols import Entry, Fenced, FencedMany, KeepsStale, Many, Ordered, Store, Tagged

PassTime = Callable[[float], None]


class LayerContract:
    """Inherit this and give it a fixture `store`: a fresh, empty store."""

    VALUES: ClassVar[tuple[Any, ...]] = (None, False, 0, 0.0, "", [], {}, True, -7, 1.5, "żółw", [1, {"a": None}])
    """Values that must come back equal, of the same type; the falsy ones are what breaks stores."""
    KEYS: ClassVar[tuple[str, ...]] = ("a", "a b", "a:b", "a.b:*", "50%_x", "{tag}", "'quoted'", "żółw", "A", "k" * 200)
    """Keys that must not be confused with one another."""
    ONE: ClassVar[Any] = "one"
    TWO: ClassVar[Any] = "two"

    @pytest.fixture
    def store(self) -> Store:
        """The store under test, fresh and empty; every subclass overrides this."""
        raise NotImplementedError("a subclass supplies the store")

    @pytest.fixture
    def pass_time(self, store: Store) -> PassTime:
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
    def stale(self, store: Store) -> KeepsStale:
        """The store as `KeepsStale`."""
        return store if isinstance(store, KeepsStale) else pytest.skip("not KeepsStale")

    @pytest.fixture
    def tagged(self, store: Store) -> Tagged:
        """The store as `Tagged`."""
        return store if isinstance(store, Tagged) else pytest.skip("not Tagged")

    # --- one key

    def test_it_is_a_store(self, store: Store) -> None:
        """It has every method of the protocol."""
        assert isinstance(store, Store)

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

    # --- fences

    def test_a_fresh_token_lets_a_fill_in(self, store: Store, fenced: Fenced) -> None:
        """Without a write in between, the fill is stored with its time left."""
        entry, token = fenced.read("a")
        assert entry is None
        assert fenced.fill("a", Entry(self.ONE, 50.0), token) is True
        found = store.get("a")
        assert found is not None and found.value == self.ONE and found.left is not None and found.left <= 50.0

    def test_a_write_makes_tokens_stale(self, store: Store, fenced: Fenced) -> None:
        """A fill that a set, delete or clear has overtaken is refused and changes nothing."""
        _, token = fenced.read("a")
        store.set("a", self.TWO)
        assert fenced.fill("a", Entry(self.ONE), token) is False
        assert store.get("a") == Entry(self.TWO, None)
        _, token = fenced.read("a")
        store.delete("a")
        assert fenced.fill("a", Entry(self.ONE), token) is False
        assert store.get("a") is None

    def test_deleting_nothing_makes_tokens_stale_too(self, store: Store, fenced: Fenced) -> None:
        """What counts is that somebody deleted, not that there was something to delete."""
        _, token = fenced.read("a")
        store.delete("a")
        assert fenced.fill("a", Entry(self.ONE), token) is False
        assert store.get("a") is None

    def test_clear_makes_tokens_stale(self, store: Store, fenced: Fenced) -> None:
        """A clear overtakes the fills of every key, also of those that were not there."""
        tokens = {key: fenced.read(key)[1] for key in self.KEYS}
        store.clear()
        assert [fenced.fill(key, Entry(self.ONE), tokens[key]) for key in self.KEYS] == [False] * len(self.KEYS)
        assert list(store.keys()) == []

    def test_a_read_gives_the_entry_with_its_token(self, store: Store, fenced: Fenced) -> None:
        """`read` sees what `get` sees."""
        store.set("a", None)
        entry, token = fenced.read("a")
        assert entry == Entry(None, None)
        assert fenced.fill("a", Entry(self.ONE), token) is True

    def test_many_writes_make_tokens_stale(self, store: Store, many: Many, fenced: Fenced) -> None:
        """The batch writes overtake fills as the single ones do."""
        _, first = fenced.read("a")
        many.set_many({"a": Entry(self.TWO)})
        assert fenced.fill("a", Entry(self.ONE), first) is False
        _, second = fenced.read("a")
        many.delete_many(["a"])
        assert fenced.fill("a", Entry(self.ONE), second) is False
        assert store.get("a") is None

    def test_fenced_many_does_what_fenced_does(self, store: Store, fenced_many: FencedMany) -> None:
        """One round trip reads many with tokens; one fills those that nobody has overtaken."""
        keys = list(self.KEYS[:4])
        store.set(keys[0], self.TWO)
        seen = fenced_many.read_many(keys)
        assert [seen[key][0] for key in keys] == [Entry(self.TWO, None), None, None, None]
        store.delete(keys[1])
        filled = fenced_many.fill_many({key: (Entry(self.ONE, 50.0), seen[key][1]) for key in keys[1:]})
        assert keys[1] not in filled and store.get(keys[1]) is None
        assert set(filled) <= set(keys[2:])
        for key in keys[2:]:
            assert store.has(key) is (key in filled)
        assert not fenced_many.fill_many({}) and not fenced_many.read_many([])

    # --- ordered writes

    def test_a_put_is_let_in_once(self, store: Store, ordered: Ordered) -> None:
        """Of two writers with tokens of the same moment the first is let in and the second is not."""
        first, second = ordered.tokens(["a"]), ordered.tokens(["a"])
        assert set(ordered.put_many({"a": (Entry(self.ONE), first["a"])})) == {"a"}
        assert not ordered.put_many({"a": (Entry(self.TWO), second["a"])})
        assert store.get("a") == Entry(self.ONE, None)

    def test_a_put_makes_the_tokens_of_readers_stale(self, store: Store, fenced: Fenced, ordered: Ordered) -> None:
        """A put is a write: the fills that it overtook are refused."""
        _, token = fenced.read("a")
        ordered.put_many({"a": (Entry(self.TWO), ordered.tokens(["a"])["a"])})
        assert fenced.fill("a", Entry(self.ONE), token) is False
        assert store.get("a") == Entry(self.TWO, None)

    def test_a_set_or_delete_overtakes_a_put(self, store: Store, ordered: Ordered) -> None:
        """A put whose token is older than another write changes nothing."""
        token = ordered.tokens(["a"])["a"]
        store.delete("a")
        assert not ordered.put_many({"a": (Entry(self.ONE), token)})
        assert store.get("a") is None

    # --- stale lives

    def test_a_stale_value_is_shown_only_to_who_asks_for_it(
        self, store: Store, stale: KeepsStale, many: Many, pass_time: PassTime
    ) -> None:
        """After its fresh life a value is there for `read_stale` alone, and after its stale life for nobody."""
        many.set_many({"a": Entry(self.ONE, 10.0, 20.0), "b": Entry(self.ONE, 10.0), "c": Entry(self.TWO)})
        fresh = stale.read_stale(["a", "b", "c", "nothing"])
        assert set(fresh) == {"a", "b", "c"}
        assert fresh["a"].left is not None and 9.0 < fresh["a"].left <= 10.0 and fresh["a"].stale == 20.0
        pass_time(12.0)
        assert store.get("a") is None and store.has("a") is False and many.get_many(["a"]) == {}
        assert list(store.keys()) == ["c"]
        kept = stale.read_stale(["a", "b", "c"])
        assert set(kept) == {"a", "c"} and (kept["a"].value, kept["a"].left) == (self.ONE, 0.0)
        assert 15.0 < kept["a"].stale <= 18.0
        pass_time(18.5)
        assert set(stale.read_stale(["a", "b", "c"])) == {"c"}

    def test_a_delete_ends_the_stale_life_too(
        self, store: Store, stale: KeepsStale, many: Many, pass_time: PassTime
    ) -> None:
        """Deleted, replaced and cleared values are not kept as stale ones; deleting a stale one removes nothing."""
        for act in (lambda: store.delete("a"), lambda: store.set("a", self.TWO, 0.0), store.clear):
            many.set_many({"a": Entry(self.ONE, 10.0, 500.0)})
            act()
            assert stale.read_stale(["a"]) == {}
        many.set_many({"a": Entry(self.ONE, 10.0, 500.0)})
        pass_time(12.0)
        assert store.delete("a") is False and stale.read_stale(["a"]) == {}

    def test_a_fill_keeps_the_stale_life(self, stale: KeepsStale, fenced: Fenced, ordered: Ordered) -> None:
        """Fills and ordered writes take the stale life over, and it is read again with the entry."""
        assert fenced.fill("a", Entry(self.ONE, 10.0, 20.0), fenced.read("a")[1]) is True
        ordered.put_many({"b": (Entry(self.ONE, 10.0, 30.0), ordered.tokens(["b"])["b"])})
        entries = [fenced.read(key)[0] for key in ("a", "b")]
        assert [entry and entry.stale for entry in entries] == [20.0, 30.0]

    # --- tags

    def test_invalidating_a_tag_removes_all_that_bear_it(self, store: Store, many: Many, tagged: Tagged) -> None:
        """And nothing else, whatever the tags are called; what is set again afterwards stays."""
        bearers = {"a": ("t",), "b": ("t", "u"), "c": ("u",), "d": (), "e": ("t:1",), "f": ("T",)}
        many.set_many({key: Entry(self.ONE, 60.0, 0.0, tags) for key, tags in bearers.items()})
        entry = store.get("b")
        assert entry is not None and set(entry.tags) == {"t", "u"}
        tagged.invalidate_tags(["t", "unknown"])
        assert sorted(store.keys()) == ["c", "d", "e", "f"] and set(many.get_many(list(bearers))) == {
            "c",
            "d",
            "e",
            "f",
        }
        assert store.get("a") is None and store.has("b") is False
        many.set_many({"a": Entry(self.TWO, 60.0, 0.0, ("t",))})
        assert store.has("a")
        tagged.invalidate_tags([])
        assert store.has("a")

    def test_a_value_set_without_its_tag_has_it_no_more(self, store: Store, many: Many, tagged: Tagged) -> None:
        """Tags belong to the value and not to the key."""
        many.set_many({"a": Entry(self.ONE, None, 0.0, ("t",)), "b": Entry(self.ONE, None, 0.0, ("t",))})
        store.set("a", self.TWO)
        store.delete("b")
        store.set("b", self.TWO)
        tagged.invalidate_tags(["t"])
        assert store.get("a") == Entry(self.TWO) and store.get("b") == Entry(self.TWO)

    def test_an_invalidation_makes_tokens_of_tagged_fills_stale(
        self, store: Store, fenced: Fenced, ordered: Ordered, tagged: Tagged
    ) -> None:
        """A tagged value that was read before an invalidation is not let in after it, by no way."""
        _, token = fenced.read("a")
        tokens = ordered.tokens(["b"])
        tagged.invalidate_tags(["t"])
        assert fenced.fill("a", Entry(self.ONE, 60.0, 0.0, ("t",)), token) is False
        assert not ordered.put_many({"b": (Entry(self.ONE, 60.0, 0.0, ("t",)), tokens["b"])})
        assert store.get("a") is None and store.get("b") is None
        assert fenced.fill("a", Entry(self.ONE, 60.0, 0.0, ("t",)), fenced.read("a")[1]) is True
        assert store.has("a")

    def test_an_invalidation_ends_the_stale_life_too(
        self, stale: KeepsStale, many: Many, tagged: Tagged, pass_time: PassTime
    ) -> None:
        """A value that was invalidated is not served as stale either."""
        many.set_many({"a": Entry(self.ONE, 10.0, 500.0, ("t",)), "b": Entry(self.ONE, 10.0, 500.0, ("u",))})
        pass_time(12.0)
        tagged.invalidate_tags(["t"])
        kept = stale.read_stale(["a", "b"])
        assert set(kept) == {"b"} and kept["b"].tags == ("u",)

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
