"""The delegated store as its callers see it: reads, writes, their order, failing layers, middleware, batches."""

# ruff: noqa: D102 - the protocols tell what each method of a fake layer does

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pytest_mock import MockerFixture

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, ManyFake
from wellwired.errors import (
    CodecError,
    KeyFormatError,
    LayerError,
    NotFound,
    ReadOnlyError,
    RegistrationError,
    StoreClosedError,
)
from wellwired.operations import StoreOperation, StoreVerb
from wellwired.stores import DelegatedStore, Failed, Hit, Layer, LayerState, MemoryStore, Miss
from wellwired.testing.clock import VirtualClock

Next = Callable[[StoreOperation], Any]


def stack(*stores: Any, **options: Any) -> DelegatedStore[Any]:
    """A delegated store over the stores, the last of them primary."""
    return DelegatedStore([store if isinstance(store, Layer) else Layer(store) for store in stores], **options)


def states(receipt: Any) -> list[str]:
    """What became of a write in each layer."""
    return [str(outcome.state) for outcome in receipt.layers]


class ReadOnly(FakeStore):
    """A store that refuses writes, and says so only when it is asked."""

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        raise ReadOnlyError("this store only reads")

    def delete(self, key: str, /) -> bool:
        raise ReadOnlyError("this store only reads")

    def clear(self) -> None:
        raise ReadOnlyError("this store only reads")


# --- reading


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", b"", [], {}, (), "text"])
@pytest.mark.parametrize("make", [MemoryStore, FakeStore])
def test_every_value_comes_back(value: Any, make: Callable[[], Any]) -> None:
    """A stored None and every falsy value are values: from the first layer, from below, and by every way of asking."""
    store = stack(make(), make())
    store.set("a", value)
    for _ in ("from the first layer", "from below"):
        assert store.get("a", "default") == value
        assert store.get("a") == value
        assert store.has("a")
        assert store.get_many(["a"]) == {"a": value}
        found = store.lookup("a")
        assert isinstance(found, Hit) and found.value == value
        assert store.get_or_load("a", lambda key: "loaded") == value
        store.layers[0].store.clear()


def test_nothing_there_is_told_by_a_key_error() -> None:
    """Without a default a miss raises `NotFound`, which is a `KeyError`; with one it gives that, None included."""
    store = stack(MemoryStore(), FakeStore())
    with pytest.raises(NotFound) as caught:
        store.get("a")
    assert caught.value.key == "a" and issubclass(NotFound, KeyError)
    assert store.get("a", None) is None and store.get("a", 3) == 3
    assert store.lookup("a") == Miss("a") and not store.has("a")


def test_the_first_layer_that_has_it_answers() -> None:
    """Priority goes by order: no layer below the one that answers is asked."""
    first, second, third = FakeStore(), FakeStore(), FakeStore()
    second.data["a"] = ("second", None)
    third.data["a"] = ("third", None)
    store = stack(first, second, third)
    assert store.get("a") == "second"
    assert [call for call, _ in first.calls] == ["get"] and third.calls == []


def test_what_is_found_below_is_filled_above() -> None:
    """Every layer above the one that had it gets the value; the ones below do not."""
    first, second, third = MemoryStore(), FencedFake(), FakeStore()
    third.data["a"] = ("value", None)
    fourth = FakeStore()
    store = stack(first, second, third, fourth)
    assert store.get("a") == "value"
    store.flush(10)
    assert first.has("a") and second.data["a"] == ("value", None) and fourth.data == {}


def test_a_lookup_tells_where_it_was_and_for_how_long(virtual_clock: VirtualClock) -> None:
    """`Hit` names the layer, its place and the seconds left."""
    memory, below = MemoryStore(clock=virtual_clock), FakeStore(virtual_clock)
    store = stack(memory, Layer(below, name="sql.main"), clock=virtual_clock)
    store.set("a", 1, ttl=30.0)
    virtual_clock.advance(10.0)
    assert store.lookup("a") == Hit(1, "memory", 0, 20.0)
    memory.clear()
    assert store.lookup("a") == Hit(1, "sql.main", 1, 20.0)


