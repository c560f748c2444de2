"""The wire: the short way is taken only by a client that would do nothing more on the long one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from wellwired.stores._redis_wire import wire
from wellwired.stores.redis import RedisStore

BlockingPool: Any = redis_py.BlockingConnectionPool


def takes_the_long_way(client: Any) -> bool:
    """Whether commands go through the client's own `execute_command`."""
    return getattr(wire(client), "__name__", "") != "send"


class Traced(redis_py.Redis):
    """A client whose every command somebody watches."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Does what the parent does."""
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


class NotARedis:
    """Something with the one method that is needed."""

    def execute_command(self, *parts: Any) -> Any:
        """Answers with what it was given."""
        return parts


@pytest.mark.parametrize(
    "make",
    [
        lambda: redis_py.Redis.from_url("redis://127.0.0.1:1/0"),
        lambda: redis_py.Redis(retry=Retry(NoBackoff(), 0)),
        lambda: redis_py.Redis(connection_pool=BlockingPool(max_connections=2)),
    ],
)
def test_a_plain_client_takes_the_short_way(make: Callable[[], Any]) -> None:
    """A client without retries, tracing and caching has nothing to add."""
    assert takes_the_long_way(make()) is False


@pytest.mark.parametrize(
    "make",
    [
        redis_py.Redis,  # redis-py's default: ten retries
        lambda: redis_py.Redis(retry=Retry(NoBackoff(), 1)),
        lambda: redis_py.Redis.from_url("redis://127.0.0.1:1/0", retry_on_timeout=True),
        lambda: redis_py.Redis.from_url("redis://127.0.0.1:1/0", retry_on_error=[ValueError]),
        lambda: Traced.from_url("redis://127.0.0.1:1/0"),
        NotARedis,
    ],
)
def test_a_client_that_does_more_is_asked_to(make: Callable[[], Any]) -> None:
    """What the client was configured to do for each command is done."""
    assert takes_the_long_way(make()) is True


def test_a_client_that_was_patched_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracers replace the method on the class or on the object; either is honoured."""
    client = redis_py.Redis.from_url("redis://127.0.0.1:1/0")
    original: Any = redis_py.Redis.execute_command

    @functools.wraps(original)
    def traced(self: Any, *args: Any, **options: Any) -> Any:
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(redis_py.Redis, "execute_command", traced)
        assert takes_the_long_way(client) is True
    assert takes_the_long_way(client) is False
    monkeypatch.setattr(client, "execute_command", lambda *parts: parts)
    assert takes_the_long_way(client) is True


def test_a_client_with_one_connection_is_asked_to(redis_client: Any) -> None:
    """Its connection is guarded by its own lock."""
    redis_client.connection = redis_client.connection_pool.get_connection()
    try:
        assert takes_the_long_way(redis_client) is True
    finally:
        redis_client.connection_pool.release(redis_client.connection)
        redis_client.connection = None


@pytest.mark.parametrize("redis_url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
def test_the_long_way_leads_to_the_same_place(redis_url: str) -> None:
    """The store does the same by a client that retries."""
    client = Traced.from_url(redis_url)
    store = RedisStore(client, namespace="users")
    store.set("a", [1], 50.0)
    entry, token = store.read("a")
    assert entry is not None and entry.value == [1] and store.delete("a") is True
    assert store.fill("a", entry, token) is False and store.get_many(["a"]) == {}
    client.close()


def test_every_answer_comes_as_bytes(redis_client: Any) -> None:
    """Numbers, lists, nothing and errors arrive as the server sent them."""
    command = wire(redis_client)
    assert command("SET", b"a", "żółw") in (b"OK", "OK", True)
    assert command("GET", b"a") == "żółw".encode() and command("GET", b"b") is None
    assert command("MGET", b"a", b"b") == ["żółw".encode(), None] and command("UNLINK", b"a", b"b") == 1
    with pytest.raises(redis_py.ResponseError):
        command("GET")
    assert command("SET", b"n", 7) and command("GET", b"n") == b"7"


def test_connections_go_back_to_the_pool(redis_client: Any) -> None:
    """After answers and after errors no connection is left behind."""
    command = wire(redis_client)
    for _ in range(20):
        command("GET", b"a")
        with pytest.raises(redis_py.ResponseError):
            command("NOSUCHCOMMAND")
    pool = redis_client.connection_pool
    assert len(pool._in_use_connections) == 0 and len(pool._available_connections) == 1
