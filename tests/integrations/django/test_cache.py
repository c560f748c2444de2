"""Django's cache on a store of the container: what it shares, what it waits for, and what it refuses."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.core.cache import InvalidCacheBackendError, caches
from django.core.signals import request_finished
from django.test import override_settings

from tests.integrations.django.caches import cache_on, redis_layer
from tests.servers import PrivateServer
from wellwired import Application, providers
from wellwired.errors import StateError, StoreTimeoutError, UnknownProviderError
from wellwired.integrations.django import container
from wellwired.integrations.django.cache import StoreCache
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.signing import Signer

BACKEND = "wellwired.integrations.django.cache.StoreCache"


def chosen(**stores: str) -> dict[str, Any]:
    """Settings of a project whose caches are stores of its container."""
    names = stores or {"default": "stores.cache"}
    return {
        "WELLWIRED": {"CONTAINER": Application},
        "CACHES": {alias: {"BACKEND": BACKEND, "LOCATION": place} for alias, place in names.items()},
    }


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project with two stores in memory."""
    monkeypatch.setenv("WELLWIRED__STORES__CACHE__LAYERS", "memory!")
    monkeypatch.setenv("WELLWIRED__STORES__OTHER__LAYERS", "memory!")
    with override_settings(**chosen(default="stores.cache", other="stores.other")):
        yield


@pytest.fixture
def memory() -> Iterator[StoreCache]:
    """A cache over one layer of memory."""
    with DelegatedStore[Any]([MemoryStore()], name="stores.memory") as store:
        yield cache_on(store)


class TestInAProject:
    """Backends of the setting CACHES."""

    def test_making_a_backend_starts_nothing(self, project: None) -> None:
        """The container starts at the first use of a cache."""
        cache = caches["default"]
        assert "stores.cache" in repr(cache) and not container(start=False).started
        cache.set("key", 1)
        assert container(start=False).started and container().stores["cache"]().get(":1:key") == 1

    def test_each_alias_has_its_own_store(self, project: None) -> None:
        """Clearing one leaves the other alone."""
        caches["default"].set("key", 1)
        caches["other"].set("key", 2)
        caches["default"].clear()
        assert caches["default"].get("key") is None and caches["other"].get("key") == 2

    def test_threads_have_views_of_one_store(self, project: None) -> None:
        """Django makes a backend for each thread; what one stores all of them find."""
        caches["default"].set("key", "shared")
        barrier = threading.Barrier(4)

        def look(_: int) -> tuple[int, Any, int]:
            barrier.wait()
            cache: Any = caches["default"]
            return id(cache), cache.get("key"), id(cache.store)

        with ThreadPoolExecutor(4) as threads:
            seen = list(threads.map(look, range(4)))
        assert {value for _, value, _ in seen} == {"shared"} and len({store for *_, store in seen}) == 1
        assert id(caches["default"]) not in {view for view, *_ in seen}

    def test_the_end_of_a_request_closes_nothing(self, project: None) -> None:
        """Django closes every backend then; the pool is everybody's."""
        cache: Any = caches["default"]
        cache.set("key", 1)
        request_finished.send(sender=type(self))
        assert cache.store is container().stores["cache"]() and caches["default"].get("key") == 1

    def test_a_test_puts_another_store_in_its_place(self, project: None) -> None:
        """By its id; backends that are there already see it, and see the old one again."""
        cache = caches["default"]
        cache.set("key", "real")
        with DelegatedStore[Any]([MemoryStore()]) as fake:
            with container().overriding({"stores.cache": fake}):
                assert cache.get("key") is None
                cache.set("key", "fake")
            assert fake.get(":1:key") == pickle.dumps("fake", 5)
        assert cache.get("key") == "real"

    def test_another_container_is_found(self, project: None) -> None:
        """After a change of the settings no backend holds on to the container of before."""
        cache: Any = caches["default"]
        cache.set("key", 1)
        with override_settings(WELLWIRED={"CONTAINER": Application}):
            assert cache.get("key") is None
            cache.set("key", 2)
            assert cache.store is container().stores["cache"]()
        assert cache.get("key") != 2 and cache.store is container().stores["cache"]()

    @pytest.mark.parametrize(("place", "error"), [("stores.cahce", UnknownProviderError), ("metrics", StateError)])
    def test_a_store_that_is_none_is_named(self, project: None, place: str, error: type[Exception]) -> None:
        """At the first use, with what the container has instead."""
        with (
            override_settings(**chosen(default=place)),
            pytest.raises(error, match=r"did you mean 'cache'|needs a layered store"),
        ):
            caches["default"].get("key")

    @pytest.mark.parametrize(
        ("params", "told"),
        [
            ({"OPTIONS": {"MAX_ENTRIES": 1000}}, "MAX_ENTRIES: the capacity of the store's memory layer"),
            ({"OPTIONS": {"CULL_FREQUENCY": 2}}, "CULL_FREQUENCY: a memory layer"),
            ({"OPTIONS": {"serializer": "x.Y"}}, "serializer: unknown"),
            ({"max_entries": 5}, "max_entries: the capacity"),
        ],
    )
    def test_options_of_other_backends_are_refused(self, params: dict[str, Any], told: str) -> None:
        """What is ignored would look as if it held; the text says where it belongs."""
        with pytest.raises(InvalidCacheBackendError, match=told):
            StoreCache("stores.cache", params).get("key")

    def test_a_location_is_needed(self) -> None:
        """The text shows one."""
        with pytest.raises(InvalidCacheBackendError, match=r'LOCATION: "stores\.cache"'):
            StoreCache("", {}).set("key", 1)


