"""Answers of a Redis server, cut out of what has arrived: the same as redis-py's parser gives, however it arrives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis as redis_py
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse
from redis.retry import Retry

from wellwired.stores._redis_answers import _buffer, answer

Speak = Callable[[Sequence[bytes]], Any]
PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n"


class Spoken:
    """A connection of redis-py whose server says what a test wants, in the pieces that it wants."""

    def __init__(self, protocol: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        options: dict[str, Any] = {"socket_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
        make: Any = redis_py.Connection
        self.connection: Any = make(host="127.0.0.1", port=port, protocol=protocol, **options)
        self.connection._sock = socket.create_connection(("127.0.0.1", port), timeout=0.5)
        self.server, _ = self._listening.accept()
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection._parser.on_connect(self.connection)

    def hear(self, pieces: Sequence[bytes], ask: Callable[[Any], Any] = answer) -> Any:
        """What the connection makes of the pieces, each of which is there before the next one is sent."""

        def say() -> None:
            for piece in pieces:
                self.server.sendall(piece)
                threading.Event().wait(0.002)

        speaking = threading.Thread(target=say)
        speaking.start()
        try:
            return ask(self.connection)
        finally:
            speaking.join(10)

    def close(self) -> None:
        """Ends both sides."""
        self.connection.disconnect()
        self.server.close()
        self._listening.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def spoken(request: pytest.FixtureRequest) -> Iterator[Spoken]:
    """A connection that has been made."""
    made = Spoken(request.param)
    yield made
    made.close()


def written(values: Sequence[bytes | None], null: bytes) -> bytes:
    """A list of values as a server writes it."""
    items = [null if value is None else b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
    return b"*%d\r\n" % len(values) + b"".join(items)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=40)), max_size=6), st.data())
def test_a_list_is_the_same_however_it_is_cut(values: list[bytes | None], data: st.DataObject) -> None:
    """Values, nothing, and bytes that look like the protocol's own come back, whichever pieces they arrive in."""
    for protocol, null in ((2, b"$-1\r\n"), (3, b"_\r\n")):
        text = written(values, null)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        pieces = [text[one:other] for one, other in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        made = Spoken(protocol)
        try:
            assert made.hear([piece for piece in pieces if piece]) == values
            assert _buffer(made.connection) is not None
        finally:
            made.close()


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"$5\r\nhello\r\n"], b"hello"),
        ([b"$5\r\nhe", b"llo\r\n"], b"hello"),
        ([b"$4\r\n\r\n\r\n\r\n"], b"\r\n\r\n"),
        ([b"$0\r\n\r\n"], b""),
        ([b":7\r\n"], 7),
        ([b"+OK\r\n"], b"OK"),
        ([b"*0\r\n"], []),
        ([b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n"], [1, [b"a"]]),
        ([b"*2\r\n$1\r\na\r\n:1\r\n"], [b"a", 1]),
        ([b"*", b"1\r\n$1\r\na\r\n"], [b"a"]),
        ([b"*2\r\n$1\r\na\r\n", b"$-1\r\n"], [b"a", None]),
    ],
)
def test_every_shape_of_an_answer_is_understood(spoken: Spoken, pieces: Sequence[bytes], said: Any) -> None:
    """What is not cut out here is left to the connection's parser, from its first byte on."""
    assert spoken.hear(pieces) == said
    assert spoken.hear([b"$4\r\nnext\r\n"]) == b"next"


@pytest.mark.parametrize(("protocol", "null"), [(2, b"$-1\r\n"), (2, b"*-1\r\n"), (3, b"_\r\n")])
def test_nothing_is_none(protocol: int, null: bytes) -> None:
    """As each protocol writes it."""
    spoken = Spoken(protocol)
    try:
        assert spoken.hear([null]) is None and spoken.hear([written([None, b""], null)]) == [None, b""]
        assert spoken.hear([b"$1\r\na\r\n"]) == b"a"
    finally:
        spoken.close()


def test_a_long_answer_is_read_to_its_end(spoken: Spoken) -> None:
    """Beyond a megabyte the connection's parser goes on with it."""
    values = [b"x" * 300_000 for _ in range(8)]
    assert spoken.hear([written(values, b"_\r\n")]) == values
    assert spoken.hear([b"*1\r\n$1\r\na\r\n"]) == [b"a"]


def test_a_push_message_is_not_taken_for_an_answer() -> None:
    """Before it or behind it."""
    spoken = Spoken(3)
    reply = b"*1\r\n$1\r\na\r\n"
    try:
        assert spoken.hear([PUSH + reply]) == [b"a"]
        assert spoken.hear([reply + PUSH]) == [b"a"]
        assert spoken.hear([reply]) == [b"a"]
        assert spoken.hear([PUSH, b"$1\r\nb\r\n"]) == b"b"
    finally:
        spoken.close()


def test_an_error_of_the_server_is_raised_and_the_connection_kept(spoken: Spoken) -> None:
    """As redis-py raises it."""
    with pytest.raises(redis_py.ResponseError, match="no such thing"):
        spoken.hear([b"-ERR no such thing\r\n"])
    assert spoken.connection.is_connected and spoken.hear([b"*1\r\n$1\r\na\r\n"]) == [b"a"]


def test_what_never_comes_to_its_end_closes_the_connection(spoken: Spoken) -> None:
    """In time, with redis-py's own errors; the rest of an answer is never taken for the next one's."""
    with pytest.raises(redis_py.TimeoutError):
        spoken.hear([b"*2\r\n$1\r\na\r\n"])
    assert not spoken.connection.is_connected


@pytest.mark.parametrize("pieces", [[], [b"*2\r\n$1\r\na\r\n"]], ids=["at once", "in the middle"])
def test_a_server_that_hangs_up_closes_the_connection(spoken: Spoken, pieces: Sequence[bytes]) -> None:
    """Before an answer or in the middle of it."""
    for piece in pieces:
        spoken.server.sendall(piece)
    spoken.server.shutdown(socket.SHUT_WR)
    with pytest.raises(redis_py.ConnectionError):
        answer(spoken.connection)
    assert not spoken.connection.is_connected


def test_what_is_no_redis_closes_the_connection(spoken: Spoken) -> None:
    """A length that is no number, or a first byte that means nothing."""
    with pytest.raises(InvalidResponse):
        spoken.hear([b"*x\r\n"])
    assert not spoken.connection.is_connected


def test_another_parser_is_left_to_itself(spoken: Spoken) -> None:
    """And so is one that has kept something that has arrived before."""

    class Own(type(spoken.connection._parser)):  # type: ignore[misc]
        """As hiredis would be: of another type."""

    spoken.connection._parser.__class__ = Own
    assert _buffer(spoken.connection) is None and spoken.hear([b"*1\r\n$1\r\na\r\n"]) == [b"a"]
    spoken.connection._parser.__class__ = Own.__mro__[1]
    assert _buffer(spoken.connection) is not None
    spoken.connection.read_response = lambda **_: b"its own"
    assert answer(spoken.connection) == b"its own"
    del spoken.connection.read_response
    spoken.connection._parser._buffer._buffer.write(b"$1\r\nb\r\n")
    spoken.connection._parser._buffer._buffer.seek(0)
    assert _buffer(spoken.connection) is None and answer(spoken.connection) == b"b"
