"""Reads that keep their time: limits of layers, deadlines of calls, breakers, and stale values that stand in."""

# ruff: noqa: D102 - the protocols tell what each method of a layer does

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, Gate, ManyFake
from wellwired.clock import Deadline
from wellwired.errors import LayerError, LayerTimeoutError, NotFound, StoreTimeoutError
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.operations import StoreOperation
from wellwired.stores import MISSING, DelegatedStore, Failed, Hit, Layer, LayerState, MemoryStore, Miss
from wellwired.stores.events import LayerTurned, ServedStale
from wellwired.stores.protocols import Entry
from wellwired.testing.clock import VirtualClock

SHORT = 0.02


class Hanging(FakeStore):
    """A store whose reads hang until the gate is opened."""

    def __init__(self, *operations: str) -> None:
        super().__init__()
        self.gate = Gate()
        for operation in operations or ("get",):
            self.before[operation] = self.gate


def passing(following: Callable[[StoreOperation], Any]) -> Callable[[StoreOperation], Any]:
    """Middleware that adds nothing."""

    def call(operation: StoreOperation) -> Any:
        return following(operation)

    return call


@pytest.fixture
def hanging() -> Iterator[Callable[..., Hanging]]:
    """Makes stores that hang, and lets them go on in the end."""
    made: list[Hanging] = []

    def make(*operations: str) -> Hanging:
        made.append(Hanging(*operations))
        return made[-1]

    yield make
    for store in made:
        store.gate.open()


def test_a_layer_that_hangs_costs_a_read_its_limit_and_no_more(hanging: Callable[..., Hanging]) -> None:
    """The layers below answer in place of one that does not within its time limit."""
    slow, primary = hanging(), FakeStore()
    primary.data["a"] = (1, None)
    store = DelegatedStore[Any]([Layer(slow, time_limit=SHORT), primary])
    assert store.get("a") == 1 and store.lookup("a") == Hit(1, "fake", 1)
    assert store.stats().layers[0].timeouts == 2
    slow.gate.open()
    store.close()


def test_a_primary_that_hangs_is_a_typed_failure(hanging: Callable[..., Hanging]) -> None:
    """If nobody else can know, the error says which layer was out of time."""
    store = DelegatedStore[Any]([MemoryStore(), Layer(hanging(), time_limit=SHORT, name="sql.main")])
    with pytest.raises(LayerTimeoutError, match=r"layer sql.main failed at get: no answer within 0.02 s") as raised:
        store.get("a", None)
    assert isinstance(raised.value, TimeoutError)
    failed = store.lookup("a")
    assert isinstance(failed, Failed) and isinstance(failed.error, LayerTimeoutError)


def test_a_deadline_holds_whatever_hangs(hanging: Callable[..., Hanging]) -> None:
    """Without any limit of the layers' own, a call with a deadline gives up each of them in its share of the time."""
    first, second, primary = hanging(), hanging(), FakeStore()
    primary.data["a"] = (1, None)
    store = DelegatedStore[Any]([MemoryStore(), first, second, primary])
    assert store.get("a", deadline=10.0 * SHORT) == 1
    assert [layer.timeouts for layer in store.stats().layers] == [0, 1, 1, 0]
    for gate in (first.gate, second.gate):
        assert gate.reached.is_set()


def test_a_deadline_may_be_a_moment(hanging: Callable[..., Hanging]) -> None:
    """One deadline can be handed from call to call; when it has passed, only what answers at once is asked."""
    memory, primary = MemoryStore(), FakeStore()
    store = DelegatedStore[Any]([memory, primary])
    store.set_many({"a": 1, "b": 2})
    memory.delete("b")
    primary.calls.clear()
    passed = Deadline(time.monotonic() - 1)
    assert store.get("a", deadline=passed) == 1
    with pytest.raises(LayerTimeoutError, match="no time was left"):
        store.get("b", deadline=passed)
    assert primary.calls == [] and store.get("b", deadline=Deadline.never()) == 2
    store.close()


def test_a_deadline_goes_through_middleware(hanging: Callable[..., Hanging]) -> None:
    """With middleware around it a call keeps its time as well."""
    store = DelegatedStore[Any]([hanging()], middleware=[passing])
    with pytest.raises(LayerTimeoutError):
        store.get("a", deadline=SHORT)
    with pytest.raises(LayerTimeoutError):
        store.get_many(["a"], deadline=SHORT)