def test_no_layer_outlives_the_ones_below(virtual_clock: VirtualClock) -> None:
    """A fill lasts for what is left below and for the layer's cap, whichever is less; so does a write."""
    first, second, third = (MemoryStore(clock=virtual_clock) for _ in range(3))
    store = stack(Layer(first, ttl=100.0), Layer(second, ttl=20.0), third, clock=virtual_clock)
    store.set("a", 1, ttl=50.0)
    lefts = [layer.store.get("a").left for layer in store.layers]  # type: ignore[union-attr]
    assert lefts == [20.0, 20.0, 50.0]
    virtual_clock.advance(45.0)
    assert store.get("a") == 1
    assert [layer.store.get("a").left for layer in store.layers] == [5.0, 5.0, 5.0]  # type: ignore[union-attr]
    virtual_clock.advance(6.0)
    assert store.get("a", None) is None


def test_time_spent_on_the_way_is_not_given_back(virtual_clock: VirtualClock) -> None:
    """A value that needed three seconds to be read has three seconds less in the layers above."""
    below = FakeStore(virtual_clock)
    below.after["get"] = lambda: virtual_clock.advance(3.0)
    memory = MemoryStore(clock=virtual_clock)
    store = stack(memory, below, clock=virtual_clock)
    below._set("a", 1, 10.0)
    assert store.get("a") == 1
    entry = memory.get("a")
    assert entry is not None and entry.left == 7.0


def test_keys_are_those_of_the_primaries() -> None:
    """The keys of every primary come once; what only a copy has does not count."""
    copy, one, two = MemoryStore(), FakeStore(), FakeStore()
    store = stack(copy, Layer(one, primary=True), Layer(two, primary=True))
    copy.set("copy", 1)
    one.data.update(a=(1, None), b=(1, None))
    two.data.update(b=(2, None), c=(2, None))
    assert sorted(store.keys()) == ["a", "b", "c"]


def test_keys_of_a_failing_primary_raise() -> None:
    """Half a list of keys is never passed off as the whole."""
    primary = FakeStore()
    store = stack(MemoryStore(), primary)
    primary.fail.add("keys")
    with pytest.raises(LayerError, match="failed at keys"):
        list(store.keys())


@pytest.mark.parametrize("key", [1, None, b"bytes", ("a",)])
def test_keys_are_strings(key: Any) -> None:
    """Any other key is refused by every operation, with its type and not its value."""
    store = stack(MemoryStore(), FakeStore())
    attempts: list[Callable[[], Any]] = [
        lambda: store.get(key),
        lambda: store.set(key, 1),
        lambda: store.delete(key),
        lambda: store.has(key),
        lambda: store.get_many([key]),
        lambda: store.set_many({key: 1}),
        lambda: store.get_or_load(key, str),
    ]
    for attempt in attempts:
        with pytest.raises(KeyFormatError, match=type(key).__name__):
            attempt()


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_ttl_is_more_than_nothing(ttl: float) -> None:
    """A ttl that no value could live by is an error, not a value that vanishes."""
    store = stack(MemoryStore())
    with pytest.raises(ValueError, match="more than 0 seconds"):
        store.set("a", 1, ttl=ttl)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Layer(MemoryStore(), ttl=ttl)


# --- failing layers


def test_a_failing_copy_fails_no_read() -> None:
    """What the lower layers can answer is answered, and the failure is counted for its layer."""
    copy, primary = FakeStore(), FakeStore()
    store = stack(MemoryStore(), copy, primary)
    primary.data["a"] = (1, None)
    copy.fail.add("all")
    assert store.get("a") == 1 and store.get("b", None) is None
    assert store.has("a") and store.get_many(["a", "b"]) == {"a": 1}
    store.flush(10)
    assert [layer.failures > 0 for layer in store.stats().layers] == [False, True, False]
    assert store.stats().layers[1].failing


def test_a_failing_primary_is_no_miss() -> None:
    """Where nobody else has the value, a failing primary is an error that names it, default or not."""
    primary = FakeStore()
    store = stack(MemoryStore(), Layer(primary, name="sql.main"))
    primary.fail.add("all")
    attempts: list[Callable[[], Any]] = [
        lambda: store.get("a"),
        lambda: store.get("a", None),
        lambda: store.has("a"),
        lambda: store.get_many(["a"]),
        lambda: store.get_or_load("a", lambda key: "loaded"),
    ]
    for attempt in attempts:
        with pytest.raises(LayerError, match=r"layer sql\.main failed .*Broken") as caught:
            attempt()
        assert not isinstance(caught.value, KeyError) and isinstance(caught.value.__cause__, BrokenError)
    found = store.lookup("a")
    assert isinstance(found, Failed) and isinstance(found.error, LayerError)


