"""Leases: a fleet loads a key once, nobody waits past the time there is, and who has lost a lease fills nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stores.fakes import Gate, in_threads
from wellwired.errors import NotFound
from wellwired.stores import DelegatedStore, Entry, Layer, Leases, LeasesMany, LoadPolicy, MemoryStore
from wellwired.stores.redis import RedisStore

ROOT = Path(__file__).parents[2]
LEASED = LoadPolicy(lease=30.0)
only_real = pytest.mark.parametrize("redis_url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
Make = Callable[..., DelegatedStore[Any]]


@pytest.fixture
def cache(redis_client: Any) -> RedisStore:
    """A Redis store in an empty Redis."""
    return RedisStore(redis_client, namespace="users")


@pytest.fixture
def make(redis_client: Any) -> Any:
    """Makes a store as another process of the fleet would have it: a memory of its own over the shared Redis."""
    made: list[DelegatedStore[Any]] = []

    def make(**options: Any) -> DelegatedStore[Any]:
        layers = [Layer(MemoryStore()), Layer(RedisStore(redis_client, namespace="users"))]
        made.append(DelegatedStore(layers, **{"loads": LEASED, **options}))
        return made[-1]

    yield make
    for store in made:
        store.close()


# --- the layer's part


def test_one_is_granted_and_the_others_are_not(cache: RedisStore) -> None:
    """Until it is given back, or what it stored is there."""
    assert isinstance(cache, Leases)
    granted, entry, token = cache.lease("a", 30.0)
    assert (granted, entry) == (True, None)
    assert cache.lease("a", 30.0)[:2] == (False, None) and cache.lease("b", 30.0)[0] is True
    assert cache.fill("a", Entry("loaded", 50.0), token) is True
    granted, entry, _ = cache.lease("a", 30.0)
    assert granted is False and entry is not None and entry.value == "loaded"
    cache.release("a", token)
    cache.delete("a")
    assert cache.lease("a", 30.0)[0] is True


def test_a_lease_ends_by_itself_and_cannot_be_given_back_by_another(cache: RedisStore, redis_client: Any) -> None:
    """Who held it before fills nothing, and takes nobody else's away."""
    _, _, old = cache.lease("a", 30.0)
    redis_client.delete("users!~a")  # its time has passed
    granted, _, new = cache.lease("a", 30.0)
    assert granted is True
    cache.release("a", old)
    assert cache.fill("a", Entry("old"), old) is False and cache.get("a") is None
    assert cache.lease("a", 30.0)[0] is False
    assert cache.fill_many({"a": (Entry("new"), new)}) == ["a"] and cache.get("a") == Entry("new")
    assert cache.fill("a", Entry("old"), old) is False and cache.get("a") == Entry("new")


def test_a_lease_is_no_way_around_a_fence(cache: RedisStore) -> None:
    """A write, a clear or an invalidation during the load wins, lease or not."""
    for overtake in (lambda: cache.set("a", "set"), lambda: cache.delete("a"), cache.clear):
        cache.delete("a")
        granted, _, token = cache.lease("a", 30.0)
        assert granted is True
        overtake()
        assert cache.fill("a", Entry("loaded"), token) is False
        cache.release("a", token)
    _, _, token = cache.lease("b", 30.0)
    cache.invalidate_tags(["t"])
    assert cache.fill("b", Entry("loaded", tags=("t",)), token) is False


def test_what_cannot_be_read_is_loaded_anew(cache: RedisStore, redis_client: Any) -> None:
    """Damage under the key does not keep the fleet from loading it, and neither does a value whose tag is gone."""
    cache.set("a", "good")
    redis_client.set("users:a", redis_client.get("users:a")[:-1] + b"x")
    assert cache.lease("a", 30.0)[:2] == (True, None)
    cache.set_many({"b": Entry("tagged", tags=("t",))})
    cache.invalidate_tags(["t"])
    assert cache.lease("b", 30.0)[:2] == (True, None)
    cache.set_many({key: Entry("tagged", tags=("t",)) for key in ("c", "d")})
    cache.set("good", 1)
    cache.invalidate_tags(["t"])
    answers = cache.lease_many(["c", "good", "d"], 30.0)
    assert [answers[key][0] for key in ("c", "good", "d")] == [True, False, True] and answers["good"][1] == Entry(1)


