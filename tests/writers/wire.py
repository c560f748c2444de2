"""What a client sends, cut into messages, each with the moment of a write that it belongs to.

Three small readers, for PostgreSQL's protocol, MySQL's and Redis's. Each is fed the bytes of one connection in
whatever pieces they come, and gives back whole messages; their bytes joined are the bytes that were fed. A reader
knows no sockets and no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

__all__ = ["WIRES", "Message", "Moment", "MySQLWire", "PacketWire", "PostgreSQLWire", "RedisWire", "Wire"]


class Moment(StrEnum):
    """How far a write has come, as the wire shows it."""

    CONNECT = "connect"
    """A connection was accepted; nothing has been read from it."""
    HANDSHAKE = "handshake"
    """Start-up, login, and what Redis's clients say about themselves."""
    BEGIN = "begin"
    STATEMENT = "statement"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    CANCEL = "cancel"
    """Another session's work is to be ended."""
    OTHER = "other"
    """A farewell, a sign of life, or nothing that the reader knows."""


class Message(NamedTuple):
    """One message of a client's.

    Args:
        moment: what it is about.
        data: its bytes.
    """

    moment: Moment
    data: bytes


class Wire(Protocol):
    """Reads one connection's messages."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Takes what has come and gives the messages that are complete.

        Args:
            data: the next bytes of the client's.
        """
        ...


class PacketWire:
    """Knows no protocol: what comes in one piece is one message."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """See `Wire`."""
        yield Message(Moment.OTHER, data)


class _Buffered:
    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """See `Wire`."""
        self._buffer += data
        while (size := self._size()) is not None and len(self._buffer) >= size:
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            yield Message(self._moment(message), message)

    def _size(self) -> int | None:
        """How long the first message is, or None if that cannot be told yet."""
        raise NotImplementedError

    def _moment(self, message: bytes) -> Moment:
        raise NotImplementedError


def _of_sql(text: bytes) -> Moment:
    words = text[:40].strip().upper().split()
    first = words[0].rstrip(b";\x00") if words else b""
    if first == b"ROLLBACK" and b"TO" in words:
        return Moment.STATEMENT
    known = {b"BEGIN": Moment.BEGIN, b"COMMIT": Moment.COMMIT, b"ROLLBACK": Moment.ROLLBACK, b"KILL": Moment.CANCEL}
    return known.get(first, Moment.STATEMENT)


class PostgreSQLWire(_Buffered):
    """PostgreSQL's frontend protocol, version 3: a message without a type first, then one letter and a length."""

    _ENCRYPTION = (80877103, 80877104)
    _CANCEL = 80877102

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def _size(self) -> int | None:
        skip = 1 if self._begun else 0
        if len(self._buffer) < skip + 4:
            return None
        return skip + int.from_bytes(self._buffer[skip : skip + 4])

    def _moment(self, message: bytes) -> Moment:
        if not self._begun:
            code = int.from_bytes(message[4:8])
            self._begun = code not in self._ENCRYPTION
            return Moment.CANCEL if code == self._CANCEL else Moment.HANDSHAKE
        kind = message[:1]
        if kind == b"Q":
            return _of_sql(message[5:])
        if kind == b"P":
            return _of_sql(message[5:].split(b"\0", 2)[1])
        if kind == b"p":
            return Moment.HANDSHAKE
        return Moment.STATEMENT if kind == b"B" else Moment.OTHER


class MySQLWire(_Buffered):
    """MySQL's protocol, which MariaDB speaks: a length, a number, a command; the number is 0 once the login is done."""

    _QUERY = 3

    def _size(self) -> int | None:
        return 4 + int.from_bytes(self._buffer[:3], "little") if len(self._buffer) >= 4 else None

    def _moment(self, message: bytes) -> Moment:
        if message[3]:
            return Moment.HANDSHAKE
        return _of_sql(message[5:]) if message[4:5] == bytes([self._QUERY]) else Moment.OTHER


class RedisWire(_Buffered):
    """Redis's protocol: arrays of strings, of which the first is the command."""

    _MOMENTS: ClassVar[dict[bytes, Moment]] = {
        **dict.fromkeys((b"HELLO", b"AUTH", b"CLIENT", b"SELECT"), Moment.HANDSHAKE),
        **dict.fromkeys((b"EXEC", b"EVAL", b"EVALSHA", b"FCALL"), Moment.COMMIT),
        **dict.fromkeys((b"PING", b"QUIT", b"SCRIPT", b"UNWATCH", b"TIME"), Moment.OTHER),
        b"MULTI": Moment.BEGIN,
        b"DISCARD": Moment.ROLLBACK,
    }

    def _size(self) -> int | None:
        at = self._buffer.find(b"\r\n")
        if at < 0:
            return None
        if self._buffer[:1] != b"*":
            return at + 2
        size = at + 2
        for _ in range(int(self._buffer[1:at])):
            at = self._buffer.find(b"\r\n", size)
            if at < 0:
                return None
            size = at + 2 + int(self._buffer[size + 1 : at]) + 2
        return size

    def _moment(self, message: bytes) -> Moment:
        parts = message[:200].split(b"\r\n", 3)
        return self._MOMENTS.get(parts[2].upper(), Moment.STATEMENT) if len(parts) > 3 else Moment.OTHER


WIRES: dict[str, Callable[[], Wire]] = {
    "postgresql": PostgreSQLWire,
    "mariadb": MySQLWire,
    "redis": RedisWire,
}
"""The reader for each kind of server."""
