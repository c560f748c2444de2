"""Asking the test project as servers do: WSGI and ASGI without a network, with a client that may go away."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler

from wellwired.integrations.django import container

__all__ = ["Asked", "ask_asgi", "ask_wsgi", "log", "text"]


def log() -> list[str]:
    """What happened in the project's container."""
    found: list[str] = container(start=False).log()
    return found


def text(response: Any) -> str:
    """The body of a response, read to its end."""
    return bytes(response.getvalue()).decode()


def ask_wsgi(path: str, *, headers: dict[str, str] | None = None, file_wrapper: Any = None) -> Any:
    """What a WSGI server is given for a request; to be iterated and closed by the caller."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path.partition("?")[0],
        "QUERY_STRING": path.partition("?")[2],
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **({"wsgi.file_wrapper": file_wrapper} if file_wrapper else {}),
        **{f"HTTP_{name.upper()}": value for name, value in (headers or {}).items()},
    }
    return WSGIHandler()(environ, _start_response)


def _start_response(*_: Any) -> Callable[[bytes], None]:
    return lambda _: None


class Asked:
    """One request to the ASGI application: what it has sent so far, and the client's way to leave."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.sent = asyncio.Event()
        self.left = asyncio.Event()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        """Gives the request, and then nothing until the client leaves."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Takes a piece of the response."""
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        if message.get("body"):
            self.sent.set()


class Handler(ASGIHandler):
    """Django's application; it closes what Django 5.2 leaves open when a response breaks."""

    async def read_body(self, receive: Any) -> Any:
        """Reads the body of the request."""
        self.file = await super().read_body(receive)
        return self.file

    async def __call__(self, *args: Any) -> None:
        """Serves a request."""
        try:
            await super().__call__(*args)
        finally:
            self.file.close()


def ask_asgi(
    path: str,
    *,
    headers: dict[str, str] | None = None,
    meanwhile: Callable[[Asked], Awaitable[None]] | None = None,
    client: Asked | None = None,
    until: Callable[[], bool] | None = None,
) -> Asked:
    """Asks the ASGI application, in an event loop of its own.

    Args:
        path: of the request.
        headers: of the request.
        meanwhile: what the client does while it is answered.
        client: who asks; somebody patient if None.
        until: what has to come true before the loop ends, after an answer that may have broken.
    """
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }

    async def ask() -> Asked:
        asked = client or Asked()
        serving = asyncio.ensure_future(Handler()(scope, asked.receive, asked.send))
        if meanwhile is not None:
            await meanwhile(asked)
        with suppress(OSError) if until is not None else nullcontext():
            await serving
        del serving
        while until is not None and not until():
            gc.collect()
            await asyncio.sleep(0)
        return asked

    return asyncio.run(ask())
