"""Faults to order: the application meets them as it would meet real ones, and afterwards nothing is left of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisGoneError
from sqlalchemy.exc import OperationalError

from tests.testing.shop import Shop, orders, place
from wellwired import Entry, MemoryStore, WriteRequest
from wellwired.clock import SYSTEM
from wellwired.errors import BackendError, ErrorCode, LayerError, Outcome, StateError, UnknownProviderError, WriteError
from wellwired.testing import Faults, VirtualClock, in_memory
from wellwired.testing._layers import around_layer


@pytest.fixture
def shop() -> Iterator[Any]:
    """A shop in memory."""
    made: Any = Shop()
    with made.overriding(in_memory(made)), made:
        orders.create(made.sql["main"]())
        yield made


@pytest.fixture
def faults(shop: Any) -> Iterator[Faults]:
    """Faults of the shop, in real time."""
    with Faults(shop) as made:
        yield made


# --- layers


def test_a_dead_layer_raises_what_its_driver_would(shop: Any, faults: Faults) -> None:
    """A read goes on below it, a write of a primary fails, and the cause is of the driver's own class."""
    shop.stores["prices"]().set("tea", 350)
    redis = faults.dead("stores.prices", "redis.cache")
    store = shop.stores["prices"]()
    store.layers[0].store.clear()
    assert store.get("tea") == 350 and redis.calls == 1
    faults.dead("stores.prices", "sql.main")
    with pytest.raises(LayerError) as caught:
        shop.stores["prices"]().set("tea", 351)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert store.stats().layers[1].failures == 1


def test_the_error_can_be_chosen(shop: Any, faults: Faults) -> None:
    """For whatever a driver may raise."""
    faults.dead("stores.prices", "sql.main", error=PermissionError("no"))
    with pytest.raises(LayerError) as caught:
        shop.stores["prices"]().set("tea", 1)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_flaky_layer_recovers(shop: Any, faults: Faults) -> None:
    """After as many errors as were ordered."""
    fault = faults.flaky("stores.prices", "sql.main", errors=2, only=["read"])
    store = shop.stores["prices"]()
    with pytest.raises(LayerError):
        store.get("tea")
    with pytest.raises(LayerError):
        store.get("tea")
    assert store.get("tea", None) is None and fault.calls == 3


def test_a_fault_may_be_about_some_operations(shop: Any, faults: Faults) -> None:
    """Reads work while writes do not."""
    shop.stores["prices"]().set("tea", 350)
    faults.dead("stores.prices", "sql.main", only=("set", "set_many", "put_many"))
    store = shop.stores["prices"]()
    assert store.get("tea") == 350
    with pytest.raises(LayerError):
        store.set("tea", 351)


def test_a_memory_layer_can_be_broken_too(shop: Any, faults: Faults) -> None:
    """Although a store takes shorter ways to it."""
    store = shop.stores["prices"]()
    store.set("tea", 350)
    assert store.get("tea") == 350
    fault = faults.dead("stores.prices", "memory")
    assert shop.stores["prices"]().get("tea") == 350 and fault.calls > 0
    fault.end()
    seen = fault.calls
    assert shop.stores["prices"]().get("tea") == 350 and fault.calls == seen


def test_a_broken_layer_is_the_same_layer(shop: Any, faults: Faults) -> None:
    """The same object with the same data and abilities, of a class that is its own."""
    before = shop.stores["prices"]().layers
    kept, inline = [layer.store for layer in before], [layer.fills_inline for layer in before]
    kept[0].set("a", 1)
    faults.slow("stores.prices", "memory", seconds=0.0)
    after = shop.stores["prices"]().layers
    assert all(one.store is other for one, other in zip(after, kept, strict=True))
    assert isinstance(after[0].store, MemoryStore) and type(after[0].store) is not MemoryStore
    assert [layer.fills_inline for layer in after] == inline == [True, False, False]
    assert after[0].store.get("a") == Entry(1)