def test_many_keys_have_one_deadline(hanging: Callable[..., Hanging]) -> None:
    """A batch answers in time with what it has; who asks for it key by key sees which ones nobody knows."""
    memory = MemoryStore()
    store = DelegatedStore[Any]([memory, Layer(hanging("get"), name="sql.main")])
    memory.set("a", 1)
    answers = store.lookup_many(["a", "b"], deadline=SHORT)
    assert answers["a"] == Hit(1, "memory", 0)
    failed = answers["b"]
    assert isinstance(failed, Failed) and isinstance(failed.error, LayerTimeoutError)


def test_an_answer_that_comes_late_is_not_lost(hanging: Callable[..., Hanging]) -> None:
    """The layers above are filled with it, so that the next read has it."""
    memory, slow = MemoryStore(), hanging()
    slow.data["a"] = ("late", None)
    store = DelegatedStore[Any]([memory, Layer(slow, time_limit=SHORT)])
    filled = threading.Event()
    store.on_back_fill(lambda _: filled.set())
    with pytest.raises(LayerTimeoutError):
        store.get("a")
    slow.gate.open()
    assert filled.wait(10) and memory.get("a") == Entry("late", None)
    store.close()


def test_a_late_answer_never_undoes_a_write(hanging: Callable[..., Hanging]) -> None:
    """A read that was given up began before a delete that has returned, so what it brings is not filled."""
    memory, slow = MemoryStore(), hanging()
    slow.before.clear()
    slow.data["a"] = ("old", None)
    slow.after["get"] = slow.gate
    store = DelegatedStore[Any]([memory, Layer(slow, time_limit=SHORT)])
    refused = threading.Event()
    store.on_event(lambda event: refused.set() if type(event).__name__ == "FillRefused" else None)
    with pytest.raises(LayerTimeoutError):
        store.get("a")
    slow.after.clear()
    store.delete("a")
    slow.gate.open()
    assert refused.wait(10) and not memory.has("a")
    store.close()


def test_a_write_does_not_wait_for_a_fenced_copy_that_hangs() -> None:
    """A copy that can refuse what comes late is given up after its limit, and its keys are in doubt."""
    upper, primary = FencedFake(), FakeStore()
    gate = upper.before["delete"] = Gate()
    store = DelegatedStore[Any]([Layer(upper, time_limit=SHORT), primary])
    store.set("a", 1)
    receipt = store.delete("a")
    assert [outcome.state for outcome in receipt.layers] == [LayerState.FAILED, LayerState.DONE]
    assert receipt.layers[0].error == "LayerTimeoutError"
    upper.before.clear()
    gate.open()
    assert store.get("a", None) is None
    store.close()


def test_limits_that_make_no_sense_are_refused() -> None:
    """A layer says at once what it cannot mean."""
    wrongs: list[dict[str, Any]] = [{"time_limit": 0}, {"soft_limit": -1}, {"callers": 0}, {"stale": -1}]
    wrongs.append({"stale": float("inf")})
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"of a layer|seconds"):
            Layer(MemoryStore(), **wrong)
    with pytest.raises(ValueError, match="FakeStore cannot keep stale values"):
        Layer(FakeStore(), stale=1.0)


