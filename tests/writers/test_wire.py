"""The readers of what clients send: nothing lost, whatever the pieces, and every moment told."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.writers.wire import WIRES, Message, Moment, MySQLWire, PostgreSQLWire, RedisWire, Wire


def pg(kind: bytes, body: bytes) -> bytes:
    """One message of PostgreSQL's."""
    return kind + struct.pack("!I", len(body) + 4) + body


def my(number: int, body: bytes) -> bytes:
    """One packet of MySQL's."""
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def resp(*words: bytes) -> bytes:
    """One command of Redis's."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


SESSIONS: dict[str, list[tuple[Moment, bytes]]] = {
    "postgresql": [
        (Moment.HANDSHAKE, pg(b"", struct.pack("!I", 80877103))),
        (Moment.HANDSHAKE, pg(b"", struct.pack("!I", 196608) + b"user\0me\0\0")),
        (Moment.HANDSHAKE, pg(b"p", b"secret\0")),
        (Moment.BEGIN, pg(b"Q", b"BEGIN\0")),
        (Moment.STATEMENT, pg(b"P", b"name\0INSERT INTO t VALUES ($1) -- COMMIT\0\0\0")),
        (Moment.STATEMENT, pg(b"B", b"\0name\0" + b"x" * 5_000)),
        (Moment.OTHER, pg(b"S", b"")),
        (Moment.STATEMENT, pg(b"Q", b"ROLLBACK TO SAVEPOINT a\0")),
        (Moment.COMMIT, pg(b"Q", b"COMMIT\0")),
        (Moment.ROLLBACK, pg(b"Q", b"ROLLBACK\0")),
        (Moment.OTHER, pg(b"X", b"")),
    ],
    "mariadb": [
        (Moment.HANDSHAKE, my(1, b"\x8d\xa2" + b"\0" * 40)),
        (Moment.HANDSHAKE, my(3, b"again")),
        (Moment.STATEMENT, my(0, b"\x03SET AUTOCOMMIT = 0")),
        (Moment.BEGIN, my(0, b"\x03BEGIN")),
        (Moment.STATEMENT, my(0, b"\x03insert into t values ('" + b"x" * 70_000 + b"')")),
        (Moment.COMMIT, my(0, b"\x03COMMIT")),
        (Moment.ROLLBACK, my(0, b"\x03ROLLBACK")),
        (Moment.CANCEL, my(0, b"\x03KILL 17")),
        (Moment.OTHER, my(0, b"\x01")),
    ],
    "redis": [
        (Moment.HANDSHAKE, resp(b"HELLO", b"3")),
        (Moment.HANDSHAKE, resp(b"CLIENT", b"SETINFO", b"LIB-NAME", b"x")),
        (Moment.BEGIN, resp(b"MULTI")),
        (Moment.STATEMENT, resp(b"SET", b"a", b"*1\r\n$4\r\nEXEC\r\n")),
        (Moment.STATEMENT, resp(b"SET", b"a", b"x" * 70_000)),
        (Moment.COMMIT, resp(b"EXEC")),
        (Moment.COMMIT, resp(b"EVAL", b"return 1", b"0")),
        (Moment.OTHER, resp(b"PING")),
    ],
}


@pytest.mark.parametrize("kind", SESSIONS)
def test_every_message_has_its_moment(kind: str) -> None:
    """A connection's bytes in one piece give each message with what it is about."""
    wire = WIRES[kind]()

    assert list(wire.feed(b"".join(data for _, data in SESSIONS[kind]))) == [Message(*part) for part in SESSIONS[kind]]


@given(st.sampled_from(sorted(SESSIONS)), st.data())
def test_pieces_make_no_difference(kind: str, data: st.DataObject) -> None:
    """However the bytes are cut on the way, the messages are the same."""
    whole = b"".join(part for _, part in SESSIONS[kind])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    wire = WIRES[kind]()

    messages = [m for a, b in pairwise([0, *cuts, len(whole)]) for m in wire.feed(whole[a:b])]

    assert messages == [Message(*part) for part in SESSIONS[kind]]


@pytest.mark.parametrize(
    ("wire", "data"),
    [(PostgreSQLWire, pg(b"", struct.pack("!III", 80877102, 1, 2))), (MySQLWire, my(0, b"\x03KILL QUERY 3"))],
)
def test_a_request_to_cancel_is_told_apart(wire: Callable[[], Wire], data: bytes) -> None:
    """It comes on a connection of its own and belongs to no write."""
    assert [m.moment for m in wire().feed(data)] == [Moment.CANCEL]


def test_half_a_message_is_none() -> None:
    """What has not come completely is kept back."""
    wire = RedisWire()

    assert list(wire.feed(resp(b"EXEC")[:-1])) == []
    assert [m.moment for m in wire.feed(b"\n")] == [Moment.COMMIT]
