"""The tests of what a layer may be able to do besides: refuse what was overtaken, keep the stale, invalidate by tag.

The last ones ask another store on the same data, for what a fence promises has to hold between processes.
"""

from __future__ import annotations

from wellwired.stores.protocols import Entry, Fenced, FencedMany, KeepsStale, Many, Ordered, Store, Tagged
from wellwired.testing._suite_layers import LayerCommon, PassTime

__all__ = ["Fences", "Shared", "Stale", "Tags"]


class Fences(LayerCommon):
    """Fills and ordered writes that were overtaken are refused."""

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
        """`read` sees what `get` sees; the token that comes with an entry may be one that lets nothing in."""
        store.set("a", None)
        entry, token = fenced.read("a")
        assert entry == Entry(None, None)
        filled = fenced.fill("a", Entry(self.ONE), token)
        assert store.get("a") == Entry(self.ONE if filled else None)

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

    def test_a_fill_without_time_left_is_not_stored(self, store: Store, fenced: Fenced) -> None:
        """An entry whose life has ended on its way is not let in."""
        _, token = fenced.read("a")
        assert fenced.fill("a", Entry(self.ONE, 0.0), token) is False
        assert store.get("a") is None

    def test_a_token_admits_its_own_key_only(self, store: Store, fenced: Fenced) -> None:
        """Deleting a key makes its token stale whatever was done to others."""
        tokens = {key: fenced.read(key)[1] for key in self.KEYS}
        store.delete(self.KEYS[0])
        assert fenced.fill(self.KEYS[0], Entry(self.ONE), tokens[self.KEYS[0]]) is False
        assert store.get(self.KEYS[0]) is None


class Stale(LayerCommon):
    """What a layer keeps beyond its fresh life is shown to nobody but who asks for it."""

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
        assert stale.read_stale(["a", "b"]) == {}
        assert fenced.fill("a", Entry(self.ONE, 10.0, 20.0), fenced.read("a")[1]) is True
        ordered.put_many({"b": (Entry(self.ONE, 10.0, 30.0), ordered.tokens(["b"])["b"])})
        entries = [fenced.read(key)[0] for key in ("a", "b")]
        assert [entry and entry.stale for entry in entries] == [20.0, 30.0]


class Tags(LayerCommon):
    """What bears a tag disappears with it."""

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


class Shared(LayerCommon):
    """What one store does, another on the same data sees at once, and is overtaken by."""

    def test_another_sees_what_was_written(self, store: Store, another: Store) -> None:
        """Sets, deletes and clears are seen by both."""
        store.set("a", self.ONE)
        another.set("b", self.TWO)
        assert another.get("a") == Entry(self.ONE) and store.get("b") == Entry(self.TWO)
        assert another.delete("a") is True and store.get("a") is None
        another.clear()
        assert store.get("b") is None and list(store.keys()) == []
        store.set("c", self.ONE)
        assert another.get("c") == Entry(self.ONE)

    def test_a_write_by_another_makes_tokens_stale(self, store: Store, fenced: Fenced, another: Store) -> None:
        """A fill that another's set, delete or clear has overtaken is refused."""
        for overtake in (lambda: another.set("a", self.TWO), lambda: another.delete("a"), another.clear):
            another.delete("a")
            _, token = fenced.read("a")
            overtake()
            assert fenced.fill("a", Entry(self.ONE), token) is False
            assert getattr(store.get("a"), "value", None) != self.ONE

    def test_an_invalidation_by_another_holds(
        self, store: Store, many: Many, fenced: Fenced, tagged: Tagged, another: Store
    ) -> None:
        """What bears the tag is gone for both, and a tagged fill that was under way is refused."""
        tagged.invalidate_tags(["another"])
        many.set_many({"a": Entry(self.ONE, 60.0, 0.0, ("t",))})
        _, token = fenced.read("b")
        assert isinstance(another, Tagged)
        assert another.has("a")
        another.invalidate_tags(["t"])
        assert store.get("a") is None and another.get("a") is None
        assert fenced.fill("b", Entry(self.ONE, 60.0, 0.0, ("t",)), token) is False
        assert another.get("b") is None