def test_get_set_needs_the_primaries_word() -> None:
    """If a primary fails, nobody knows the old value; if another has it, that is it."""
    one, two = FakeStore(), FakeStore()
    store = stack(MemoryStore(), Layer(one, primary=True), Layer(two, primary=True))
    store.set("a", 1)
    one.fail.add("get")
    assert store.get_set("a", 2) == 1
    two.fail.add("get")
    with pytest.raises(LayerError):
        store.get_set("a", 3)
    assert two.data["a"][0] == 2


def test_a_batch_goes_on_below_a_copy_that_fails() -> None:
    """What the failing copy did not answer is asked of the layers below."""
    copy, primary = ManyFake(), ManyFake()
    store = stack(copy, primary)
    primary.data.update(a=(1, None), b=(2, None))
    copy.fail.add("get_many")
    assert store.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}


def test_a_copy_answers_for_a_failing_primary() -> None:
    """What a copy has is served although the primary is down."""
    memory, primary = MemoryStore(), FakeStore()
    store = stack(memory, primary)
    store.set("a", 1)
    primary.fail.add("all")
    assert store.get("a") == 1


def test_every_layer_from_the_first_primary_down_may_know() -> None:
    """A miss is only a miss if all of them said so: one primary's miss does not speak for another that failed."""
    one, two = FakeStore(), FakeStore()
    store = stack(Layer(one, primary=True), Layer(two, primary=True))
    two.data["a"] = (2, None)
    one.fail.add("get")
    assert store.get("a") == 2
    with pytest.raises(LayerError, match="layer fake "):
        store.get("b", None)


def test_the_text_of_a_drivers_error_is_not_repeated() -> None:
    """Errors and events carry the type of what a driver raised, whose text may quote data."""

    class Talkative(FakeStore):
        def get(self, key: str, /) -> Any:
            raise ValueError("cannot read hunter2")

    store = stack(Talkative())
    with pytest.raises(LayerError) as caught:
        store.get("a")
    assert "hunter2" not in str(caught.value) and "ValueError" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).layer == "talkative"


def test_a_typed_refusal_of_a_primary_stays_what_it_is() -> None:
    """A key or value that a primary cannot take is told by its own error, not as a failing layer."""

    class Picky(FakeStore):
        def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
            raise CodecError("a set cannot be encoded")

    store = stack(MemoryStore(), Picky())
    with pytest.raises(CodecError):
        store.set("a", {1})
    assert store.get("a", None) is None and not store.stats().layers[1].failing


def test_failures_are_logged_once_per_state(virtual_clock: VirtualClock, mocker: MockerFixture) -> None:
    """A layer that fails is logged when it begins and when it ends, and once a minute in between; never a key."""
    log = mocker.patch("wellwired.stores._rungs._log")
    copy, primary = FakeStore(), FakeStore()
    store = stack(copy, primary, clock=virtual_clock)
    copy.fail.add("get")
    for _ in range(50):
        store.get("secret-key", None)
    assert log.warning.call_count == 1 and "secret-key" not in str(log.warning.call_args)
    virtual_clock.advance(61.0)
    store.get("a", None)
    assert log.warning.call_count == 2
    copy.fail.clear()
    store.get("a", None)
    store.get("a", None)
    log.info.assert_called_once_with("store.layer_recovered", store="store", layer="fake", failures=51)


# --- writing


def test_writes_go_to_the_primaries_first_then_bottom_up() -> None:
    """Of five layers the two primaries are written from the bottom up, and then the others from the bottom up."""
    order: list[int] = []
    stores = [FakeStore() for _ in range(5)]
    for index, one in enumerate(stores):
        for operation in ("set", "delete", "clear"):
            one.before[operation] = partial(order.append, index)
    store = stack(*[Layer(one, primary=index in (2, 3)) for index, one in enumerate(stores)])
    writes: list[Callable[[], object]] = [lambda: store.set("a", 1), lambda: store.delete("a"), store.clear]
    for write in writes:
        order.clear()
        write()
        assert order == [3, 2, 4, 1, 0]


