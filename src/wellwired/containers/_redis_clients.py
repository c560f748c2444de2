"""Redis clients and their pool: limited waits, no hidden retries, and a pool that begins anew after a fork.

redis-py would reset an inherited pool in the child, and wait for locks that a thread of the parent may have held at
the moment of the fork. Here a pool becomes a new one instead, and what was inherited is put away for good.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, parse_url
from redis.exceptions import MaxConnectionsError
from redis.retry import Retry

from wellwired.containers._fork import ForkLock, keep_for_ever

if TYPE_CHECKING:
    from wellwired.containers.pools import EmbeddedServers
    from wellwired.settings import RedisSettings

__all__ = ["RedisPool", "make_client", "renew_client"]

Options = dict[str, Any]


class _Places(LifoQueue[Any]):
    """The pool's queue: whoever waits in vain learns that nothing was sent, and what to change.

    `hurry` holds the limits of a thread that has less time than the settings give.
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.hurry = _Hurry()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        timeout = self.hurry.shorter(timeout)
        try:
            connection = super().get(block, timeout)
        except Empty:
            text = f"no connection was free within {timeout} s; raise POOL_SIZE or POOL_TIMEOUT, or hold them shorter"
        else:
            if connection is not None:
                self.hurry.limit(connection)
            return connection
        raise MaxConnectionsError(text)


class _Hurry(threading.local):
    """How much time this thread has for a connection, and the connections whose limits were lowered for it."""

    within: float | None = None

    def __init__(self) -> None:
        self.limited: list[tuple[Any, Any, Any]] = []

    def shorter(self, seconds: float | None) -> float | None:
        """The lesser of a time and this thread's."""
        within = self.within
        return seconds if within is None else within if seconds is None else min(seconds, within)

    def limit(self, connection: Any) -> None:
        """Has a connection be made within this thread's time, until `restore`."""
        if self.within is not None:
            self.limited.append((connection, connection.socket_connect_timeout, connection.socket_timeout))
            connection.socket_connect_timeout = self.shorter(connection.socket_connect_timeout)
            connection.socket_timeout = self.shorter(connection.socket_timeout)

    def restore(self) -> None:
        """Gives the connections their own limits back."""
        self.within = None
        for connection, connecting, answering in self.limited:
            connection.socket_connect_timeout, connection.socket_timeout = connecting, answering
            _answer_within(connection, answering)
        self.limited.clear()


def _answer_within(connection: Any, seconds: float | None) -> None:
    """Sets how long answers are waited for; if it has connected, its socket and its parser remember it too."""
    sock: Any = getattr(connection, "_sock", None)
    parser: Any = getattr(connection, "_parser", None)
    if sock is not None and hasattr(sock, "settimeout"):
        sock.settimeout(seconds)
    if hasattr(parser, "_socket_timeout"):  # hiredis
        parser._socket_timeout = seconds
    buffer: Any = getattr(parser, "_buffer", None)
    if hasattr(buffer, "socket_timeout"):
        buffer.socket_timeout = seconds


class RedisPool(BlockingConnectionPool):
    """A pool that begins anew in a forked child, in place: pipelines and stores may hold on to it.

    Args:
        recipe: gives the arguments of redis-py's pool; called in each process.
    """

    def __init__(self, recipe: Callable[[], Options]) -> None:
        self._recipe = recipe
        self._renewing = ForkLock()
        super().__init__(queue_class=_Places, **recipe())  # type: ignore[no-untyped-call]

    def connection_within(self, seconds: float) -> Any:
        """A connection, for somebody with less time than the settings give: to wait for one, and to make it.

        Args:
            seconds: how much time there is.

        Raises:
            redis.RedisError: as `get_connection` raises it.
        """
        hurry = self._hurry
        hurry.within = seconds
        try:
            return self.get_connection()  # type: ignore[no-untyped-call]
        finally:
            hurry.restore()

    def make_connection(self) -> Any:
        """Makes a connection that does not connect yet."""
        connection = super().make_connection()  # type: ignore[no-untyped-call]
        self._hurry.limit(connection)
        return connection

    @property
    def _hurry(self) -> _Hurry:
        places: Any = self.pool  # of our class, which redis-py's types cannot say
        found: _Hurry = places.hurry
        return found

    def begin_anew(self) -> None:
        """Becomes a new, empty pool; neither takes a lock of the old one nor closes what it held."""
        keep_for_ever(vars(self).copy())
        # The process id is the last that a new pool sets, and so the last that changes here.
        vars(self).update(vars(RedisPool(self._recipe)))

    def _checkpid(self) -> None:
        if self.pid != os.getpid():
            with self._renewing.current():
                if self.pid != os.getpid():
                    self.begin_anew()


def make_client(name: str, settings: RedisSettings, servers: EmbeddedServers) -> Redis:
    """See `wellwired.containers.pools.open_redis`."""
    url = settings.url.get_secret_value()
    place = urlsplit(url)
    common = _common(settings)
    if place.scheme == "memory":
        shared = place.netloc or name

        def recipe() -> Options:
            return common | _embedded(servers, shared)

    else:
        options = common | _remote(f"{place.scheme}{url[len(place.scheme) :]}", settings)

        def recipe() -> Options:
            return dict(options)

    return Redis(connection_pool=RedisPool(recipe))


def _common(settings: RedisSettings) -> Options:
    return {
        "max_connections": settings.pool_size,
        "timeout": settings.pool_timeout,
        "retry": Retry(NoBackoff(), 0),
        **_no_notifications(),
    }


def _no_notifications() -> Options:
    """Turns off what would relax socket timeouts while a server is maintained, where redis-py knows it."""
    try:
        from redis.maint_notifications import MaintNotificationsConfig
    except ImportError:  # redis-py before 6.4
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def _embedded(servers: EmbeddedServers, name: str) -> Options:
    import fakeredis

    # Its name before fakeredis 2.34.
    connection = getattr(fakeredis, "FakeRedisConnection", None) or fakeredis.FakeConnection
    return {"connection_class": connection, "server": servers.server(name), "version": (7,)}


def _remote(url: str, settings: RedisSettings) -> Options:
    options: Options = {
        "socket_timeout": settings.socket_timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "health_check_interval": settings.health_check_interval,
        **parse_url(url),  # type: ignore[no-untyped-call]
    }
    if settings.client_name:
        options["client_name"] = settings.client_name
    if "path" not in options:
        options["socket_keepalive"] = True
    tls = settings.tls
    if tls is not None and options.get("connection_class") is SSLConnection:
        options |= {
            "ssl_cert_reqs": "none" if tls.verify == "none" else "required",
            "ssl_check_hostname": tls.verify == "full",
            "ssl_ca_certs": str(tls.ca) if tls.ca else None,
            "ssl_certfile": str(tls.cert) if tls.cert else None,
            "ssl_keyfile": str(tls.key) if tls.key else None,
            "ssl_password": tls.key_password.get_secret_value() if tls.key_password else None,
        }
    return options


def renew_client(client: Redis) -> None:
    """See `wellwired.containers.pools.renew_redis_after_fork`."""
    pool: ConnectionPool = client.connection_pool
    keep_for_ever((pool, client.connection))
    if isinstance(pool, RedisPool):
        pool.begin_anew()
    else:
        client.connection_pool = type(pool)(**pool.connection_kwargs)
    client.connection = None
    client.single_connection_lock = threading.RLock()
