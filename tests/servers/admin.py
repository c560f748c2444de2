"""One-off statements on a server: every call opens a connection of its own and closes it.

Nothing is kept open between calls, so a test that forks hands its child no connection of the kit's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

__all__ = ["execute", "place", "redis_client"]

_CONNECT_SECONDS = 3


@lru_cache(maxsize=64)
def _engine(url: str) -> sa.Engine:
    arguments: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS}
    if make_url(url).get_backend_name() != "postgresql":
        arguments |= {"read_timeout": 20, "write_timeout": 20}
    return sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments)


def execute(url: str, *statements: str) -> Sequence[Any]:
    """Runs statements, each in its own transaction.

    Args:
        url: a SQLAlchemy URL.
        statements: SQL text without parameters.

    Returns:
        The rows of the last statement; nothing if it gives none.
    """
    rows: Sequence[Any] = ()
    with _engine(url).connect() as connection:
        for statement in statements:
            result = connection.execute(sa.text(statement))
            rows = result.all() if result.returns_rows else ()
    return rows


def redis_client(url: str) -> Any:
    """A redis-py client that neither retries nor waits long; the caller closes it."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=10, retry=Retry(NoBackoff(), 0)
    )


def place(url: str) -> str:
    """Where a URL leads, as `host:port`, without its user or password."""
    parsed = make_url(url)
    return f"{parsed.host or 'localhost'}:{parsed.port}" if parsed.port else str(parsed.host or "a socket")