def test_a_receipt_tells_the_outcome_in_each_layer() -> None:
    """A plain write is done everywhere."""
    receipt = stack(MemoryStore(), FakeStore()).set("a", 1)
    assert states(receipt) == ["done", "done"] and receipt.complete and receipt
    places = [(one.layer, one.index, one.is_primary) for one in receipt.layers]
    assert places == [("memory", 0, False), ("fake", 1, True)]


def test_a_refusing_primary_leaves_no_new_value_above() -> None:
    """If a primary refuses, no copy has the new value, nor a doubtful old one; the error carries the receipt."""
    memory, copy, primary = MemoryStore(), FakeStore(), FakeStore()
    store = stack(memory, copy, primary)
    store.set("a", "old")
    primary.fail.add("set")
    with pytest.raises(LayerError, match="failed at set") as caught:
        store.set("a", "new")
    assert states(caught.value.receipt) == ["dropped", "dropped", "failed"]
    assert not memory.has("a") and copy.data == {} and store.get("a") == "old"


def test_an_answer_that_was_lost_leaves_no_old_value_above() -> None:
    """A primary that did the write and failed to say so: the next read gives what it has."""
    primary = FakeStore()
    store = stack(MemoryStore(), FakeStore(), primary)
    store.set("a", "old")
    primary.lose_reply.add("set")
    with pytest.raises(LayerError):
        store.set("a", "new")
    assert store.get("a") == "new"


def test_the_second_of_two_primaries_refuses() -> None:
    """What the first has taken is told; the layers that were not reached are told as well."""
    upper, lower = FakeStore(), FakeStore()
    store = stack(MemoryStore(), Layer(upper, primary=True), Layer(lower, primary=True))
    upper.fail.add("set")
    with pytest.raises(LayerError) as caught:
        store.set("a", 1)
    assert states(caught.value.receipt) == ["dropped", "failed", "done"]
    lower.fail.add("set")
    with pytest.raises(LayerError) as caught:
        store.set("a", 1)
    assert states(caught.value.receipt) == ["dropped", "skipped", "failed"]


@pytest.mark.parametrize("operation", ["set", "delete"])
def test_a_copy_that_a_write_cannot_reach_is_not_believed(operation: str) -> None:
    """The write succeeds, the receipt tells of the copy, and its old value is never read again."""
    copy, primary = FakeStore(), FakeStore()
    store = stack(copy, primary)
    store.set("a", "old")
    copy.fail.update({"set", "delete"})
    receipt = store.set("a", "new") if operation == "set" else store.delete("a")
    assert states(receipt) == ["failed", "done"] and not receipt.complete and receipt
    assert copy.data["a"] == ("old", None)
    wanted = "new" if operation == "set" else None
    assert store.get("a", None) == wanted and store.has("a") is (operation == "set")
    assert store.get_many(["a"]) == ({"a": "new"} if operation == "set" else {})
    assert store.stats().layers[0].doubtful == 1
    copy.fail.clear()
    assert store.get("a", None) == wanted
    store.flush(10)
    assert store.stats().layers[0].doubtful == 0 and copy.data.get("a") == (("new", None) if wanted else None)


def test_a_copy_that_cannot_store_but_can_remove() -> None:
    """If only storing fails, the old value is removed at once and nothing is in doubt."""
    copy, primary = FakeStore(), FakeStore()
    store = stack(copy, primary)
    store.set("a", "old")
    copy.fail.add("set")
    receipt = store.set("a", "new")
    assert states(receipt) == ["dropped", "done"] and receipt.layers[0].error == "BrokenError"
    assert copy.data == {} and store.stats().layers[0].doubtful == 0


