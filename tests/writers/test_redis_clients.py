"""Clients of other kinds: refused with the reason, or right; and nothing of redis-py's stretches a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.cluster
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry as RedisRetry
from redis.sentinel import Sentinel

from tests.servers import PrivateServer
from tests.writers.redis_kit import Telling, count_up, write
from wellwired import Application
from wellwired.clock import Deadline
from wellwired.containers import pools, providers
from wellwired.errors import BackendError, Outcome, RegistrationError, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Registry
from wellwired.handlers.redis import set_value
from wellwired.operations import WriteRequest
from wellwired.settings import RedisSettings
from wellwired.writers._redis_clock import Limit, ServerClocks
from wellwired.writers.redis import RedisWriter

ONCE = RedisRetry(NoBackoff(), 0)


# redis-py's own constructors are less typed than it says.
BlockingPool: Any = redis.BlockingConnectionPool


class FoundMaster(Sentinel):
    """A Sentinel that always finds the same primary."""

    place = ("127.0.0.1", 1)

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The primary, without asking anybody."""
        return self.place


def sentinel(**given: Any) -> Any:
    """One whose own clients do not retry, unless said otherwise."""
    kind: Any = FoundMaster
    return kind([("127.0.0.1", 1)], sentinel_kwargs={"retry": ONCE, **given})


class TestRefused:
    """What a writer could not keep its promises with."""

    @pytest.mark.parametrize(
        ("made", "why"),
        [
            (lambda: redis.cluster.RedisCluster.__new__(redis.cluster.RedisCluster), "for a cluster"),
            (redis.asyncio.Redis, "for asyncio"),
            (lambda: redis.Redis(retry=ONCE, cache_config=CacheConfig()), "without cache_config"),
            (redis.Redis, "up to 10 times"),
            (lambda: redis.Redis.from_url("redis://h", retry_on_timeout=True), "up to 1 times"),
            (lambda: redis.Redis.from_url("redis://h", retry_on_error=[redis.TimeoutError]), "up to 1 times"),
            (
                lambda: redis.Redis(connection_pool=BlockingPool(retry=RedisRetry(NoBackoff(), 3))),
                "up to 3 times",
            ),
            (lambda: sentinel().master_for("main", retry=RedisRetry(NoBackoff(), 2)), "up to 2 times"),
            (lambda: sentinel().slave_for("main"), "replicas"),
            (
                lambda: sentinel(retry=RedisRetry(NoBackoff(), 4)).master_for("main"),
                "Sentinels of redis.cache .* 4 times",
            ),
        ],
        ids=["cluster", "asyncio", "cache", "default", "timeout", "error", "blocking", "master", "replica", "sentinel"],
    )
    def test_it_is_refused_with_the_reason(self, made: Callable[[], Any], why: str) -> None:
        """When the writer is made, before anything connects."""
        client = made()
        with pytest.raises(RegistrationError, match=why):
            RedisWriter("redis.cache", client)
        if isinstance(client, redis.asyncio.Redis):
            asyncio.run(client.aclose())


class TestRight:
    """What works like any other."""

    def test_a_pool_that_waits_by_itself_is_not_waited_for(self, real_redis_url: str) -> None:
        """Its patience is 20 seconds for everyone; a write's is its deadline, for every connection that it takes."""
        pool = BlockingPool.from_url(real_redis_url, max_connections=1, timeout=20)
        client = redis.Redis(connection_pool=pool)
        writer = RedisWriter("redis.cache", client)
        assert write(writer, count_up).data == [1, True]
        taken = pool.get_connection()
        began = Deadline.after(0)

        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, count_up, deadline=Deadline.after(0.1))
        pool.release(taken)
        # The handler's pipeline watches on the only connection, and asks for another.
        with pytest.raises(WriteTimeoutError):
            write(
                writer,
                lambda _r, c: [c.pipeline().watch("a"), p := c.pipeline(), p.watch("a"), c.ping()],
                deadline=Deadline.after(0.1),
                uses_client=True,
            )

        assert caught.value.reason == "pool"
        assert Deadline.after(0).at - began.at < 10
        assert write(writer, count_up).data == [2, True]
        pool.disconnect()

    @pytest.mark.redis
    def test_sentinels_primary_is_written_to(self, private_redis: Callable[..., PrivateServer]) -> None:
        """And when it has become a replica its refusal is a refusal: not applied, safe, on to the next primary."""
        old, new = private_redis(), private_redis()
        found = sentinel()
        found.place = ("127.0.0.1", old.port)
        client = found.master_for("main", retry=ONCE)
        writer = RedisWriter("redis.cache", client)
        assert write(writer, count_up).data == [1, True]
        with redis.Redis.from_url(old.url) as admin:
            admin.replicaof("127.0.0.1", str(new.port))
            for fenced in (False, True):
                with pytest.raises(BackendError) as caught:
                    write(writer, count_up, fenced=fenced)
                assert (caught.value.outcome, caught.value.retry, caught.value.backend_code) == (
                    Outcome.NOT_APPLIED,
                    Retry.SAFE,
                    "READONLY",
                )
        found.place = ("127.0.0.1", new.port)

        assert write(writer, count_up).success
        with redis.Redis.from_url(new.url) as admin:
            assert admin.get("n") == b"1"
        client.connection_pool.disconnect()

    @pytest.mark.redis
    def test_a_late_answer_from_sentinels_primary_is_nobody_elses(
        self, private_redis: Callable[..., PrivateServer]
    ) -> None:
        """A connection on which an answer is still to come is broken, and not used again."""
        server = private_redis()
        found = sentinel()
        found.place = ("127.0.0.1", server.port)
        client = found.master_for("main", retry=ONCE)
        writer = RedisWriter("redis.cache", client, commit_grace=0.1)
        write(writer, count_up, fenced=True)
        server.pause()
        with pytest.raises(BackendError):
            write(writer, count_up, fenced=True, deadline=Deadline.after(0.1))
        server.resume()

        assert write(writer, lambda _r, p: p.set("other", 1) and None, fenced=True).data == [True]
        client.connection_pool.disconnect()