class Refusing(Executor):
    """Threads that nobody may ask for."""

    def submit(self, *_: Any, **__: Any) -> Any:
        """Complains."""
        raise AssertionError("a thread was asked for")


class TestTwins:
    """What asynchronous code gets beyond the contract."""

    def test_what_lies_in_memory_needs_no_thread(self, project: None) -> None:
        """One key, many, and whether it is there; a miss asks one."""
        caches["default"].set_many({"a": 1, "b": None})

        async def reads() -> list[Any]:
            loop = asyncio.get_running_loop()
            # Not `set_default_executor`, which takes none but real threads.
            loop._default_executor = Refusing()  # type: ignore[attr-defined]
            cache = caches["default"]
            found = [await cache.aget("a"), await cache.aget_many(["a", "b"]), await cache.ahas_key("b")]
            found.append(await cache.aget_or_set("a", 3))
            with pytest.raises(AssertionError, match="a thread was asked for"):
                await cache.aget("missing")
            loop._default_executor = None  # type: ignore[attr-defined]
            return found

        assert asyncio.run(reads()) == [1, {"a": 1, "b": None}, True, 1]

    def test_the_first_use_of_a_process_waits_in_a_thread(self, project: None) -> None:
        """Starting a container may take its time, which is none of the event loop's."""
        opened: list[int] = []

        class Noting(Application):
            pool = providers.Resource(lambda: opened.append(threading.get_ident()))

        async def first() -> None:
            assert await caches["default"].aget("key", "nothing") == "nothing"

        with override_settings(WELLWIRED={"CONTAINER": Noting}):
            asyncio.run(first())
        assert len(opened) == 1 and opened != [threading.get_ident()]

    @pytest.mark.redis
    def test_no_count_is_lost(self, real_redis_url: str) -> None:
        """Of many tasks that count at once, which Django's own twin of `incr` loses; the life stays."""
        with DelegatedStore[Any]([Layer(MemoryStore(), ttl=5), redis_layer(real_redis_url)]) as store:
            cache = cache_on(store)
            cache.set("n", 0, 1000)

            async def count() -> None:
                await asyncio.gather(*[cache.aincr("n") for _ in range(40)], *[cache.adecr("n") for _ in range(10)])

            asyncio.run(count())
            assert cache.get("n") == 30
            entry = store.layers[1].store.get(":1:n")
            assert entry is not None and entry.left == pytest.approx(1000, abs=5)

    def test_a_default_is_made_where_other_synchronous_code_runs(self, memory: StoreCache) -> None:
        """So that one which asks the ORM uses the connections of the request."""
        from asgiref.sync import sync_to_async

        async def both() -> tuple[int, int]:
            return (
                await memory.aget_or_set("key", threading.get_ident),
                await sync_to_async(threading.get_ident, thread_sensitive=True)(),
            )

        made, others = asyncio.run(both())
        assert made == others