def test_a_slow_layer_moves_a_virtual_clock(shop: Any) -> None:
    """And takes no time of the test's."""
    clock = VirtualClock()
    with shop.overriding({"clock": clock}), Faults(shop, clock) as faults:
        faults.slow("stores.prices", "redis.cache", seconds=30.0, only=["read"])
        began = SYSTEM.monotonic()
        assert shop.stores["prices"]().get("tea", None) is None
        assert clock.naps == [30.0] and SYSTEM.monotonic() - began < 10


def test_a_hung_layer_is_given_up_at_its_time_limit(shop: Any, faults: Faults) -> None:
    """A read goes on without it; the call goes on when the fault ends, and no thread is left in it."""
    shop.stores["fast"]().set("tea", 350)
    fault = faults.hung("stores.fast", "redis.cache", seconds=None)
    store = shop.stores["fast"]()
    assert store.get("tea") == 350
    assert store.stats().layers[0].timeouts == 1 and fault.calls == 1
    assert fault.hanging == 1
    faults.end()
    assert fault.ended and fault.hanging == 0


def test_a_hung_layer_without_a_limit_waits_for_its_driver(shop: Any, faults: Faults) -> None:
    """As long as that does, and gets what that raises: a test cannot hang for ever."""
    faults.hung("stores.prices", "sql.main", seconds=0.01)
    with pytest.raises(LayerError) as caught:
        shop.stores["prices"]().get("tea")
    assert isinstance(caught.value.__cause__, OperationalError) and "no answer" in str(caught.value.__cause__)


def test_a_hung_call_goes_on_when_the_fault_ends(shop: Any, faults: Faults) -> None:
    """With the real answer."""
    shop.stores["prices"]().set("tea", 350)
    fault = faults.hung("stores.prices", "memory", seconds=None)
    found: list[int] = []
    store = shop.stores["prices"]()
    thread = threading.Thread(target=lambda: found.append(store.get("tea")))
    thread.start()
    fault.wait_until_hanging()
    faults.end()
    thread.join(10)
    assert found == [350] and not thread.is_alive() and fault.ended


def test_an_end_waits_for_what_hangs(shop: Any, faults: Faults) -> None:
    """When it returns, no thread is in the fault any more."""
    fault = faults.hung("stores.prices", "memory", seconds=None)
    store = shop.stores["prices"]()
    thread = threading.Thread(target=store.get, args=("tea", None))
    thread.start()
    fault.wait_until_hanging()
    with fault._changed:  # nobody leaves the fault while it is held, unless `end` waits for it
        fault.end()
        assert fault.hanging == 0
    thread.join(10)


