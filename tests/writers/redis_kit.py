"""What the tests of the Redis writer share: one attempt by a writer, and a handler that counts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from wellwired.clock import Deadline
from wellwired.handlers.decorator import FunctionHandler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.redis import RedisWriter

__all__ = ["Client", "Pipeline", "Telling", "count_up", "write"]

# redis-py's own types are less exact than its documentation.
Client: TypeAlias = Any
Pipeline: TypeAlias = Any


def write(
    writer: RedisWriter,
    work: Callable[[WriteRequest, Any], Any],
    payload: Any = None,
    *,
    key: str | None = None,
    deadline: Deadline | None = None,
    **traits: Any,
) -> WriteResult[Any]:
    """One attempt by a writer."""
    request = WriteRequest(target=writer.name, type="test", payload=payload or {}, idempotency_key=key)
    return writer.write(
        request,
        handler=FunctionHandler(work, type="test", backend="redis", **traits),
        deadline=deadline or Deadline.after(10),
    )


def count_up(_request: WriteRequest, pipeline: Pipeline) -> None:
    """Not harmless when done twice."""
    pipeline.incr("n")
    pipeline.set("last", "up")


class Telling:
    """A server that says what it is told to: for what no real one here can be made to say.

    Args:
        answer: is given the words of a command, and gives the bytes of the answer.
        greets: whether it answers a client's greeting.
    """

    def __init__(self, answer: Callable[[list[bytes]], bytes], *, greets: bool = True) -> None:
        self._say = answer
        self._greets = greets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; its clients must have been closed before."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, client.makefile("rb") as lines, suppress(OSError):
                    while words := self._command(lines):
                        client.sendall(self._answer(words))

    def _command(self, lines: Any) -> list[bytes]:
        words = []
        for _ in range(int(lines.readline()[1:] or 0)):
            length = int(lines.readline()[1:])
            words.append(lines.read(length + 2)[:-2])
        return words

    def _answer(self, words: list[bytes]) -> bytes:
        if words[0] == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n" if self._greets else b""
        return b"+OK\r\n" if words[0] == b"CLIENT" else self._say(words)