class TestAtomicity:
    """What threads and processes do to one key at once."""

    @pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
    def cache(self, request: pytest.FixtureRequest, fresh_redis: Callable[[str], str]) -> Iterator[StoreCache]:
        """A cache over memory, or over memory and Redis."""
        layers = [Layer(MemoryStore())]
        if request.param == "redis":
            layers.append(redis_layer(fresh_redis("redis")))
        with DelegatedStore[Any](layers) as store:
            yield cache_on(store)

    def test_threads_lose_no_count(self, cache: StoreCache) -> None:
        """Eight threads, four hundred counts."""
        cache.set("n", 0)
        with ThreadPoolExecutor(8) as threads:
            totals = list(threads.map(lambda _: cache.incr("n"), range(400)))
        assert cache.get("n") == 400 and sorted(totals) == list(range(1, 401))

    def test_one_of_many_adds(self, cache: StoreCache) -> None:
        """A lock of an `add` has one owner."""
        with ThreadPoolExecutor(8) as threads:
            added = list(threads.map(lambda number: cache.add("lock", number), range(64)))
        assert added.count(True) == 1 and cache.get("lock") == added.index(True)

    def test_a_default_is_made_once(self, cache: StoreCache) -> None:
        """By the threads that miss it together; the others wait for it."""
        calls: list[int] = []
        together = threading.Barrier(8)

        def default() -> list[str]:
            calls.append(1)
            return ["made"]

        def ask(_: int) -> Any:
            together.wait()
            return cache.get_or_set("key", default)

        with ThreadPoolExecutor(8) as threads:
            values = list(threads.map(ask, range(8)))
        assert values == [["made"]] * 8 and len(calls) == 1
        values[0].append("changed")
        assert values[1] == ["made"]

    def test_nobody_waits_for_another_for_ever(self) -> None:
        """Who has waited for as long as the store has patience makes the value for itself."""
        leading, done = threading.Event(), threading.Event()

        def slow() -> str:
            leading.set()
            assert done.wait(20)
            return "slow"

        with DelegatedStore[Any]([MemoryStore()], patience=0.02) as store, ThreadPoolExecutor(1) as threads:
            cache = cache_on(store)
            first = threads.submit(cache.get_or_set, "key", slow)
            assert leading.wait(20)
            assert cache.get_or_set("key", lambda: "quick") == "quick" and not cache.has_key("key")
            done.set()
            assert first.result() == "slow" == cache.get("key")

    def test_what_the_default_is_out_of_time_for_is_raised(self, cache: StoreCache) -> None:
        """It is called no second time."""
        calls: list[int] = []

        def default() -> None:
            calls.append(1)
            raise StoreTimeoutError("of another store")

        with pytest.raises(StoreTimeoutError, match="of another store"):
            cache.get_or_set("key", default)
        assert calls == [1]


@pytest.mark.redis
class TestRoundTrips:
    """What many keys cost."""

    @pytest.fixture
    def server(self, private_redis: Callable[..., PrivateServer]) -> redis.Redis:
        """A client of a server that nobody else uses."""
        return redis.Redis.from_url(private_redis().url)

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_many_keys_are_one_command(self, server: redis.Redis, asynchronous: bool) -> None:
        """A hundred keys are set, read and removed by one command each, plus the first look at the namespace."""
        with DelegatedStore[Any]([Layer(RedisStore(server, namespace="cache"))]) as store:
            cache = cache_on(store)
            values = {f"key{number}": [number] for number in range(100)}
            cache.set("warm", 1)

            def spent(work: Callable[[], Any]) -> int:
                server.config_resetstat()
                work()
                stats: Any = server.info("commandstats")
                ours = {name.partition("_")[2].partition("|")[0] for name in stats} - {"config", "info"}
                return sum(stats[f"cmdstat_{name}"]["calls"] for name in ours & {"mget", "evalsha", "eval"})

            def twin(name: str, *args: Any) -> Callable[[], Any]:
                if asynchronous:
                    return lambda: asyncio.run(getattr(cache, f"a{name}")(*args))
                return lambda: getattr(cache, name)(*args)

            found: list[Any] = []
            assert spent(twin("set_many", values)) <= 2
            assert spent(lambda: found.append(twin("get_many", list(values))())) == 1
            assert found == [values]
            assert spent(twin("delete_many", list(values))) <= 2
            assert cache.get_many(values) == {}
        server.close()


class Gone:
    """A class that the next version of the program does not have any more."""


