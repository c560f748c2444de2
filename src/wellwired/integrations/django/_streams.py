"""A streamed response of Django's, with the request's scope around every piece of it.

It is the response that ends the scope then, when the server closes it. Under ASGI that is not enough: a response whose
body fails is never closed by Django, so there the body ends the scope by itself, after its last piece or at its error;
and one that is dropped in the middle ends it when it is collected.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.http import FileResponse, HttpRequest

from wellwired.errors import StateError
from wellwired.integrations._requests import Pieces, ScopedRequest

__all__ = ["ended", "handed_over"]

Close = Callable[[], None]


async def ended(scoped: ScopedRequest) -> None:
    """Ends a scope from asynchronous code; in Django's thread for blocking code, if there is anything to end.

    Args:
        scoped: the request.
    """
    if scoped.scope.idle:
        scoped.close()
        return
    try:
        await sync_to_async(scoped.close)()
    finally:
        scoped.close()  # a task that is cancelled twice may never have come to the thread; again does nothing


def handed_over(request: HttpRequest, response: Any, scoped: ScopedRequest, *, asynchronous: bool = False) -> Any:
    """Leaves the end of the scope to a response that is yet to be made.

    Args:
        request: Django's request.
        response: a streaming response.
        scoped: the request's scope.
        asynchronous: whether it was made under ASGI.

    Returns:
        The response.
    """
    close: Close = response.close
    weakref.finalize(response, _dropped, scoped).atexit = False
    if isinstance(response, FileResponse) and response.file_to_stream is not None:
        pass  # the server may send it by itself, and reads what the view has opened
    elif response.is_async:
        body = response.streaming_content = _pieces(_body(response), scoped)
        close = partial(_close_body, body, close, scoped)
    else:
        response.streaming_content = _Pieces(_body(response), scoped, ends=asynchronous)
    response.close = partial(_close, response, close, scoped)
    # Whatever middleware above makes of the response, Django closes the request with the one that it sends.
    request.close = partial(_close_request, request, scoped)  # type: ignore[method-assign]
    return response


def _body(response: Any) -> Any:
    """The view's own iterator, which can be closed; Django shows it inside another one, which passes that not on."""
    found = getattr(response, "_iterator", None)
    return response.streaming_content if found is None else found


class _Pieces(Pieces[bytes]):
    """A body that is made synchronously.

    Args:
        body: what makes the pieces.
        request: whose scope.
        ends: whether the scope ends after the last piece, and not only with the response.
    """

    def __init__(self, body: Iterable[bytes], request: ScopedRequest, *, ends: bool) -> None:
        super().__init__(body, request)
        self._ends = ends

    def __next__(self) -> bytes:
        try:
            return super().__next__()
        except BaseException as error:
            if self._ends or not isinstance(error, StopIteration):
                self._request.close()
            raise


async def _pieces(body: AsyncIterable[bytes], scoped: ScopedRequest) -> AsyncGenerator[bytes]:
    """A body that is made asynchronously; it may be closed before its end."""
    pieces = aiter(body)
    try:
        while True:
            with scoped.active():
                piece = await anext(pieces)
            yield piece
    except StopAsyncIteration:
        pass
    except GeneratorExit:
        raise  # the client has gone, which is no error
    except BaseException as error:
        scoped.failed(error)
        raise
    finally:
        await _finished(pieces, scoped)


async def _finished(pieces: Any, scoped: ScopedRequest) -> None:
    try:
        if hasattr(pieces, "aclose"):
            await pieces.aclose()
    finally:
        await ended(scoped)


def _close_body(body: AsyncGenerator[bytes], close: Close, scoped: ScopedRequest) -> None:
    """Closes an asynchronous body that was not read to its end, before the response."""
    if not scoped.scope.closed and not _in_event_loop():
        async_to_sync(_closed)(body)
    close()


async def _closed(body: AsyncGenerator[bytes]) -> None:
    await body.aclose()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _close(response: Any, close: Close, scoped: ScopedRequest) -> None:
    scoped.complete = True
    try:
        if scoped.scope.closed:
            close()
        else:
            with scoped.active():
                close()
    finally:
        vars(response).pop("close", None)  # or it would refer to itself, and wait for the garbage collector
        scoped.close()


def _close_request(request: HttpRequest, scoped: ScopedRequest) -> None:
    vars(request).pop("close", None)  # its own is in its class
    request.close()
    # Not while its own response is being closed: Django passes over errors here, and the scope's should be heard.
    if not scoped.complete:
        scoped.close()


def _dropped(scoped: ScopedRequest) -> None:
    """Ends the scope of a response that nobody has closed, as Django does not when a server raises."""
    if not scoped.scope.closed:
        scoped.failed(StateError("the response was dropped without being closed"))
        scoped.close()