class TimedFake(FakeStore):
    """A store that can stop waiting by itself."""

    limits: list[float]

    def within(self, seconds: float, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.limits.append(seconds)
        if "hang" in self.fail:
            raise TimeoutError
        return call(*args, **kwargs)


def test_a_layer_that_keeps_its_time_needs_no_thread() -> None:
    """A layer with the ability is told how long it may take, and its own timeout counts as one."""
    primary = TimedFake()
    primary.limits = []
    primary.data["a"] = (threading.get_ident, None)
    store = DelegatedStore[Any]([Layer(primary, time_limit=3.0)])
    assert store.get("a") is threading.get_ident and primary.limits == [3.0]
    primary.fail.add("hang")
    with pytest.raises(LayerTimeoutError):
        store.get("a")
    assert store._stack.rungs[0].callers.busy == 0


def test_a_layer_that_fails_is_left_alone_for_a_while(virtual_clock: VirtualClock) -> None:
    """On evidence its breaker opens, reads go on without it at once, and a few calls find out when it works again."""
    upper, primary = FakeStore(), FakeStore()
    primary.data["a"] = (1, None)
    breaker = BreakerPolicy(calls=4, pause=5.0, probes=1)
    store = DelegatedStore[Any]([Layer(upper, breaker=breaker, name="redis.cache"), primary], clock=virtual_clock)
    turned: list[Any] = []
    store.on_event(lambda event: turned.append(event) if isinstance(event, LayerTurned) else None)
    upper.fail.add("all")
    for _ in range(10):
        assert store.get("a") == 1
        store.flush(10)
    layer = store.stats().layers[0]
    assert layer.breaker == "open" and layer.skipped > 0 and len(upper.calls) == 4
    upper.fail.clear()
    virtual_clock.advance(5.0)
    store.get("a")
    store.flush(10)
    assert store.stats().layers[0].breaker == "closed" and upper.data["a"] == (1, None)
    assert [event.state for event in turned] == ["open", "closed"]
    store.close()


def test_a_write_that_a_breaker_keeps_from_a_copy_puts_it_in_doubt(virtual_clock: VirtualClock) -> None:
    """What could not be removed from a copy is never read there, however long its breaker was open."""
    upper, primary = FakeStore(), FakeStore()
    breaker = BreakerPolicy(calls=1, pause=5.0, probes=1)
    store = DelegatedStore[Any]([Layer(upper, breaker=breaker), primary], clock=virtual_clock)
    store.set("a", "old")
    upper.fail.add("all")
    store.get("a")
    upper.fail.clear()
    receipt = store.set("a", "new")
    assert receipt.layers[0].state is LayerState.FAILED and upper.data["a"][0] == "old"
    virtual_clock.advance(5.0)
    assert store.get("a") == "new"
    store.close()


def test_a_write_to_a_primary_is_always_tried(virtual_clock: VirtualClock) -> None:
    """A breaker never refuses a write of the truth; what became of it is evidence."""
    primary = FakeStore()
    breaker = BreakerPolicy(calls=1, pause=5.0, probes=1)
    store = DelegatedStore[Any]([Layer(primary, breaker=breaker)], clock=virtual_clock)
    primary.fail.add("get")
    for expected in ("BrokenError", "breaker is open"):
        with pytest.raises(LayerError, match=expected):
            store.get("a")
    assert store.set("a", 1).complete and primary.data["a"] == (1, None)


def test_what_is_the_callers_own_fault_opens_no_breaker() -> None:
    """A bad value or key says nothing about the health of a layer; nor does a caller in a hurry."""
    primary = FakeStore()
    store = DelegatedStore[Any]([Layer(primary, breaker=BreakerPolicy(calls=1), time_limit=60.0)])
    gate = primary.before["get"] = Gate()
    with pytest.raises(LayerTimeoutError):
        store.get("a", deadline=SHORT)
    gate.open()
    primary.before["get"] = lambda: (_ for _ in ()).throw(NotFound("a"))
    with pytest.raises(NotFound):
        store.get("a")
    primary.before.clear()
    assert store.stats().layers[0].breaker == "closed"
    assert store.get("a", None) is None and not store.stats().layers[0].failing


def stale_stack(
    clock: VirtualClock, primary: FakeStore, *, ttl: float = 10.0, stale: float = 100.0, **options: Any
) -> DelegatedStore[Any]:
    """Memory that keeps stale values, over a primary."""
    layers = [Layer(MemoryStore(clock=clock), ttl=ttl, stale=stale, soft_limit=options.pop("soft_limit", None))]
    return DelegatedStore[Any]([*layers, Layer(primary, **options)], clock=clock)


def test_a_stale_value_stands_in_for_a_source_that_fails(virtual_clock: VirtualClock) -> None:
    """Beyond its fresh life a value is served only while its source fails, marked, and no longer than it was given."""
    primary = FakeStore(virtual_clock)
    store = stale_stack(virtual_clock, primary)
    told: list[Any] = []
    store.on_event(told.append)
    store.set("a", "v")
    virtual_clock.advance(10.0)
    primary.fail.add("all")
    assert store.get("a") == "v" and store.get_many(["a"]) == {"a": "v"}
    assert store.lookup("a") == Hit("v", "memory", 0, 100.0, stale=True)
    assert store.lookup_many(["a"]) == {"a": Hit("v", "memory", 0, 100.0, stale=True)}
    virtual_clock.advance(99.0)
    assert store.get("a") == "v"
    virtual_clock.advance(1.0)
    with pytest.raises(LayerError):
        store.get("a")
    store.flush(10)
    stale = [event for event in told if isinstance(event, ServedStale)]
    assert stale[0] == ServedStale("a", 0, "memory", 100.0, "BrokenError", "store") and len(stale) == 5
    assert store.stats().layers[0].stale == 5
    primary.fail.clear()
    store.close()


def test_while_the_source_works_nothing_stale_is_served(virtual_clock: VirtualClock) -> None:
    """A value whose fresh life has ended is read from its source, and is fresh again then."""
    primary = FakeStore(virtual_clock)
    store = stale_stack(virtual_clock, primary)
    store.set("a", "v")
    primary.data["a"] = ("w", None)
    virtual_clock.advance(10.0)
    assert store.get("a") == "w" and store.lookup("a") == Hit("w", "memory", 0, 10.0)


@pytest.mark.parametrize("how", ["delete", "delete_many", "clear", "evict", "gone below"])
def test_after_a_delete_nothing_stale_is_served(how: str, virtual_clock: VirtualClock) -> None:
    """What was removed stays removed, whether this store did it or the source says so."""
    primary = FakeStore(virtual_clock)
    store = stale_stack(virtual_clock, primary)
    store.set("a", "v")
    virtual_clock.advance(10.0)
    removals: dict[str, Callable[[], object]] = {
        "delete": lambda: store.delete("a"),
        "delete_many": lambda: store.delete_many(["a"]),
        "clear": store.clear,
        "evict": lambda: store.evict(["a"]),
        "gone below": lambda: (primary.data.clear(), store.lookup("a")),
    }
    removals[how]()
    primary.fail.add("all")
    with pytest.raises(LayerError):
        store.get("a")


def test_a_delete_that_a_primary_refused_leaves_nothing_stale(virtual_clock: VirtualClock) -> None:
    """Nobody knows what the primary kept, so no copy says anything."""
    primary = FakeStore(virtual_clock)
    store = stale_stack(virtual_clock, primary)
    store.set("a", "v")
    virtual_clock.advance(10.0)
    primary.fail.add("all")
    with pytest.raises(LayerError):
        store.delete("a")
    with pytest.raises(LayerError):
        store.get("a")


def test_a_stale_life_never_passes_the_values_own_end(virtual_clock: VirtualClock) -> None:
    """A value that was given 30 seconds is not served after them, however long the layer would keep it."""
    primary = FakeStore(virtual_clock)
    store = stale_stack(virtual_clock, primary)
    store.set("a", "v", ttl=30.0)
    virtual_clock.advance(10.0)
    store.get("a")  # fills memory again, from what is left below
    primary.fail.add("all")
    virtual_clock.advance(19.0)
    found = store.lookup("a")
    assert isinstance(found, Hit) and found.stale and found.left == pytest.approx(1.0)
    virtual_clock.advance(1.0)
    assert isinstance(store.lookup("a"), Failed)


def test_no_stale_life_ends_later_than_in_a_layer_below(virtual_clock: VirtualClock) -> None:
    """Each layer keeps a value, stale life included, no longer than those beneath it do, by write and by fill."""
    upper, lower, primary = MemoryStore(clock=virtual_clock), MemoryStore(clock=virtual_clock), FakeStore(virtual_clock)
    layers: list[Any] = [Layer(upper, ttl=10.0, stale=1000.0), Layer(lower, ttl=20.0, stale=5.0), primary]
    store = DelegatedStore[Any](layers, clock=virtual_clock)
    for fill in (lambda: store.set("a", "v"), lambda: (upper.clear(), lower.clear(), store.get("a"))):
        fill()
        store.flush(10)
        assert upper.read_stale(["a"]) == {"a": Entry("v", 10.0, 15.0)}
        assert lower.read_stale(["a"]) == {"a": Entry("v", 20.0, 5.0)}
    upper.clear()
    virtual_clock.advance(15.0)
    store.get("a")
    assert upper.read_stale(["a"]) == {"a": Entry("v", 5.0, 5.0)}
    store.close()


def test_a_stale_value_is_filled_nowhere(virtual_clock: VirtualClock) -> None:
    """What stands in is served and goes no further up."""
    upper, lower, primary = MemoryStore(clock=virtual_clock), MemoryStore(clock=virtual_clock), FakeStore(virtual_clock)
    layers: list[Any] = [Layer(upper, ttl=10.0), Layer(lower, ttl=10.0, stale=50.0), primary]
    store = DelegatedStore[Any](layers, clock=virtual_clock)
    store.set("a", "v")
    virtual_clock.advance(10.0)
    primary.fail.add("all")
    assert (
        store.get("a") == "v" and list(upper.keys()) == [] and store.lookup("a") == Hit("v", "memory-2", 1, 50.0, True)
    )


def test_a_soft_limit_prefers_what_is_at_hand(virtual_clock: VirtualClock, hanging: Callable[..., Hanging]) -> None:
    """Who has a stale value to answer with waits only so long; who has none waits for the hard limit."""
    primary = hanging()
    primary.before.clear()
    memory = MemoryStore(clock=virtual_clock)
    layers: list[Any] = [Layer(memory, ttl=10.0, stale=50.0), Layer(primary, soft_limit=SHORT, time_limit=30.0)]
    store = DelegatedStore[Any](layers, clock=virtual_clock)
    store.set("a", "v")
    primary.before["get"] = primary.gate
    virtual_clock.advance(10.0)
    assert store.lookup("a") == Hit("v", "memory", 0, 50.0, stale=True)
    waiting = threading.Thread(target=store.get, args=("b", None))
    waiting.start()
    waiting.join(SHORT * 5)
    assert waiting.is_alive()
    primary.gate.open()
    waiting.join(10)
    assert not waiting.is_alive()
    store.close()


def test_a_deadline_is_kept_with_something_stale(virtual_clock: VirtualClock, hanging: Callable[..., Hanging]) -> None:
    """A primary that hangs is waited for no longer than there is time, and the stale value is the answer."""
    primary = hanging()
    primary.before.clear()
    store = DelegatedStore[Any]([Layer(MemoryStore(clock=virtual_clock), ttl=10.0, stale=50.0), primary])
    store.set("a", "v")
    virtual_clock.advance(10.0)
    primary.before["get"] = primary.gate
    assert store.get("a", deadline=SHORT) == "v"


def test_a_doubtful_copy_stands_in_for_nothing(virtual_clock: VirtualClock) -> None:
    """A layer that a delete could not reach does not bring the value back as a stale one."""

    class Frail(MemoryStore):
        broken = False

        def delete(self, key: str, /) -> bool:
            if self.broken:
                raise BrokenError
            return super().delete(key)

    frail, primary = Frail(clock=virtual_clock), FakeStore(virtual_clock)
    store = DelegatedStore[Any]([Layer(frail, ttl=10.0, stale=50.0), primary], clock=virtual_clock)
    store.set_many({"a": "v", "b": "w"})
    frail.broken = True
    store.delete("a")
    primary.fail.add("all")
    virtual_clock.advance(10.0)
    with pytest.raises(LayerError):
        store.get("a")
    assert store.get("b") == "w"


def test_a_stale_value_stands_in_for_a_loader_that_fails(virtual_clock: VirtualClock) -> None:
    """A failed load rejects nobody while there is a stale value, and everybody when there is none."""
    store = DelegatedStore[Any]([Layer(MemoryStore(clock=virtual_clock), stale=50.0)], clock=virtual_clock)

    def broken(key: str) -> Any:
        raise BrokenError(key)

    assert store.get_or_load("a", lambda _: "v", ttl=10.0) == "v"
    virtual_clock.advance(10.0)
    assert store.get("a", None) is None  # for a plain read the truth has nothing
    assert store.get_or_load("a", lambda _: "w", ttl=10.0) == "w"
    virtual_clock.advance(10.0)
    assert store.get_or_load("a", broken) == "w"
    virtual_clock.advance(50.0)
    with pytest.raises(BrokenError):
        store.get_or_load("a", broken)


def test_a_loader_that_finds_nothing_ends_what_is_stale(virtual_clock: VirtualClock) -> None:
    """The source says that there is nothing: that is an answer, and afterwards nothing stale is served."""
    store = DelegatedStore[Any]([Layer(MemoryStore(clock=virtual_clock), stale=50.0)], clock=virtual_clock)

    def missing(key: str) -> Any:
        raise NotFound(key)

    def broken(key: str) -> Any:
        raise BrokenError(key)

    store.get_or_load("a", lambda _: "v", ttl=10.0)
    virtual_clock.advance(10.0)
    with pytest.raises(NotFound):
        store.get_or_load("a", missing)
    with pytest.raises(BrokenError):
        store.get_or_load("a", broken)


def test_a_load_with_a_deadline_goes_on_without_the_caller() -> None:
    """The caller gets a typed failure in time; the load ends in its own time, and the next one has its value."""
    store, gate = DelegatedStore[Any]([MemoryStore()]), Gate()
    loads: list[str] = []

    def load(key: str) -> str:
        loads.append(key)
        gate()
        return "v"

    for _ in range(2):
        with pytest.raises(StoreTimeoutError):
            store.get_or_load("a", load, deadline=SHORT)
    waiter = threading.Thread(target=gate.open)
    waiter.start()
    assert store.get_or_load("a", load) == "v" and loads == ["a"]
    waiter.join(10)
    assert isinstance(store.lookup("b"), Miss)
    store.close()


def test_a_load_out_of_time_is_answered_with_something_stale(virtual_clock: VirtualClock) -> None:
    """Who keeps a stale value answers with it when the load takes longer than the caller has."""
    store = DelegatedStore[Any]([Layer(MemoryStore(clock=virtual_clock), stale=50.0)])
    store.get_or_load("a", lambda _: "old", ttl=10.0)
    virtual_clock.advance(10.0)
    gate = Gate()
    assert store.get_or_load("a", lambda _: gate(), deadline=SHORT) == "old"
    gate.open()
    store.close()


def test_a_deadline_with_a_store_of_many_abilities() -> None:
    """Layers that do many keys at once are asked with a limit as well."""
    store = DelegatedStore[Any]([Layer(ManyFake(), time_limit=10.0), Layer(ManyFake(), time_limit=10.0)])
    store.set_many({"a": 1, "b": 2})
    assert store.get_many(["a", "b", "c"], deadline=10.0) == {"a": 1, "b": 2}
    assert store.has("a")
    store.close()


@pytest.mark.parametrize("loading", [False, True])
def test_what_cannot_be_forgotten_is_not_served(loading: bool, virtual_clock: VirtualClock) -> None:
    """A layer that fails to forget what is gone fails no read, and its stale value stands in for nothing."""

    class Frail(MemoryStore):
        def delete(self, key: str, /) -> bool:
            raise BrokenError

    primary = FakeStore(virtual_clock)
    frail = Layer(Frail(clock=virtual_clock), ttl=10.0, stale=50.0)
    store = DelegatedStore[Any]([frail, primary], clock=virtual_clock)
    store.set("a", "v")
    virtual_clock.advance(10.0)
    primary.data.clear()
    if loading:
        with pytest.raises(NotFound):
            store.get_or_load("a", lambda _: MISSING)
    else:
        assert store.lookup("a") == Miss("a")
    primary.fail.add("get")
    assert isinstance(store.lookup("a"), Failed)


def test_a_child_has_callers_and_loads_of_its_own(hanging: Callable[..., Hanging]) -> None:
    """Forked while every caller of the parent hangs and a load is under way, the child waits for neither."""
    slow = hanging()
    slow.data["a"] = (1, None)
    store = DelegatedStore[Any]([MemoryStore(), Layer(slow, time_limit=5.0, callers=1)])
    with pytest.raises(LayerTimeoutError):
        store.get("a", deadline=SHORT)
    loader = threading.Thread(target=store._endpoint.loads.flights.board, args=("b",))
    loader.start()
    loader.join(10)
    store._endpoint.loads.flights._lock.acquire()
    pid = os.fork()
    if pid == 0:
        slow.before.clear()
        good = store.get("a") == 1 and store.get_or_load("b", str.upper, deadline=5.0) == "B"
        os._exit(0 if good else 1)
    store._endpoint.loads.flights._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