class Trap:
    """What somebody who can write to Redis would store: reading it calls a function."""

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    """Tells that it was called."""
    sprung.append(1)


sprung: list[int] = []


class TestWhatCannotBeRead:
    """Values that are damaged, foreign, or of a class that is no more."""

    @pytest.mark.parametrize("packed", [b"", b"\x80\x05garbage", b"cno.such.module\nName\n.", "text", 1.5, [1], None])
    def test_it_is_a_miss(self, memory: StoreCache, packed: Any) -> None:
        """For every method that reads; it is left where it is, and replaced by a set."""
        memory.store.set(":1:key", packed)
        assert memory.get("key", "default") == "default" and memory.get_many(["key"]) == {}
        assert memory.get_or_set("key", lambda: "made") == "made"
        with pytest.raises(ValueError, match="not found"):
            memory.incr("key")
        assert memory.store.get(":1:key") == packed
        memory.set("key", "good")
        assert memory.get("key") == "good"

    def test_a_class_that_is_gone_is_a_miss(self, memory: StoreCache, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker of an older version finds nothing, and a newer one its value again."""
        memory.set("key", Gone())
        with monkeypatch.context() as older:
            older.delattr(f"{__name__}.Gone")
            assert memory.get("key") is None and memory.add("key", 1) is False
        assert isinstance(memory.get("key"), Gone)

    @pytest.mark.redis
    def test_a_signed_store_runs_nothing_that_others_wrote(self, real_redis_url: str) -> None:
        """Without signing keys it does: a pickle is a program, whoever wrote it."""
        client = redis.Redis.from_url(real_redis_url)
        unsigned = RedisStore(client, namespace="cache")
        signed = RedisStore(client, namespace="cache", signer=Signer("a key of sixteen bytes"))
        unsigned.set(":1:key", pickle.dumps(Trap()))
        sprung.clear()
        with DelegatedStore[Any]([signed]) as store:
            assert cache_on(store).get("key", "nothing") == "nothing" and sprung == []
            cache_on(store).set("mine", [1])
            assert cache_on(store).get("mine") == [1]
        unsigned.set(":1:key", pickle.dumps(Trap()))
        with DelegatedStore[Any]([unsigned]) as store:
            cache_on(store).get("key")
        assert sprung == [1]
        client.close()


class TestHowValuesLie:
    """What a store sees of a value."""

    def test_an_int_is_an_int(self, memory: StoreCache) -> None:
        """And a bool, a number that no codec has room for, and everything else is a pickle."""
        memory.set_many({"int": 7, "bool": True, "huge": 2**64, "text": "x"})
        found = memory.store.get_many([":1:int", ":1:bool", ":1:huge", ":1:text"])
        assert found == {
            ":1:int": 7,
            ":1:bool": pickle.dumps(True, 5),
            ":1:huge": pickle.dumps(2**64, 5),
            ":1:text": pickle.dumps("x", 5),
        }

    def test_counting_grows_beyond_what_codecs_have_room_for(self, memory: StoreCache) -> None:
        """And back, and takes parts of numbers as Django's own does."""
        memory.set("n", 2**64 - 1)
        assert memory.incr("n") == 2**64 and memory.decr("n", 2**64) == 0
        memory.set("f", 1.5)
        assert memory.incr("f") == 2.5

    @pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
    def test_no_key_stands_for_another(self, memory: StoreCache) -> None:
        """Not even one that is made to look like the stand-in of a very long one."""
        long = "k" * 2000
        memory.set(long, "long")
        lies = next(iter(memory.store.keys()))
        forged = lies.removeprefix(":1:")
        assert len(lies.encode()) <= 1024 and memory.get(forged) is None
        memory.set(forged, "forged")
        assert memory.get(long) == "long"

    def test_a_subclass_makes_keys_of_its_own(self) -> None:
        """Django's hooks for that are used by all methods."""

        class Own(StoreCache):
            def finder(self, location: str) -> Callable[[], DelegatedStore[Any]]:
                return lambda: store

            def make_key(self, key: Any, version: int | None = None) -> str:
                return f"own/{key}"

            def validate_key(self, key: str) -> None:
                checked.append(key)

        checked: list[str] = []
        with DelegatedStore[Any]([MemoryStore()]) as store:
            Own("stores.own", {}).set("key", 1)
            assert list(store.keys()) == ["own/key"] == checked