def test_the_last_end_waits_for_what_went_on(shop: Any, faults: Faults) -> None:
    """When all faults have ended no call is at work in the layer, whose connections may be closed next."""
    entered, allowed, over = threading.Event(), threading.Event(), threading.Event()

    def gate(_name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        entered.set()
        allowed.wait(10)
        try:
            return call(*args, **kwargs)
        finally:
            over.set()

    with around_layer(shop, "stores.prices", "memory", gate):
        fault = faults.hung("stores.prices", "memory", seconds=None)
        reader = threading.Thread(target=shop.stores["prices"]().get, args=("tea", None))
        reader.start()
        fault.wait_until_hanging()
        ender = threading.Thread(target=faults.end)
        ender.start()
        assert entered.wait(10)
        ender.join(0.2)
        assert ender.is_alive() and not over.is_set()
        allowed.set()
        ender.join(10)
        assert over.is_set() and not ender.is_alive()
        reader.join(10)


def test_afterwards_everything_is_as_it_was(shop: Any) -> None:
    """Classes, providers, and the short ways of the store."""
    store = shop.stores["prices"]()
    store.set("tea", 350)
    writer = shop.writers["sql.main"]()
    kinds = [type(layer.store) for layer in store.layers]
    with Faults(shop) as faults:
        for layer in ("memory", "redis.cache", "sql.main"):
            faults.dead("stores.prices", layer)
            faults.slow("stores.prices", layer, seconds=0.0)
        faults.writer("sql.main").dead()
        assert type(writer) is not type(shop.writers["sql.main"]).__mro__[0]
    again = shop.stores["prices"]()
    assert [type(layer.store) for layer in again.layers] == kinds
    assert type(writer).__module__ == "wellwired.writers.sql" and "write" in vars(type(writer))
    assert again.get("tea") == 350 and again.layers[0].store is store.layers[0].store
    assert shop.write_manager().write(place("o-1")).success


def test_what_is_not_there_is_refused(shop: Any, faults: Faults) -> None:
    """Each with what there is."""
    with pytest.raises(UnknownProviderError, match=r"no layer 'redis'; it has memory, redis.cache, sql.main"):
        faults.dead("stores.prices", "redis")
    with pytest.raises(UnknownProviderError, match="stores"):
        faults.dead("stores.price", "memory")
    with pytest.raises(StateError, match="desk is no layered store"):
        faults.dead("desk", "memory")
    with pytest.raises(UnknownProviderError, match=r"no writer of Shop supports 'sql.mian'; there are: sql.main, red"):
        faults.writer("sql.mian")
    with shop.overriding({"stores.prices": object()}), pytest.raises(StateError, match="is overridden"):
        faults.dead("stores.prices", "memory")


# --- writers


def write(shop: Any, id: str = "o-1") -> Any:
    """Writes an order, or gives the error."""
    try:
        return shop.write_manager().write(place(id))
    except WriteError as error:
        return error


def rows(shop: Any) -> list[str]:
    """The orders that are there."""
    with shop.sql["main"]().connect() as connection:
        return [row.order_id for row in connection.execute(orders.select())]


def test_a_write_that_failed_before_is_retried(shop: Any, faults: Faults) -> None:
    """It is not applied and may be sent again, as the error says."""
    writer = faults.writer("sql.main")
    writer.fails(times=2)
    assert write(shop).attempts == 3 and writer.attempts == 3 and rows(shop) == ["o-1"]


def test_a_lost_answer_is_an_unknown_outcome(shop: Any, faults: Faults) -> None:
    """The data is there, nobody retries, and the caller is told that nobody knows."""
    faults.writer("sql.main").fails(outcome="UNKNOWN")
    error = write(shop)
    assert (error.code, error.outcome, error.reason) == (ErrorCode.BACKEND, Outcome.UNKNOWN, "commit_unknown")
    assert rows(shop) == ["o-1"] and error.attempts == 1


def test_a_lost_answer_may_be_that_of_a_lost_write(shop: Any, faults: Faults) -> None:
    """Both are possible, and told apart by no caller."""
    faults.writer("sql.main").fails(outcome="UNKNOWN", applied=False)
    assert write(shop).outcome is Outcome.UNKNOWN and rows(shop) == []


@pytest.mark.parametrize(
    ("code", "reason", "seen"),
    [("TIMEOUT", "", "deadline"), ("INVALID_REQUEST", "duplicate", "duplicate"), ("BACKEND", "deadlock", "deadlock")],
)
def test_an_error_is_coded_as_ordered(shop: Any, faults: Faults, code: str, reason: str, seen: str) -> None:
    """With the words that a real one has."""
    faults.writer("sql.main").fails(code, times=3, reason=reason)
    error = write(shop)
    cause = error.__cause__ if error.code is ErrorCode.RETRY_EXHAUSTED else error
    assert (cause.code, cause.reason, cause.outcome) == (code, seen, Outcome.NOT_APPLIED) and rows(shop) == []


def test_a_dead_writer_exhausts_the_retries(shop: Any, faults: Faults) -> None:
    """Until the fault ends."""
    writer = faults.writer("sql.main")
    writer.dead()
    assert write(shop).code is ErrorCode.RETRY_EXHAUSTED
    writer.end()
    assert write(shop).success


def test_a_batch_meets_the_fault_as_a_whole(shop: Any, faults: Faults) -> None:
    """Each request has an error of its own."""
    faults.writer("sql.main").fails(outcome="UNKNOWN")
    answers = shop.write_manager().write_many([place("a"), place("b")])
    assert [error.outcome for error in answers] == [Outcome.UNKNOWN] * 2
    assert len({id(error) for error in answers}) == 2 and rows(shop) == ["a", "b"]


def test_a_transaction_meets_it_at_its_begin_or_its_commit(shop: Any, faults: Faults) -> None:
    """Before, nothing is done; after, everything is and nobody knows."""
    writer, manager = faults.writer("sql.main"), shop.write_manager()

    def transact() -> WriteError:
        with pytest.raises(WriteError) as caught, manager.transaction("sql.main") as tx:
            tx.write(place("a"))
        return caught.value

    writer.fails()
    assert transact().outcome is Outcome.NOT_APPLIED and rows(shop) == []
    writer.fails(outcome="UNKNOWN", applied=False)
    assert transact().outcome is Outcome.UNKNOWN and rows(shop) == []
    writer.fails(outcome="UNKNOWN")
    assert transact().outcome is Outcome.UNKNOWN and rows(shop) == ["a"]


def test_a_hung_writer_keeps_to_the_deadline(shop: Any) -> None:
    """On a virtual clock at once; nothing is applied."""
    clock = VirtualClock()
    with shop.overriding({"clock": clock}), Faults(shop, clock) as faults:
        faults.writer("sql.main").hung()
        assert write(shop).code is ErrorCode.TIMEOUT and clock.naps == [5.0]
    with Faults(shop) as real:
        real.writer("sql.main").hung()
        with pytest.raises(WriteError, match="TIMEOUT"):
            shop.write_manager().write(WriteRequest("sql.main", "order_add", {"order_id": "a"}, timeout=0.01))
    assert rows(shop) == []


def test_a_slow_writer_is_late(shop: Any) -> None:
    """By as much on the clock."""
    clock = VirtualClock()
    with shop.overriding({"clock": clock}), Faults(shop, clock) as faults:
        faults.writer("sql.main").slow(2.0)
        assert write(shop).duration >= 2.0 and clock.naps == [2.0]


@pytest.mark.parametrize(
    ("code", "outcome", "applied"),
    [
        ("RETRY_EXHAUSTED", "NOT_APPLIED", None),
        ("TIMEOUT", "UNKNOWN", None),
        ("BACKEND", "PARTIAL", None),
        ("BACKEND", "NOT_APPLIED", True),
    ],
)
def test_what_no_writer_does_is_refused(shop: Any, faults: Faults, code: str, outcome: str, applied: Any) -> None:
    """A TIMEOUT is never applied, and what is applied is never told not to be."""
    with pytest.raises(ValueError, match=r"outcome|no writer fails"):
        faults.writer("sql.main").fails(code, outcome, applied=applied)


def test_other_writers_are_left_alone(shop: Any, faults: Faults) -> None:
    """A fault is about one."""
    faults.writer("sql.main").dead()
    assert shop.write_manager().write(WriteRequest("redis.cache", "value_set", {"key": "k", "value": "v"})).success


@pytest.fixture
def wellwired_container_source() -> Any:
    """The shop."""
    return Shop


def test_the_fixture_s_faults_are_of_the_container_and_its_clock(
    wellwired_in_memory: Any, wellwired_clock: VirtualClock, wellwired_faults: Faults
) -> None:
    """A slow layer ages the values of the test's own time."""
    wellwired_faults.slow("stores.prices", "redis.cache", seconds=61.0, only=["read"])
    store = wellwired_in_memory.stores["prices"]()
    store.set("tea", 1)
    wellwired_clock.advance(59)
    assert store.get("tea") == 1 and wellwired_clock.naps == []
    wellwired_clock.advance(2)
    assert store.get("tea") == 1 and wellwired_clock.naps == [61.0]


def test_gone_errors_are_redis_own() -> None:
    """Whatever a layer's class, its driver's error is what a handler of errors would catch."""
    from wellwired.testing import _broken

    shop: Any = Shop()
    with shop.overriding(in_memory(shop)), shop:
        stores = [layer.store for layer in shop.stores["prices"]().layers]
    assert [type(_broken.of_layer(store)) for store in stores] == [ConnectionError, RedisGoneError, OperationalError]
    assert isinstance(BackendError("x"), WriteError)
