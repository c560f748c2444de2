"""Sends a command on a pooled connection of redis-py, without the layers of redis-py that a store has no use for.

`Redis.execute_command` spends more time on retries, metrics and its own packing than the server does on a read. What
is left here is what must be there: the pool, its health checks, the parser, and a connection that is closed when an
answer did not come. A client that was configured to do more for each command (to retry, to trace, to cache) is asked
to do it: then commands go through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import ResponseError

from wellwired.stores._redis_answers import answer

__all__ = ["once", "wire"]

_MORE: Final = ("retry_on_timeout", "retry_on_error")


def wire(client: Any) -> Callable[..., Any]:
    """The shortest right way to send a command by a client.

    Args:
        client: a redis-py client, or one that looks like it.

    Returns:
        A function that takes the parts of a command, bytes or ints, and returns the answer as bytes, ints, lists or
        None. It raises what redis-py raises, and is safe for threads.
    """
    if not _plain(client):
        command: Callable[..., Any] = client.execute_command
        return command
    return _sender(client.connection_pool)


def once(client: Any) -> Callable[..., Any]:
    """A way to send a command that is not sent again when its answer is lost, if the client has one.

    Connecting may be tried again as the client was told to. A tracer of commands does not see these. A client of a
    class that sends commands in its own way is left to do so.

    Args:
        client: a redis-py client, or one that looks like it.
    """
    command: Callable[..., Any] = client.execute_command
    if isinstance(client, Redis) and client.connection is None and client.get_cache() is None and _native(client):
        return _sender(client.connection_pool)
    return command


def _sender(pool: Any) -> Callable[..., Any]:
    def send(*parts: Any) -> Any:
        command = _packed(parts)
        connection = pool.get_connection()
        try:
            connection.send_packed_command((command,))
            return answer(connection)
        except ResponseError:
            raise  # this is the answer, and has come whole
        except BaseException:
            # Also if a signal came between two steps above: an answer that is still on its way is nobody else's.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    return send


def _plain(client: Any) -> bool:
    """Whether the client would do nothing for a command but send it."""
    if not isinstance(client, Redis) or client.connection is not None or not _native(client):
        return False
    # Tracers put a function of their own in its place, most of them with a reference to the original.
    if hasattr(type(client).execute_command, "__wrapped__"):
        return False
    options = client.connection_pool.connection_kwargs
    retry = options.get("retry")
    retries = 0 if retry is None else retry.get_retries()
    return not retries and not any(options.get(more) for more in _MORE) and client.get_cache() is None


def _native(client: Any) -> bool:
    """Whether its commands are sent by redis-py's own code, a tracer around it not counted."""
    command = type(client).execute_command
    return "execute_command" not in vars(client) and getattr(command, "__module__", "") == "redis.client"


def _packed(parts: tuple[Any, ...]) -> bytes:
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if type(part) is bytes else str(part).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)
