"""The wire, interrupted: an answer that was given up is never taken for that of the next command."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from wellwired.stores._redis_wire import wire

Pieces = Callable[[bytes], list[bytes]]
_OURS = ("_redis_wire", "_redis_answers")
_WAIT = 0.004


def _value(word: bytes) -> list[bytes]:
    return [b"$%d\r\n%b\r\n" % (len(word), word)]


def _list(word: bytes) -> list[bytes]:
    return [b"*2\r\n$%d\r\n%b\r\n" % (len(word), word), b"$1\r\nx\r\n"]


def _number_first(word: bytes) -> list[bytes]:
    return [b"*2\r\n:1\r\n$%d\r\n" % len(word), b"%b\r\n" % word]


def _greeting(said: bytes) -> bytes:
    """The answers to what a connection says before its first command."""
    hello = b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in said else b""
    refused = b"-ERR unknown subcommand\r\n" if b"MAINT_NOTIFICATIONS" in said else b""
    return hello + refused + b"+OK\r\n" * said.count(b"SETINFO")


class Slow:
    """A server that answers each command with its last word, after a while, and a while passes between the pieces."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.hanging = threading.Event()
        """Set to have it be late with the end of an answer."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while said := client.recv(65536):
                    if greeting := _greeting(said):
                        client.sendall(greeting)
                        continue
                    *first, last = self._pieces(said.rsplit(b"\r\n", 2)[1])
                    for piece in first:
                        threading.Event().wait(_WAIT)
                        client.sendall(piece)
                    threading.Event().wait(_WAIT * (75 if self.hanging.is_set() else 1))
                    client.sendall(last)
            except OSError:
                return

    def close(self) -> None:
        """Takes nobody any more."""
        self._listening.close()


@pytest.fixture(params=[_value, _list, _number_first], ids=["value", "list", "number first"])
def slow(request: pytest.FixtureRequest) -> Iterator[Slow]:
    """A server for each shape of an answer: cut out here in one piece, in two, and left to redis-py's parser."""
    server = Slow(request.param)
    yield server
    server.close()


class Interruption:
    """Raises `KeyboardInterrupt` at one step of the wire's own code, as a signal may."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._stepped if any(name in frame.f_code.co_filename for name in _OURS) else None

    def _stepped(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event in ("line", "return"):
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
        return self._stepped


def _send(port: int, protocol: int) -> tuple[Any, Callable[..., Any]]:
    client: Any = redis_py.Redis(port=port, protocol=protocol, retry=Retry(NoBackoff(), 0), socket_timeout=5)
    return client, wire(client)


@pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])
def test_an_interruption_anywhere_leaves_no_answer_behind(slow: Slow, protocol: int) -> None:
    """Wherever a signal strikes, the next command gets its own answer."""
    step, interrupted = 0, True
    while interrupted:
        step += 1
        client, send = _send(slow.port, protocol)
        try:
            expected = send(b"GET", b"other")
            try:
                with Interruption(step):
                    send(b"GET", b"given up")
                interrupted = False
            except KeyboardInterrupt:
                pass
            assert send(b"GET", b"other") == expected, f"after an interruption at step {step}"
        finally:
            client.close()
    assert step > 20


class Directory:
    """What a sentinel knows: where the master is."""

    def __init__(self, port: int) -> None:
        self.port = port

    def discover_master(self, name: str) -> tuple[str, int]:
        """Its address."""
        return "127.0.0.1", self.port


def test_what_came_too_late_by_a_sentinel_is_nobodys_answer(slow: Slow) -> None:
    """redis-py's connections of that kind stay open when an answer does not come; here they do not."""
    make: Any = SentinelConnectionPool
    options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": 0.15}
    pool = make("main", Directory(slow.port), check_connection=False, **options)
    client: Any = redis_py.Redis(connection_pool=pool)
    send = wire(client)
    try:
        expected = send(b"GET", b"other")
        slow.hanging.set()
        with pytest.raises(redis_py.TimeoutError):
            send(b"GET", b"given up")
        slow.hanging.clear()
        assert pool._available_connections[-1]._sock is None
        assert send(b"GET", b"other") == expected
    finally:
        pool.disconnect()
