"""A fleet over one Redis: batches load every key once, nobody waits past the patience, and one refreshes for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, Gate, in_threads
from wellwired.stores import DelegatedStore, Layer, LeasesMany, LoadPolicy, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.testing.clock import VirtualClock

LEASED = LoadPolicy(lease=30.0)
KEYS = [f"k{number}" for number in range(40)]
only_real = pytest.mark.parametrize("redis_url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
Make = Callable[..., DelegatedStore[Any]]


class OneByOne(RedisStore):
    """A Redis store whose leases are taken key by key, as a layer has them that is `Leases` and no more."""

    lease_many = None  # type: ignore[assignment]
    release_many = None  # type: ignore[assignment]


@pytest.fixture
def make(redis_client: Any) -> Iterator[Make]:
    """Makes a store as another process of the fleet would have it: a memory of its own over the shared Redis."""
    made: list[DelegatedStore[Any]] = []

    def make(kind: type[RedisStore] = RedisStore, **options: Any) -> DelegatedStore[Any]:
        layers = [Layer(MemoryStore()), Layer(kind(redis_client, namespace="users"))]
        made.append(DelegatedStore(layers, **{"loads": LEASED, **options}))
        return made[-1]

    yield make
    for store in made:
        store.close()


def upper(keys: Sequence[str]) -> Mapping[str, Any]:
    """A loader that has a value for every key."""
    return {key: key.upper() for key in keys}


def settled(store: DelegatedStore[Any]) -> None:
    """Waits until no load is under way in the background."""
    while len(store._endpoint.loads.flights):
        threading.Event().wait(0.001)
    store.flush(10)


# --- batches


@pytest.mark.parametrize("kind", [RedisStore, OneByOne])
def test_a_fleet_loads_each_key_of_overlapping_batches_once(make: Make, kind: type[RedisStore]) -> None:
    """Whoever comes second waits for what the first one stores, and loads the rest meanwhile."""
    loaded: list[str] = []
    stores = [make(kind) for _ in range(4)]
    assert isinstance(stores[0].layers[1].store, LeasesMany) is (kind is RedisStore)
    batches = [KEYS[at : at + 20] for at in (0, 7, 14, 20)]

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        loaded.extend(keys)
        return upper(keys)

    calls = [
        lambda store=store, keys=keys: store.get_or_load_many(keys, load, ttl=60.0)
        for store, keys in zip(stores, batches, strict=True)
    ]
    assert in_threads(*calls) == [upper(keys) for keys in batches]
    assert sorted(loaded) == sorted(KEYS)


@only_real
def test_a_cold_batch_costs_as_many_round_trips_as_a_cold_key(make: Make, redis_client: Any) -> None:
    """Reads, leases, fills and releases are one command each, however many keys there are."""

    def asked(keys: Sequence[str]) -> list[int]:
        redis_client.config_resetstat()
        assert make().get_or_load_many(keys, upper, ttl=60.0) == upper(keys)
        stats = redis_client.info("commandstats")
        return [stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("mget", "evalsha", "eval")]

    asked(KEYS)  # the server learns the scripts, and the namespace gets its state and fences
    make().clear()
    assert asked(KEYS) == [4, 3, 0]  # read twice, each time with the fences of what was not there; lease, fill, release
    assert asked(KEYS) == [1, 0, 0]


def test_a_batch_loads_its_own_before_it_waits_for_others(make: Make) -> None:
    """What somebody else holds comes afterwards, so no two that hold what the other wants wait for each other."""
    one, two = make(), make()
    shared = one.layers[1].store
    assert isinstance(shared, RedisStore)
    held = shared.lease("b", 30.0)
    order: list[Sequence[str]] = []

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        order.append(list(keys))
        shared.release("b", held[2])
        return upper(keys)

    assert two.get_or_load_many(["a", "b", "c"], load, ttl=60.0) == upper("abc")
    assert order == [["a", "c"], ["b"]]


def test_who_waited_in_vain_loads_the_rest_for_itself(make: Make) -> None:
    """However many keys somebody else holds, they are waited for together, and stored nowhere that others see."""
    holder, waiter = make(), make(patience=0.3)
    shared = holder.layers[1].store
    assert isinstance(shared, RedisStore)
    held = shared.lease_many(KEYS[:30], 30.0)
    before = time.monotonic()
    assert waiter.get_or_load_many(KEYS, upper, ttl=60.0) == upper(KEYS)
    assert 0.3 <= time.monotonic() - before < 5.0
    assert set(shared.get_many(KEYS)) == set(KEYS[30:]) and waiter._endpoint.loads.leasing.in_vain == 30
    shared.release_many({key: token for key, (_, _, token) in held.items()})


def test_the_timeout_of_a_call_counts_for_leases_as_well(make: Make) -> None:
    """It says how long to wait for somebody else, in this process or another."""
    holder, waiter = make(), make(patience=None)
    shared = holder.layers[1].store
    assert isinstance(shared, RedisStore)
    shared.lease_many(["a", "b"], 30.0)
    assert waiter.get_or_load_many(["a"], upper, timeout=0.05) == {"a": "A"}
    assert waiter.get_or_load("b", str.upper, timeout=0.05) == "B"


def test_a_batch_that_fails_gives_its_leases_back(make: Make, redis_client: Any) -> None:
    """The next one loads at once; so does who comes after a loader that found nothing."""
    store = make()

    def fail(keys: Sequence[str]) -> Mapping[str, Any]:
        raise BrokenError(keys)

    with pytest.raises(BrokenError):
        store.get_or_load_many(["a", "b"], fail)
    assert redis_client.keys("users!~*") == []
    assert store.get_or_load_many(["a", "b"], lambda _: {"a": 1}) == {"a": 1}
    assert redis_client.keys("users!~*") == []
    assert make().get_or_load_many(["b"], upper) == {"b": "B"}


def test_a_layer_that_gives_no_leases_costs_no_batch_its_values(make: Make, mocker: Any) -> None:
    """Then every process loads for itself."""
    store = make()
    mocker.patch.object(store.layers[1].store, "lease_many", side_effect=ConnectionError)
    assert store.get_or_load_many(["a", "b"], upper, ttl=60.0) == {"a": "A", "b": "B"}
    assert store.layers[1].store.get("a") is not None


def test_who_lost_a_lease_returns_the_values_and_stores_none_of_them(make: Make, redis_client: Any) -> None:
    """A batch that took longer than its leases does not replace what another one has stored since."""
    slow, fast = make(), make()

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        redis_client.delete(*redis_client.keys("users!~*"))
        assert fast.get_or_load_many(["a"], lambda _: {"a": "newer"}, ttl=60.0) == {"a": "newer"}
        return upper(keys)

    assert slow.get_or_load_many(["a", "b"], load, ttl=60.0) == {"a": "A", "b": "B"}
    slow.flush(10)
    assert slow.get("a") == "newer"


# --- refreshing ahead


def test_one_of_a_fleet_refreshes_and_the_others_take_its_value_over(make: Make, virtual_clock: VirtualClock) -> None:
    """Everybody goes on getting the old value until the new one is there, which is loaded once."""
    policy = LoadPolicy(lease=30.0, refresh_ahead=6.0)
    stores = [make(loads=policy, clock=virtual_clock) for _ in range(3)]
    stores[0].layers[1].store.set("a", "old", 5.0)
    loads: list[str] = []
    gate = Gate()

    def load(key: str) -> str:
        loads.append(key)
        gate()
        return "new"

    def ask(store: DelegatedStore[Any]) -> Any:
        return store.get_or_load("a", load, ttl=60.0)

    assert ask(stores[0]) == "old" and gate.reached.wait(10)
    for store in stores[1:]:
        for _ in range(3):  # it is left alone for a moment: not every read asks Redis whether it has been made
            assert ask(store) == "old"
            settled(store)
        assert store.stats().refreshes == 1
    gate.open()
    settled(stores[0])
    virtual_clock.advance(0.1)
    for store in stores[1:]:
        assert ask(store) == "old"
        settled(store)
    assert [store.get("a") for store in stores] == ["new"] * 3 and loads == ["a"]
    assert [store.layers[0].store.get("a") is not None for store in stores] == [True] * 3


def test_a_refresh_gives_its_lease_back(make: Make, redis_client: Any) -> None:
    """Made or failed."""
    store = make(loads=LoadPolicy(lease=30.0, refresh_ahead=6.0))
    for answer in (BrokenError("source"), "new"):
        store.set("a", "old", ttl=5.0)

        def load(_: str, answer: Any = answer) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert store.get_or_load("a", load, ttl=60.0) == "old"
        settled(store)
        assert redis_client.exists("users!~a") == 0
    assert store.get("a") == "new"


def test_what_is_in_doubt_is_not_taken_for_newer(make: Make) -> None:
    """A value that a write could not reach in Redis does not come back by a refresh that finds it there."""
    store = make(loads=LoadPolicy(lease=30.0, refresh_ahead=6.0))
    memory, shared = (layer.store for layer in store.layers)
    shared.set("a", "older", 500.0)
    memory.set("a", "written", 5.0)
    store._stack.rungs[1].doubts.add(("a",))
    assert store.get_or_load("a", lambda _: "new", ttl=60.0) == "written"
    settled(store)
    assert store.get("a") == "new"


def test_without_leases_of_many_every_process_refreshes(make: Make) -> None:
    """A layer that cannot tell a value about to end gives no leases for refreshing."""
    stores = [make(OneByOne, loads=LoadPolicy(lease=30.0, refresh_ahead=6.0)) for _ in range(2)]
    loads: list[str] = []

    def load(key: str) -> int:
        loads.append(key)
        return len(loads)

    for number, store in enumerate(stores, 1):
        store.layers[0].store.set("a", "old", 5.0)
        assert store.get_or_load("a", load, ttl=60.0) == "old"
        settled(store)
        assert store.get("a") == number
