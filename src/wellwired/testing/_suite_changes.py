"""The tests of exchanges: whatever happens to a value between a look and its exchange makes the exchange fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

from wellwired.stores.protocols import Adds, Atomic, Entry, Fenced, KeepsStale, Many, Ordered, Store, Tagged
from wellwired.testing._suite_layers import LayerCommon, PassTime

__all__ = ["Exchanges"]


class Exchanges(LayerCommon):
    """An exchange is made only if what was looked at is still there, or still nothing."""

    def test_an_exchange_replaces_what_was_looked_at(self, store: Store, atomic: Atomic) -> None:
        """`witness` sees what `get` sees, and its token lets one exchange in: of nothing, and of a value."""
        entry, token = atomic.witness("a")
        assert entry is None
        assert atomic.swap("a", Entry(self.ONE, 50.0), token) is True
        entry, token = atomic.witness("a")
        assert entry is not None and entry.value == self.ONE and entry.left is not None and 45.0 < entry.left <= 50.0
        assert atomic.swap("a", Entry(self.TWO), token) is True
        assert store.get("a") == Entry(self.TWO, None)

    def test_of_two_exchanges_one_is_made(self, store: Store, atomic: Atomic) -> None:
        """Two that looked at the same moment do not both get in, whether there was something or not."""
        for start in (None, self.ONE):
            store.delete("a")
            if start is not None:
                store.set("a", start)
            first, second = atomic.witness("a")[1], atomic.witness("a")[1]
            assert atomic.swap("a", Entry([1]), first) is True
            assert atomic.swap("a", Entry([2]), second) is False
            assert store.get("a") == Entry([1], None)

    def test_whatever_came_between_makes_an_exchange_fail(self, store: Store, atomic: Atomic) -> None:
        """A set, a delete and a clear are seen, as far as they changed what is there."""
        acts: tuple[Callable[[], object], ...] = (
            lambda: store.set("a", self.TWO),
            lambda: store.delete("a"),
            store.clear,
            lambda: store.set("a", self.TWO, 0.0),
        )
        for act in acts:
            store.set("a", self.ONE)
            _, token = atomic.witness("a")
            act()
            after = store.get("a")
            assert atomic.swap("a", Entry([3]), token) is False
            assert store.get("a") == after
        store.delete("a")
        _, token = atomic.witness("a")
        store.set("a", self.ONE)
        assert atomic.swap("a", Entry([3]), token) is False and store.get("a") == Entry(self.ONE, None)

    def test_a_clear_does_not_swallow_an_exchange(self, store: Store, atomic: Atomic) -> None:
        """Where nothing was seen and a clear came between, it is either refused, or there for readers."""
        _, token = atomic.witness("a")
        store.clear()
        assert atomic.swap("a", Entry(self.ONE), token) is store.has("a")

    def test_what_others_do_to_other_keys_does_not_matter(self, store: Store, atomic: Atomic) -> None:
        """A token stands for its own key."""
        _, token = atomic.witness("a")
        for key in self.KEYS[1:]:
            store.set(key, self.ONE)
            store.delete(key)
        assert atomic.swap("a", Entry(self.ONE), token) is True

    def test_a_fill_that_came_between_makes_an_exchange_fail(
        self, store: Store, atomic: Atomic, fenced: Fenced
    ) -> None:
        """What a load has filled meanwhile is something, though it overtakes no other fill."""
        store.set("a", self.ONE)
        store.delete("a")
        _, token = atomic.witness("a")
        assert fenced.fill("a", Entry(self.TWO, 50.0), fenced.read("a")[1]) is True
        assert atomic.swap("a", Entry([3]), token) is False
        found = store.get("a")
        assert found is not None and found.value == self.TWO

    def test_an_exchange_is_a_write(self, store: Store, atomic: Atomic, fenced: Fenced, ordered: Ordered) -> None:
        """The fills and puts that it overtook are refused; one that was refused has overtaken nobody."""
        _, filling = fenced.read("a")
        putting = ordered.tokens(["a"])["a"]
        assert atomic.swap("a", Entry(self.ONE), atomic.witness("a")[1]) is True
        assert fenced.fill("a", Entry(self.TWO), filling) is False
        assert not ordered.put_many({"a": (Entry(self.TWO), putting)})
        assert store.get("a") == Entry(self.ONE, None)

    def test_a_life_that_has_ended_makes_an_exchange_fail(
        self, store: Store, atomic: Atomic, pass_time: PassTime
    ) -> None:
        """A value that was looked at and has ended since is not there any more; what is not there can be exchanged."""
        store.set("a", self.ONE, 10.0)
        _, token = atomic.witness("a")
        pass_time(11.0)
        assert atomic.swap("a", Entry(self.TWO), token) is False and store.get("a") is None
        entry, token = atomic.witness("a")
        assert entry is None and atomic.swap("a", Entry(self.TWO), token) is True
        assert store.get("a") == Entry(self.TWO, None)

    def test_an_exchange_with_no_time_left_removes(self, store: Store, atomic: Atomic) -> None:
        """It is made all the same, and nothing is there afterwards."""
        store.set("a", self.ONE)
        assert atomic.swap("a", Entry(self.TWO, 0.0), atomic.witness("a")[1]) is True
        assert store.get("a") is None and store.has("a") is False

    def test_an_invalidation_makes_an_exchange_fail(
        self, store: Store, atomic: Atomic, many: Many, tagged: Tagged
    ) -> None:
        """What bore the tag is not there any more, and what is to bear it is not stored with an older word."""
        many.set_many({"a": Entry(self.ONE, None, 0.0, ("t",))})
        entry, token = atomic.witness("a")
        assert entry is not None and entry.tags == ("t",)
        assert atomic.swap("a", Entry(self.TWO, None, 0.0, ("t",)), token) is True
        _, token = atomic.witness("a")
        tagged.invalidate_tags(["t"])
        assert atomic.swap("a", Entry([3]), token) is False and store.get("a") is None
        entry, token = atomic.witness("a")
        assert entry is None and atomic.swap("a", Entry([4], None, 0.0, ("t",)), token) is True
        assert store.get("a") == Entry([4], None, 0.0, ("t",))
        tagged.invalidate_tags(["t"])
        assert store.get("a") is None

    def test_a_stale_value_is_nothing_to_an_exchange(
        self, store: Store, atomic: Atomic, stale: KeepsStale, many: Many, pass_time: PassTime
    ) -> None:
        """It is not shown to who looks and is replaced; an exchange keeps the stale life that it is given."""
        many.set_many({"a": Entry(self.ONE, 10.0, 500.0)})
        pass_time(12.0)
        entry, token = atomic.witness("a")
        assert entry is None and atomic.swap("a", Entry(self.TWO, 10.0, 30.0), token) is True
        assert store.has("a") and stale.read_stale(["a"])["a"].stale == 30.0
        entry, _ = atomic.witness("a")
        assert entry is not None and entry.stale == 30.0

    def test_racing_exchanges_lose_nothing(self, atomic: Atomic, store: Store) -> None:
        """Four threads count to 25 each by exchanges: the sum is what was counted."""
        errors: list[BaseException] = []
        start = threading.Barrier(4)

        def count() -> None:
            try:
                start.wait(10)
                for _ in range(25):
                    done = False
                    while not done:
                        entry, token = atomic.witness("n")
                        done = atomic.swap("n", Entry([1 if entry is None else entry.value[0] + 1]), token)
            except BaseException as error:  # noqa: BLE001 - handed to the main thread
                errors.append(error)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == [] and store.get("n") == Entry([100], None)

    # --- add

    def test_an_add_stores_only_where_nothing_is(self, store: Store, adds: Adds) -> None:
        """Once, with its life; not over a stored None; again after a delete or a clear."""
        assert adds.add("a", Entry(self.ONE, 50.0)) is True and adds.add("a", Entry(self.TWO)) is False
        found = store.get("a")
        assert found is not None and found.value == self.ONE and found.left is not None and 45.0 < found.left <= 50.0
        for act in (lambda: store.delete("a"), store.clear):
            act()
            assert adds.add("a", Entry(None)) is True and adds.add("a", Entry(self.TWO)) is False
            assert store.get("a") == Entry(None, None)

    def test_an_add_sees_what_a_reader_sees(
        self, store: Store, adds: Adds, many: Many, tagged: Tagged, pass_time: PassTime
    ) -> None:
        """What has ended, is only stale, or has lost a tag is nothing; what still bears its tag is something."""
        many.set_many({"a": Entry(self.ONE, 10.0, 500.0), "b": Entry(self.ONE, None, 0.0, ("t",))})
        assert adds.add("b", Entry(self.TWO)) is False
        pass_time(11.0)
        tagged.invalidate_tags(["t"])
        assert adds.add("a", Entry(self.TWO)) is True and adds.add("b", Entry(self.TWO, None, 0.0, ("t",))) is True
        assert store.get("a") == Entry(self.TWO, None) and store.get("b") == Entry(self.TWO, None, 0.0, ("t",))

    def test_an_add_is_a_write(self, store: Store, adds: Adds, fenced: Fenced) -> None:
        """The fills that it overtook are refused."""
        _, token = fenced.read("a")
        assert adds.add("a", Entry(self.TWO)) is True
        assert fenced.fill("a", Entry(self.ONE), token) is False and store.get("a") == Entry(self.TWO, None)

    # --- between processes

    def test_what_another_did_makes_an_exchange_fail(self, store: Store, atomic: Atomic, another: Store) -> None:
        """A set, delete, clear or exchange by another on the same data is seen."""
        assert isinstance(another, Atomic)
        other: Atomic = another
        acts: tuple[Callable[[], object], ...] = (
            lambda: another.set("a", self.TWO),
            lambda: another.delete("a"),
            another.clear,
            lambda: other.swap("a", Entry(self.TWO), other.witness("a")[1]),
        )
        for act in acts:
            store.set("a", self.ONE)
            _, token = atomic.witness("a")
            act()
            after = another.get("a")
            assert atomic.swap("a", Entry([3]), token) is False
            assert store.get("a") == another.get("a") == after