def test_a_lease_lasts_as_long_as_it_says(cache: RedisStore, redis_client: Any) -> None:
    """The server ends it."""
    cache.lease("a", 12.5)
    assert 10_000 < redis_client.pttl("users!~a") <= 12_500


def test_many_leases_are_taken_at_once(cache: RedisStore) -> None:
    """Each key for itself: one that is there is given, one that somebody else loads is not, and the rest is granted."""
    assert isinstance(cache, LeasesMany)
    cache.set("there", 1)
    cache.lease("taken", 30.0)
    answers = cache.lease_many(["a", "there", "taken", "b"], 30.0)
    assert {key: answer[0] for key, answer in answers.items()} == {"a": True, "there": False, "taken": False, "b": True}
    assert answers["there"][1] == Entry(1) and [answers[key][1] for key in ("a", "taken", "b")] == [None] * 3
    offers = {key: (Entry(key.upper()), answers[key][2]) for key in ("a", "b")}
    assert sorted(cache.fill_many(offers)) == ["a", "b"] and cache.get("b") == Entry("B")
    cache.release_many({key: token for key, (_, _, token) in answers.items()})
    cache.delete_many(["a", "b"])
    assert {key: answer[0] for key, answer in cache.lease_many(["a", "b", "taken"], 30.0).items()} == {
        "a": True,
        "b": True,
        "taken": False,
    }
    assert cache.lease_many([], 30.0) == {}


def test_more_leases_than_fit_into_one_script(cache: RedisStore) -> None:
    """They are taken, filled and given back in several."""
    keys = [f"k{number}" for number in range(300)]
    answers = cache.lease_many(keys, 30.0)
    assert [answers[key][0] for key in keys] == [True] * 300
    assert len(cache.fill_many({key: (Entry(key), answers[key][2]) for key in keys})) == 300
    cache.release_many({key: answers[key][2] for key in keys})
    assert len(cache.get_many(keys)) == 300 and cache._client.keys("users!~*") == []


def test_one_lost_lease_of_many_costs_one_fill(cache: RedisStore, redis_client: Any) -> None:
    """The others' fills are let in, and what another holder stored stays."""
    answers = cache.lease_many(["a", "b"], 30.0)
    redis_client.delete("users!~a")
    other = cache.lease("a", 30.0)
    assert cache.fill("a", Entry("newer"), other[2]) is True
    assert cache.fill_many({key: (Entry("older"), answers[key][2]) for key in ("a", "b")}) == ["b"]
    assert cache.get("a") == Entry("newer") and cache.get("b") == Entry("older")


def test_a_value_about_to_end_counts_as_gone_for_who_says_so(cache: RedisStore) -> None:
    """With so many seconds ahead its lease is granted; a value with more of them left is given instead."""
    cache.set("a", "old", 5.0)
    assert cache.lease_many(["a"], 30.0)["a"][1] is not None
    granted, entry, token = cache.lease_many(["a"], 30.0, 6.0)["a"]
    assert (granted, entry) == (True, None)
    assert cache.lease_many(["a"], 30.0, 6.0)["a"][:2] == (False, None)
    cache.release("a", token)
    cache.set("a", "new", 50.0)
    granted, entry, _ = cache.lease_many(["a"], 30.0, 6.0)["a"]
    assert granted is False and entry is not None and entry.value == "new"
    cache.set("a", "for ever")
    assert cache.lease_many(["a"], 30.0, 6.0)["a"][1] == Entry("for ever")


# --- the store's part


def test_a_fleet_loads_once(make: Make) -> None:
    """Of six stores over one Redis one loads; the others wait and get what it stored."""
    loads: list[str] = []
    gate = threading.Event()
    stores = [make() for _ in range(6)]

    def load(key: str) -> str:
        loads.append(key)
        assert gate.wait(10)
        return "loaded"

    def let_go() -> None:
        deadline = time.monotonic() + 10
        while sum([store._endpoint.loads.leasing.waited for store in stores]) < 5 and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        gate.set()

    answers = in_threads(let_go, *[lambda store=store: store.get_or_load("a", load, ttl=60.0) for store in stores])
    assert answers[1:] == ["loaded"] * 6 and loads == ["a"]
    assert [store.layers[0].store.get("a") is not None for store in stores] == [True] * 6