def test_a_clear_that_did_not_reach_a_copy(virtual_clock: VirtualClock) -> None:
    """Nothing of that copy is read before it has been cleared, which is tried again at most once a second."""
    copy, primary = FakeStore(virtual_clock), FakeStore(virtual_clock)
    store = stack(copy, primary, clock=virtual_clock)
    store.set("a", 1)
    copy.fail.add("clear")
    assert states(store.clear()) == ["failed", "done"]
    for _ in range(5):
        assert store.get("a", None) is None and not store.has("a") and store.get_many(["a"]) == {}
    assert [call for call, _ in copy.calls].count("clear") == 2
    assert store.stats().layers[0].doubted
    copy.fail.clear()
    virtual_clock.advance(1.5)
    assert store.get("a", None) is None and copy.data == {} and not store.stats().layers[0].doubted


def test_a_delete_says_whether_it_was_there() -> None:
    """A receipt of a delete is true if a primary had the key, whatever the copies had."""
    memory, primary = MemoryStore(), FakeStore()
    store = stack(memory, primary)
    store.set("a", 1)
    memory.clear()
    receipt = store.delete("a")
    assert receipt and receipt.removed == 1
    memory.set("a", 1)
    assert not store.delete("a") and not memory.has("a")
    assert store.delete_many(["a", "b"]).removed == 0


def test_a_refused_delete_removes_the_copies_all_the_same() -> None:
    """A primary that cannot delete is an error, and the copies are removed in case it has deleted."""
    memory, primary = MemoryStore(), FakeStore()
    store = stack(memory, primary)
    store.set("a", 1)
    primary.lose_reply.add("delete")
    with pytest.raises(LayerError):
        store.delete("a")
    assert not memory.has("a") and store.get("a", None) is None
    primary.fail.add("clear")
    store.set("b", 1)
    with pytest.raises(LayerError):
        store.clear()
    assert not memory.has("b")