@pytest.fixture
def telling() -> Iterator[Callable[..., Telling]]:
    """Makes servers that say what they are told to."""
    with ExitStack() as open_:
        yield lambda answer, **more: open_.enter_context(closing(Telling(answer, **more)))


class TestOwnPools:
    """Pools that are opened from settings, as an application's are."""

    def settings(self, port: int, **given: Any) -> RedisSettings:
        """Settings that give a server more time than a write has."""
        return RedisSettings(url=f"redis://127.0.0.1:{port}/0", socket_timeout=20, pool_timeout=20, **given)  # type: ignore[arg-type]

    def test_a_server_that_does_not_greet_costs_no_more_than_the_deadline(
        self, telling: Callable[..., Telling]
    ) -> None:
        """A connection is made within the time that the write has left; then nothing was sent."""
        silent = telling(lambda _words: b"", greets=False)
        client = pools.open_redis("redis.cache", self.settings(silent.port))
        began = Deadline.after(0)

        with pytest.raises(WriteTimeoutError) as caught:
            write(RedisWriter("redis.cache", client), count_up, deadline=Deadline.after(0.3))

        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert Deadline.after(0).at - began.at < 10
        pools.close_redis(client)

    def test_a_pool_that_is_empty_costs_no_more_than_the_deadline(self, real_redis_url: str) -> None:
        """Nor does a wait for a connection; and the limits of connections are their own again afterwards."""
        settings = RedisSettings(url=real_redis_url, pool_size=1, pool_timeout=20, socket_timeout=20)  # type: ignore[arg-type]
        client: Any = pools.open_redis("redis.cache", settings)
        writer = RedisWriter("redis.cache", client)
        assert write(writer, count_up, deadline=Deadline.after(2)).data == [1, True]
        taken = client.connection_pool.get_connection()
        assert (taken.socket_timeout, taken.socket_connect_timeout, taken._sock.gettimeout()) == (20, 3, 20)
        began = Deadline.after(0)

        with pytest.raises(WriteTimeoutError):
            write(writer, count_up, deadline=Deadline.after(0.1))

        assert Deadline.after(0).at - began.at < 10
        client.connection_pool.release(taken)
        assert write(writer, count_up).data == [2, True]
        pools.close_redis(client)


def test_the_settings_say_whether_there_is_a_fence(real_redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`WELLWIRED__REDIS__CACHE__FENCE` reaches the writer of an application."""
    monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 3600.0))
    put = set_value(type="put")

    class Shop(Application):
        handlers = providers.Singleton(Registry, put)

    for fence, ended in [("true", "NOT_APPLIED"), ("false", "applied")]:
        monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", real_redis_url)
        monkeypatch.setenv("WELLWIRED__REDIS__CACHE__FENCE", fence)
        monkeypatch.setenv("WELLWIRED__LOG__LEVEL", "CRITICAL")
        with Shop() as shop:
            request = WriteRequest("redis.cache", "put", {"key": "a", "value": 1}, timeout=0.3)
            (answer,) = shop.write_manager().write_many([request])
            assert (answer.outcome if isinstance(answer, WriteError) else answer.message) == ended


class TestMaintenance:
    """Notifications of maintenance, with which redis-py gives a server more time."""

    @pytest.mark.parametrize("enabled", ["auto", True])
    def test_they_stretch_no_deadline(self, telling: Callable[..., Telling], enabled: Any) -> None:
        """Announced in the middle of a write: the answer is waited for until the grace, and not ten seconds."""
        announced = threading.Event()

        def answer(words: list[bytes]) -> bytes:
            if words[0] != b"EXEC":
                return b"" if words[0] == b"MULTI" else b"+OK\r\n"
            announced.set()
            return b">3\r\n$9\r\nMIGRATING\r\n:1\r\n:10\r\n"

        client = redis.Redis(
            port=telling(answer).port, retry=ONCE, maint_notifications_config=MaintNotificationsConfig(enabled=enabled)
        )
        writer = RedisWriter("redis.cache", client, commit_grace=0.2)
        began = Deadline.after(0)

        with pytest.raises(BackendError) as caught:
            write(writer, count_up, deadline=Deadline.after(0.3))

        assert announced.is_set()
        assert caught.value.outcome is Outcome.UNKNOWN
        assert Deadline.after(0).at - began.at < 5
        (connection,) = client.connection_pool._available_connections
        assert "update_current_socket_timeout" not in vars(connection)
        client.close()

    def test_the_librarys_own_pools_have_none(self) -> None:
        """A client that is opened from settings asks for no notifications and does not retry."""
        settings = RedisSettings(url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
        client = pools.open_redis("redis.cache", settings)
        pool: Any = client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)

        assert not pool.maint_notifications_enabled()
        assert not connection.maint_notifications_config
        assert connection.retry.get_retries() == 0
        assert RedisWriter("redis.cache", client).name == "redis.cache"
        pools.close_redis(client)
