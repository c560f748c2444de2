"""Which clients a writer for Redis can keep its promises with: found out when it is made, not at the first write.

redis-py's clients differ much under one interface. What would apply a write twice, send it to a replica, answer it from
a cache or hold it up beyond its deadline without a way to prevent that is refused, and the error says what to change.
What can be put right for the time of a write is (see `_lane`): notifications of maintenance relax no time limit, and a
pool that waits for a connection is asked only when it has one.
"""

from __future__ import annotations

from typing import Any

from redis import BlockingConnectionPool, Redis

from wellwired.errors import RegistrationError

__all__ = ["check_client", "has_room", "places"]

_MOST_PLACES = 10_000
_NO_RETRY = "retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0)"


def check_client(name: str, client: Any) -> None:
    """Refuses a client that a writer cannot keep its promises with.

    Args:
        name: the writer's.
        client: the application's; nothing connects, and nothing of it is changed.

    Raises:
        RegistrationError: the client is no `redis.Redis`, retries commands by itself, writes to replicas, or has a
            cache; or its Sentinels' clients retry.
    """
    if not isinstance(client, Redis):
        raise RegistrationError(
            f"the client of {name} is a {type(client).__name__}, for a cluster, for asyncio or for no Redis; it must "
            "be a redis.Redis"
        )
    pool: Any = client.connection_pool
    if retries := _retries(pool):
        raise RegistrationError(
            f"the client of {name} sends a command up to {retries} times more by itself, which can apply it twice; "
            f"make it with {_NO_RETRY}, and leave retries to the write manager"
        )
    if getattr(pool, "cache", None) is not None:
        raise RegistrationError(
            f"the client of {name} keeps answers in a cache, around connections whose waits cannot be limited; give "
            "the writer a client without cache_config"
        )
    _check_sentinels(name, pool)


def _check_sentinels(name: str, pool: Any) -> None:
    manager = getattr(pool, "sentinel_manager", None)
    if manager is None:
        return
    if not pool.is_master:
        raise RegistrationError(
            f"the client of {name} leads to replicas, which refuse writes; make it with Sentinel.master_for()"
        )
    if retries := max(map(_retries, (sentinel.connection_pool for sentinel in manager.sentinels)), default=0):
        raise RegistrationError(
            f"the Sentinels of {name} are each asked up to {retries} times more by themselves, longer than a deadline "
            f"allows; make the Sentinel with sentinel_kwargs={{'retry': …}} ({_NO_RETRY}) and time limits"
        )


def _retries(pool: Any) -> int:
    # Made, but not connected: only a connection knows what its arguments come to.
    return int(pool.connection_class(**pool.connection_kwargs).retry.get_retries())


def places(client: Redis) -> int | None:
    """How many connections its pool has; None for any number."""
    most = int(client.connection_pool.max_connections)
    # redis-py's word for "no limit" is a very large number.
    return most if most <= _MOST_PLACES else None


def has_room(pool: Any) -> bool:
    """Whether a pool that waits for a connection would not have to; others say so by themselves."""
    return not isinstance(pool, BlockingConnectionPool) or not pool.pool.empty()