def test_an_interrupt_leaves_no_old_copy() -> None:
    """A KeyboardInterrupt in the middle of a write does not leave the copies with the old value."""
    copy, primary = FakeStore(), FakeStore()
    memory = MemoryStore()
    store = stack(memory, copy, primary)
    store.set("a", "old")

    def interrupt() -> None:
        raise KeyboardInterrupt

    copy.before["set"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.set("a", "new")
    assert not memory.has("a") and copy.data == {}
    copy.before.clear()
    assert store.get("a") == "new"


def test_get_set_gives_what_the_primary_had() -> None:
    """The old value is the primary's, not that of a copy; without one, the default."""
    memory, primary = MemoryStore(), FakeStore()
    store = stack(memory, primary)
    assert store.get_set("a", 1) is None and store.get_set("b", 1, "nothing") == "nothing"
    primary.data["a"] = ("newer", None)
    assert store.get_set("a", None) == "newer" and store.get("a") is None
    assert store.get_set("a", 3, "default") is None


# --- read-only layers


@pytest.mark.parametrize("told", [None, True])
def test_a_read_only_primary_takes_no_values(told: bool | None) -> None:
    """Setting is an error; deleting and clearing remove the copies, for the source cannot be told."""
    memory, source = MemoryStore(), ReadOnly()
    source.data["a"] = ("source", None)
    store = stack(memory, Layer(source, read_only=told))
    assert store.get("a") == "source" and memory.has("a")
    with pytest.raises(ReadOnlyError):
        store.set("a", 1)
    assert store.get("a") == "source"
    receipt = store.delete("a")
    assert receipt and states(receipt) == ["done", "skipped"] and not memory.has("a")
    store.get("a")
    assert states(store.clear()) == ["done", "skipped"] and not memory.has("a")
    assert store.get_or_load("b", lambda key: "loaded") == "loaded" and store.stats().layers[1].failures == 0


def test_a_read_only_copy_is_neither_filled_nor_written() -> None:
    """It may answer, and is skipped by everything else, once it has said so."""
    memory, source, primary = MemoryStore(), ReadOnly(), FakeStore()
    store = stack(memory, source, primary)
    primary.data["b"] = ("below", None)
    assert store.get("b") == "below"
    store.flush(10)
    assert memory.has("b") and source.data == {} and store.stats().layers[1].failures == 0
    assert states(store.set("a", 1)) == ["done", "skipped", "done"]
    assert states(store.delete("a")) == states(store.clear()) == ["done", "skipped", "done"]
    writes: list[Callable[[DelegatedStore[Any]], object]] = [
        lambda store: store.delete("a"),
        lambda store: store.set("a", 1),
        lambda store: store.clear(),
    ]
    for write in writes:
        fresh = stack(MemoryStore(), ReadOnly(), FakeStore())
        write(fresh)
        assert not fresh._stack.rungs[1].writable and not fresh.stats().layers[1].doubtful


def test_a_read_only_layer_beside_a_primary_that_writes() -> None:
    """A read-only layer is skipped where another primary takes the write."""
    source = ReadOnly()
    primary = FakeStore()
    store = stack(Layer(primary, primary=True), Layer(source, primary=True))
    assert states(store.set("a", 1)) == ["done", "skipped"] and states(store.delete("a")) == ["done", "skipped"]


# --- many keys


def test_a_batch_asks_each_layer_once_for_what_is_lacking() -> None:
    """One round trip per layer, for the keys that the layers above did not have; one fill per layer above."""
    first, second, third = ManyFake(), ManyFake(), ManyFake()
    store = stack(first, second, third)
    first.data["a"] = (1, None)
    second.data["b"] = (2, None)
    third.data.update(c=(3, None), d=(4, None))
    assert store.get_many(["a", "b", "c", "d", "e", "a"]) == {"a": 1, "b": 2, "c": 3, "d": 4}
    store.flush(10)
    assert [about for call, about in first.calls if call == "get_many"] == [["a", "b", "c", "d", "e"]]
    assert [about for call, about in second.calls if call == "get_many"] == [["b", "c", "d", "e"]]
    assert [about for call, about in third.calls if call == "get_many"] == [["c", "d", "e"]]
    assert [sorted(about) for call, about in second.calls if call == "set_many"] == [["c", "d"]]
    assert set(first.data) == {"a", "b", "c", "d"}


def test_a_batch_over_layers_that_do_one_key_at_a_time() -> None:
    """Layers without `Many` are asked key by key, with the same answers."""
    memory, fenced, primary = MemoryStore(), FencedFake(), FakeStore()
    store = stack(memory, fenced, primary)
    receipt = store.set_many({"a": 1, "b": None}, ttl=60.0)
    assert receipt.complete and primary.data.keys() == {"a", "b"}
    memory.clear()
    fenced.data.clear()
    assert store.get_many(["b", "a", "c"]) == {"b": None, "a": 1}
    store.flush(10)
    assert memory.has("a") and set(fenced.data) == {"a", "b"}
    assert store.delete_many(["a", "b", "c"]).removed == 2 and store.get_many(["a", "b"]) == {}


def test_batches_write_in_one_round_trip() -> None:
    """`set_many` and `delete_many` reach each layer that can with one call; empty batches are harmless."""
    copy, primary = ManyFake(), ManyFake()
    store = stack(copy, primary)
    store.set_many({"a": 1, "b": 2})
    store.delete_many(["a", "b"])
    assert [call for call, _ in primary.calls] == ["set_many", "delete_many"]
    assert [call for call, _ in copy.calls] == ["set_many", "delete_many"]
    assert store.get_many([]) == {} and store.set_many({}) and not store.delete_many([])


def test_a_batch_with_a_failing_primary_is_no_partial_answer() -> None:
    """If the primary fails for keys that nobody else has, the batch raises; if copies have them all, it does not."""
    memory, primary = MemoryStore(), ManyFake()
    store = stack(memory, primary)
    memory.set("a", 1)
    primary.fail.add("all")
    assert store.get_many(["a"]) == {"a": 1}
    with pytest.raises(LayerError, match="get_many"):
        store.get_many(["a", "b"])


# --- isolation


def test_no_caller_changes_what_another_reads() -> None:
    """Changing what was set, read, or read in a batch changes nothing for anybody else."""
    store = stack(MemoryStore(), MemoryStore())
    mine = {"tags": ["x"]}
    store.set("a", mine)
    mine["tags"].append("after set")
    reads: list[Callable[[], Any]] = [
        lambda: store.get("a"),
        lambda: store.get_many(["a"])["a"],
        lambda: store.get_or_load("a", str),
    ]
    for read in reads:
        read()["tags"].append("after read")
        assert store.get("a") == {"tags": ["x"]}
    store.layers[0].store.clear()
    store.get("a")["tags"].append("after the read that filled")
    assert store.get("a") == {"tags": ["x"]}


@pytest.mark.parametrize(("value", "share"), [(("x", ("y",)), False), (["x"], True)])
def test_only_the_immutable_is_shared_unless_a_layer_is_told_to(value: Any, share: bool) -> None:
    """One object for all readers if nobody can change it, or if the memory layer has `share`."""
    store = stack(MemoryStore(share=share))
    store.set("a", value)
    reads = [store.get("a"), store.get_many(["a"])["a"], store.get_or_load("a", str)]
    reads.append(store.lookup("a").value)  # type: ignore[union-attr]
    assert all(read is value for read in reads)


# --- middleware


def recording(name: str, seen: list[Any]) -> Callable[[Next], Next]:
    """A middleware that notes what passes."""

    def around(call: Next) -> Next:
        def run(operation: StoreOperation) -> Any:
            seen.append((name, operation.verb))
            return call(operation)

        return run

    return around


def test_what_was_registered_later_runs_first() -> None:
    """Middleware of the constructor is the innermost; each later one goes around it."""
    seen: list[Any] = []
    store = stack(MemoryStore(), middleware=[recording("one", seen), recording("two", seen)])
    store.use(recording("three", seen))
    store.set("a", 1)
    assert [name for name, _ in seen] == ["three", "two", "one"]


def test_middleware_sees_every_operation() -> None:
    """Each operation passes with its verb, also a hit in the first layer."""
    seen: list[Any] = []
    store = stack(MemoryStore(), MemoryStore(), middleware=[recording("m", seen)])
    store.set("a", 1)
    store.get("a")
    store.lookup("a")
    store.get_or_load("a", str)
    store.get_set("a", 2)
    store.has("a")
    store.get_many(["a"])
    store.set_many({"a": 1})
    store.delete("a")
    store.delete_many(["a"])
    list(store.keys())
    store.clear()
    store.evict(["a"])
    store.invalidate_tags(["t"])
    store.lookup_many(["a"])
    store.get_or_load_many(["a"], dict.fromkeys)
    store.add("b", 1)
    store.update("b", lambda value: value)
    store.touch("b", 5)
    assert [verb for _, verb in seen] == [
        "set", "get", "lookup", "get_or_load", "get_set", "has", "get_many", "set_many", "delete", "delete_many",
        "keys", "clear", "evict", "invalidate_tags", "lookup_many", "get_or_load_many",
        "add", "update", "touch",
    ]  # fmt: skip
    assert {verb for _, verb in seen} == set(StoreVerb)


def test_middleware_may_change_and_replace() -> None:
    """What it passes on is what is done, and what it returns is what the caller gets."""

    def prefixed(call: Next) -> Next:
        def run(operation: StoreOperation) -> Any:
            if operation.verb is StoreVerb.GET and operation.key == "made-up":
                return "made up"
            keys = [f"p:{key}" for key in operation.keys]
            return call(StoreOperation(operation.verb, operation.store, keys, operation.value, operation.ttl))

        return run

    primary = FakeStore()
    store = stack(primary, middleware=[prefixed])
    store.set("a", 1)
    assert list(primary.data) == ["p:a"] and store.get("a") == 1 and store.get("made-up") == "made up"
    assert store.get("b", "default") == "default"


def test_without_middleware_a_hit_makes_no_operation(mocker: MockerFixture) -> None:
    """The shortest way builds no operation object and asks no layer method."""
    store = stack(MemoryStore(), FakeStore())
    store.set("a", 1)
    made = mocker.patch("wellwired.stores.delegated.StoreOperation")
    read = mocker.spy(store.layers[0].store, "get")
    assert store.get("a") == 1 and store.get_or_load("a", str) == 1
    assert made.call_count == 0 and read.call_count == 0


def test_what_is_no_middleware_is_refused() -> None:
    """A registration that fails changes nothing."""
    store = stack(MemoryStore())
    store.set("a", 1)
    with pytest.raises(RegistrationError):
        store.use(lambda call: None)  # type: ignore[arg-type,return-value]
    assert store.get("a") == 1


# --- construction, counting, closing


def test_a_stack_needs_layers_with_names_of_their_own() -> None:
    """No layer, or two that were given one name, is an error; default names are told apart."""
    with pytest.raises(ValueError, match="at least one layer"):
        DelegatedStore([])
    with pytest.raises(ValueError, match=r"two layers are called sql\.main"):
        stack(Layer(FakeStore(), name="sql.main"), Layer(FakeStore(), name="sql.main"))
    store = stack(MemoryStore(), FakeStore(), Layer(FakeStore(), name="sql.main"), FakeStore())
    assert [layer.name for layer in store.layers] == ["memory", "fake", "sql.main", "fake-2"]
    assert repr(store) == "DelegatedStore('store', layers=['memory', 'fake', 'sql.main', 'fake-2'])"


def test_without_a_declared_primary_the_last_layer_is_it() -> None:
    """That is where a read ends that found nothing above."""
    assert [layer.primary for layer in stack(MemoryStore(), FakeStore(), FakeStore()).layers] == [False, False, True]
    assert [layer.primary for layer in stack(Layer(MemoryStore(), primary=True), FakeStore()).layers] == [True, False]


def test_counts_tell_what_happened() -> None:
    """Hits, misses and fills are counted for each layer, hits on the shortest way included."""
    store = stack(MemoryStore(), FakeStore())
    store.set("a", 1)
    for _ in range(3):
        store.get("a")
    store.get("b", None)
    store.layers[0].store.clear()
    store.get("a")
    memory, primary = store.stats().layers
    assert (memory.hits, memory.misses, memory.fills) == (3, 2, 1)
    assert (primary.hits, primary.misses, primary.fenced) == (1, 1, False)


def test_after_closing_nothing_is_possible() -> None:
    """Every operation raises, a hit in memory included; closing again is harmless; the layers are closed once."""
    layer = FakeStore()
    with stack(MemoryStore(), layer) as store:
        store.set("a", 1)
    attempts: list[Callable[[], Any]] = [
        lambda: store.get("a"),
        lambda: store.get("a", 1),
        lambda: store.get_or_load("a", str),
        lambda: store.set("a", 1),
        store.keys,
    ]
    store.use(recording("m", []))
    for attempt in attempts:
        with pytest.raises(StoreClosedError):
            attempt()
    assert store.close() == 0 and layer.closed == 1


def test_every_layer_is_closed_though_one_fails() -> None:
    """Errors of closing are grouped, and stop no other layer from being closed."""
    one, two = FakeStore(), FakeStore()
    store = stack(one, two)
    one.fail.add("close")
    with pytest.raises(ExceptionGroup, match="could not be closed"):
        store.close()
    assert two.closed == 1


def test_evicting_touches_copies_only() -> None:
    """An eviction removes every copy of the keys and no others, and leaves the primaries as they are."""
    memory, middle, primary = MemoryStore(), FakeStore(), FakeStore()
    store = DelegatedStore[Any]([memory, middle, primary])
    store.set_many({"a": 1, "b": 2, "c": 3})
    primary.calls.clear()
    receipt = store.evict(iter(["a", "b", "a"]))
    assert [outcome.state for outcome in receipt.layers] == [LayerState.DONE, LayerState.DONE, LayerState.SKIPPED]
    assert (receipt.verb, receipt.removed, receipt.complete, bool(receipt)) == ("evict", 2, True, True)
    assert sorted(memory.keys()) == list(middle.data) == ["c"] and primary.calls == []
    assert store.get("a") == 1
    store.close()


def test_an_eviction_that_fails_is_told_and_kept_in_mind() -> None:
    """A copy that could not be reached is in the receipt, and is not read under those keys until it has been."""
    middle, primary = FakeStore(), FakeStore()
    store = DelegatedStore[Any]([middle, primary])
    store.set("a", "old")
    primary.data["a"] = ("new", None)
    middle.fail.add("delete")
    receipt = store.evict(["a"])
    assert not receipt.complete and receipt.layers[0].error == "BrokenError"
    assert store.get("a") == "new"
    middle.fail.clear()
    assert store.get("a") == "new"
    store.close()


def test_an_eviction_of_no_key_at_all() -> None:
    """Nothing to evict is nothing to do."""
    store = DelegatedStore[Any]([MemoryStore(), FakeStore()])
    assert store.evict([]).removed == 0
    with pytest.raises(KeyFormatError):
        store.evict([1])  # type: ignore[list-item]
    store.close()