def test_a_load_that_failed_lets_the_next_one_try(make: Make, redis_client: Any) -> None:
    """Its lease is given back at once, and so is that of one who found that there is nothing."""
    store, other = make(), make()
    with pytest.raises(ZeroDivisionError):
        store.get_or_load("a", lambda _: 1 / 0)
    with pytest.raises(NotFound):
        store.get_or_load("a", _nothing)
    assert redis_client.exists("users!~a") == 0
    assert other.get_or_load("a", lambda _: 7) == 7 and redis_client.exists("users!~a") == 0


def _nothing(key: str) -> Any:
    raise NotFound(key)


def test_who_lost_the_lease_returns_the_value_and_stores_it_nowhere(make: Make, redis_client: Any) -> None:
    """A load that took longer than its lease does not replace what another one has stored since."""
    slow, fast = make(), make()

    def load(key: str) -> str:
        redis_client.delete("users!~a")  # the lease ends during the load
        assert fast.get_or_load("a", lambda _: "newer", ttl=60.0) == "newer"
        return "older"

    assert slow.get_or_load("a", load, ttl=60.0) == "older"
    slow.flush(10)
    assert slow.layers[0].store.get("a") is None and slow.get("a") == "newer"


def test_who_waited_in_vain_loads_for_itself(make: Make) -> None:
    """Nobody waits for longer than the patience; then the value is the caller's, and Redis is left alone."""
    holder, waiter = make(), make(patience=0.2)
    gate = Gate()

    def load(key: str) -> str:
        gate()
        return "holder's"

    def wait() -> Any:
        assert gate.reached.wait(10)
        own = waiter.get_or_load("a", lambda _: "own", ttl=60.0)
        gate.open()
        return own

    assert in_threads(lambda: holder.get_or_load("a", load, ttl=60.0), wait) == ["holder's", "own"]
    entry = holder.layers[1].store.get("a")
    assert entry is not None and entry.value == "holder's"


def test_a_deadline_is_kept_while_somebody_else_loads(make: Make) -> None:
    """The caller is answered in time, whatever holds the lease."""
    holder, waiter = make(), make()
    shared = holder.layers[1].store
    assert isinstance(shared, RedisStore)
    _, _, token = shared.lease("a", 30.0)
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        waiter.get_or_load("a", lambda _: "own", deadline=0.2)
    assert time.monotonic() - before < 5.0
    shared.release("a", token)


def test_without_an_answer_everybody_loads_for_themselves(make: Make, mocker: Any) -> None:
    """A layer that fails to give leases costs no caller its value."""
    store = make()
    mocker.patch.object(store.layers[1].store, "lease", side_effect=ConnectionError)
    assert store.get_or_load("a", lambda _: 7, ttl=60.0) == 7


def test_without_leases_nobody_waits(make: Make, redis_client: Any) -> None:
    """They are for who asks for them."""
    make(loads=LoadPolicy()).get_or_load("a", lambda _: 7)
    assert redis_client.keys("users!~*") == []


PROCESS = """
import sys, time, redis
from wellwired.stores import DelegatedStore, Layer, LoadPolicy, MemoryStore
from wellwired.stores.redis import RedisStore
client = redis.Redis.from_url(sys.argv[1])
layers = [Layer(MemoryStore()), Layer(RedisStore(client, namespace="users"))]
store = DelegatedStore(layers, loads=LoadPolicy(lease=30.0))
def load(key):
    client.incr("loads")
    time.sleep(0.05)
    return key.upper()
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    assert store.get_or_load(f"k{number}", load, ttl=60.0) == f"K{number}"
store.close()
client.close()
"""


@only_real
def test_processes_load_each_key_once(redis_client: Any, redis_url: str) -> None:
    """Two processes that ask for the same twenty keys at once load each of them once."""
    command = [sys.executable, "-c", PROCESS, redis_url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 2
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(50) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert int(redis_client.get("loads")) == 20
