"""Tests of Redis clients: options, waits, no hidden retries, and servers inside the process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import pytest
import redis
from redis.exceptions import MaxConnectionsError

from wellwired.containers import pools
from wellwired.errors import MissingExtraError
from wellwired.settings import RedisSettings

Open = Callable[..., redis.Redis]


@pytest.fixture
def open_redis() -> Iterator[Open]:
    """Opens clients, and closes them after the test."""
    opened: list[redis.Redis] = []

    def open_one(url: str, servers: pools.EmbeddedServers | None = None, **options: Any) -> redis.Redis:
        settings = RedisSettings.model_validate({"url": url, **options})
        opened.append(pools.open_redis("redis.cache", settings, servers=servers))
        return opened[-1]

    yield open_one
    for client in opened:
        pools.close_redis(client)


def test_a_client_answers(open_redis: Open, redis_url: str) -> None:
    """In process and on a real server: pinged, used, scripted in Lua, closed, and usable again."""
    client = open_redis(redis_url)
    pools.ping_redis(client)
    assert client.set("key", "1") and client.get("key") == b"1"
    assert client.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "key", 4) == 5
    with client.pipeline() as pipe:
        pipe.set("other", 1)
        pipe.get("key")
        assert pipe.execute() == [True, b"5"]
    pools.close_redis(client)
    assert client.get("key") == b"5"


@pytest.mark.parametrize(
    "url", ["redis://nowhere.invalid:1/0", "REDISS://nowhere.invalid", "unix:///nowhere.sock", "memory://"]
)
def test_nothing_connects_when_a_client_is_opened(url: str, open_redis: Open) -> None:
    """A server that does not exist is no obstacle yet."""
    assert isinstance(open_redis(url), redis.Redis)


def test_options_reach_the_connections(open_redis: Open) -> None:
    """Sizes, times, names, the logical database and the password."""
    client = open_redis(
        "redis://ada:p%40ss@h:7/3",
        pool_size=4,
        pool_timeout=0.5,
        connect_timeout=1.5,
        socket_timeout=2.5,
        health_check_interval=7,
        client_name="shop",
    )
    pool: Any = client.connection_pool
    connection = pool.make_connection()
    assert (pool.max_connections, pool.timeout, connection.host, connection.port, connection.db) == (4, 0.5, "h", 7, 3)
    assert (connection.socket_connect_timeout, connection.socket_timeout) == (1.5, 2.5)
    assert (connection.health_check_interval, connection.client_name) == (7, "shop")
    assert (connection.username, connection.password, connection.socket_keepalive) == ("ada", "p@ss", True)
    assert "p@ss" not in repr(client)


def test_a_socket_file_is_no_tcp(open_redis: Open) -> None:
    """What only TCP has is left out."""
    connection: Any = open_redis("unix:///run/redis.sock?db=2").connection_pool.make_connection()
    assert (connection.path, connection.db, connection.socket_timeout) == ("/run/redis.sock", 2, 5.0)


def _answer(command: bytes) -> bytes:
    if b"INCR" in command:
        return b""
    if b"HELLO" in command:
        return b"%1\r\n$5\r\nproto\r\n:3\r\n"
    return b"+PONG\r\n" if b"PING" in command else b"+OK\r\n"


@pytest.fixture
def deaf_server() -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers the greeting, reads everything, and never answers INCR."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    heard.append(data)
                    connection.sendall(b"".join(_answer(command) for command in data.split(b"*")[1:]))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_command_is_sent_once(open_redis: Open, deaf_server: tuple[int, list[bytes]]) -> None:
    """A server that does not answer is not asked again: redis-py by itself would send the command eleven times."""
    port, heard = deaf_server
    client = open_redis(f"redis://127.0.0.1:{port}", socket_timeout=0.1)
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    assert sum(data.count(b"INCR") for data in heard) == 1


def test_nothing_stretches_the_timeouts(open_redis: Open) -> None:
    """Maintenance notifications, which relax them, are off."""
    pool: Any = open_redis("redis://h").connection_pool
    assert pool.make_connection().retry._retries == 0
    assert not pool.maint_notifications_enabled()


def test_an_exhausted_pool_says_so_in_time(open_redis: Open, redis_url: str) -> None:
    """The error says that nothing was sent, and what to change; a connection that comes back is taken."""
    client = open_redis(redis_url, pool_size=1, pool_timeout=0.05)
    held = client.connection_pool.get_connection()
    with pytest.raises(MaxConnectionsError, match=r"within 0\.05 s; raise POOL_SIZE"):
        pools.ping_redis(client)
    client.connection_pool.release(held)
    pools.ping_redis(client)


def test_threads_share_the_pool(open_redis: Open, redis_url: str) -> None:
    """Many threads, few connections, every command answered."""
    client = open_redis(redis_url, pool_size=3)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: client.incr("n"), range(120)))
    assert sorted(answers) == list(range(1, 121))
    assert len(client.connection_pool._connections) <= 3  # type: ignore[attr-defined]


def test_every_client_in_memory_has_a_server_of_its_own(open_redis: Open) -> None:
    """Two containers do not meet, whatever their URLs are called."""
    one, two = open_redis("memory://shared"), open_redis("memory://shared")
    one.set("key", 1)
    assert two.get("key") is None


def test_clients_of_one_container_share_servers_by_name(open_redis: Open) -> None:
    """The same name, or the same name in the URL, is the same server; another name is another."""
    servers, elsewhere = pools.EmbeddedServers(), pools.EmbeddedServers()
    open_redis("memory://", servers).set("key", 1)
    open_redis("memory://other", servers).set("key", 2)
    assert open_redis("memory://", servers).get("key") == b"1"
    assert open_redis("memory://other", servers).get("key") == b"2"
    assert open_redis("memory://", elsewhere).get("key") is None


def test_a_server_in_memory_outlives_a_closed_pool(open_redis: Open) -> None:
    """Closing a client closes connections, not the server, as with a real one."""
    client = open_redis("memory://")
    client.set("key", 1)
    pools.close_redis(client)
    assert client.get("key") == b"1"


@pytest.mark.parametrize("module", ["fakeredis", "lupa"])
def test_a_missing_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """memory:// needs fakeredis, with Lua."""
    settings = RedisSettings.model_validate({"url": "memory://"})
    monkeypatch.setattr(pools, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"redis\.cache needs fakeredis\[lua\].*wellwired\[embedded\]"):
        pools.open_redis("redis.cache", settings)


def test_an_older_redis_py_has_no_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where redis-py does not know them there is nothing to turn off."""
    import sys

    from wellwired.containers import _redis_clients

    monkeypatch.setitem(sys.modules, "redis.maint_notifications", None)
    assert _redis_clients._no_notifications() == {}
