"""Reads the answer to a command off a connection of redis-py, with no call for every value that is in it.

redis-py's own parser in Python makes several calls for each value, which for a hundred of them takes longer than the
server does. Here the two shapes that stores mostly get, one value or a list of values, are cut out of what has arrived.
Whatever else comes (an error, a number, a push message, an answer too long to be kept in one piece) is handed to the
connection's own parser from its first byte on, and so is everything if the connection has another parser, such as
hiredis, or one that has changed, or reads answers in a way of its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from io import SEEK_END, BytesIO
from typing import Any, Final

from redis import _parsers
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as LateAnswer
from redis.sentinel import SentinelManagedConnection

__all__ = ["answer"]

_PIECE: Final = 65536
_LONGEST: Final = 1 << 20
_VALUE: Final = ord("$")
_LIST: Final = ord("*")
_NULL: Final = ord("_")
_MINUS: Final = ord("-")
_SOCKETS: Final = (socket.socket, ssl.SSLSocket)
# redis-py's own, if it still has them; none of another name is touched.
_PARSERS: Final = tuple(
    parser for name in ("_RESP2Parser", "_RESP3Parser") if (parser := getattr(_parsers, name, None)) is not None
)
# What they do more is about errors, which they are given. A connection that reads otherwise is left to do so.
_READERS: Final = (AbstractConnection.read_response, SentinelManagedConnection.read_response)


class _Other(Exception):  # noqa: N818 - it never leaves this module
    """Something else has come; what has arrived so far is in its argument."""


def answer(connection: Any) -> Any:
    """The answer to the command that was sent last.

    Args:
        connection: of redis-py; it is closed if the answer does not come.

    Returns:
        Bytes, ints, lists or None.

    Raises:
        redis.RedisError: as the connection's own `read_response` raises it.
    """
    kept = _buffer(connection)
    if kept is None:
        return connection.read_response(disable_decoding=True)
    try:
        said = _value(connection._sock.recv)
        if interval := connection.health_check_interval:
            connection.next_health_check = time.monotonic() + interval  # it has just been found to be well
        return said
    except _Other as other:
        (data,) = other.args
    except BaseException as error:  # noqa: BLE001 - raised again; whatever it is, an answer may still be on its way
        connection.disconnect()
        raise _told(connection, error) from None
    kept.write(data)
    kept.seek(0)
    return connection.read_response(disable_decoding=True)


def _buffer(connection: Any) -> Any:
    """What the connection's parser keeps what has arrived in, if that is empty and of the kind that is known here."""
    parser: Any = getattr(connection, "_parser", None)
    if type(parser) not in _PARSERS or type(connection._sock) not in _SOCKETS:
        return None
    if getattr(connection.read_response, "__func__", None) not in _READERS:
        return None
    kept = getattr(parser._buffer, "_buffer", None)
    if type(kept) is not BytesIO or kept.tell():
        return None
    if kept.seek(0, SEEK_END):
        kept.seek(0)
        return None
    return kept


def _told(connection: Any, error: BaseException) -> BaseException:
    """What redis-py would raise for an error on the way of an answer."""
    if isinstance(error, TimeoutError):
        return LateAnswer(f"no answer came within {connection.socket_timeout} s")
    if isinstance(error, OSError):
        return LostConnection(f"the connection was lost before an answer came: {error.args}")
    if isinstance(error, ValueError):
        return InvalidResponse(f"the server does not speak as Redis does: {error}")
    return error


def _value(receive: Callable[[int], bytes]) -> Any:
    """The answer that is on its way, if it is one value or a list of values."""
    data = _received(receive)
    if data[0] == _LIST:
        return _values(data, receive)
    if data[0] == _VALUE and data[-2:] == b"\r\n":
        end = data.index(b"\r\n")
        if len(data) == end + 4 + int(data[1:end]):
            return data[end + 2 : -2]
    raise _Other(data)


def _received(receive: Callable[[int], bytes]) -> bytes:
    data = receive(_PIECE)
    if not data:
        raise LostConnection("the server closed the connection")
    return data


def _whole(data: bytes, count: int) -> list[bytes] | None:
    """The values of a list that has arrived whole, if none of them is nothing or has a line's end in it."""
    pieces = data.split(b"\r\n")
    if len(pieces) != 2 * count + 2 or pieces[-1]:
        return None
    values = pieces[2::2]  # every other piece is one, after its length
    return values if [b"$%d" % length for length in map(len, values)] == pieces[1:-1:2] else None


def _values(  # noqa: C901, PLR0915 - a call for every value is what this is there to save
    data: bytes, receive: Callable[[int], bytes]
) -> Sequence[bytes | None]:
    """The values of a list that `data` is the beginning of."""
    find, size = data.find, len(data)
    values: list[bytes | None] = []
    add = values.append
    end = find(b"\r\n")
    if end < 0 or data[1] == _MINUS:  # minus one: nothing, as RESP2 writes it for a list
        raise _Other(data)
    at, count = end + 2, int(data[1:end])
    if (whole := _whole(data, count)) is not None:
        return whole
    while len(values) < count:
        end = find(b"\r\n", at)
        stop = -1
        if end >= 0:
            kind = data[at]
            if kind == _VALUE:
                stop = end + 2 + int(data[at + 1 : end])
                if stop == end + 1:  # minus one: nothing
                    add(None)
                    at = end + 2
                    continue
                if stop + 2 <= size:
                    add(data[end + 2 : stop])
                    at = stop + 2
                    continue
            elif kind == _NULL:
                add(None)
                at = end + 2
                continue
            else:
                raise _Other(data)
        if size > _LONGEST:
            raise _Other(data)
        data += _received(receive)
        find, size = data.find, len(data)
    if at != size:  # a push message has come after it
        raise _Other(data)
    return values
