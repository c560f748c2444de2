"""The scope of a request in Django: around the middleware below it, the view, and the streamed body.

It stands as high in ``MIDDLEWARE`` as its scope shall reach; no other middleware needs to know of it. Under WSGI and
ASGI alike, a whole response ends the scope before it is sent, so that an ending that fails is an error page; a streamed
one ends it when the server closes the response, which it does also when the client has gone.

Django answers an exception with a page, below this middleware already. The scope hears of the exception all the same:
of one in a view, whatever it is, by ``process_exception``, and of one in other middleware by a signal. It then ends
with that error, as a database transaction around the view would.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from wellwired.integrations._requests import ScopedRequest
from wellwired.integrations.django._project import project
from wellwired.integrations.django._streams import ended, handed_over

__all__ = ["note_failure", "request_scope"]

_KEPT = "_wellwired"

Handler = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def request_scope(get_response: Handler) -> Handler:
    """Gives every request a started container and a scope; see the module.

    Args:
        get_response: the middleware below, or the view; the result is of its colour.
    """
    around = _asynchronous(get_response) if iscoroutinefunction(get_response) else _synchronous(get_response)
    around.process_exception = _process_exception  # type: ignore[attr-defined]
    return around


def _synchronous(get_response: Handler) -> Handler:
    def serve(request: HttpRequest) -> Any:
        scoped = _begun(request)
        try:
            with scoped.active():
                response = get_response(request)
        except BaseException as error:
            scoped.failed(error)
            scoped.close()
            raise
        if response.streaming:
            return handed_over(request, response, scoped)
        scoped.close()
        return response

    return serve


def _asynchronous(get_response: Callable[[HttpRequest], Awaitable[Any]]) -> Handler:
    async def serve(request: HttpRequest) -> Any:
        found = project()
        if not found.ready:
            # Loading and connecting take their time, which other requests should not have to wait for.
            await sync_to_async(found.serve)()
        scoped = _begun(request)
        try:
            with scoped.active():
                response = await get_response(request)
        except BaseException as error:
            scoped.failed(error)
            await ended(scoped)
            raise
        if response.streaming:
            return handed_over(request, response, scoped, asynchronous=True)
        await ended(scoped)
        return response

    return serve


def _begun(request: HttpRequest) -> ScopedRequest:
    scoped = ScopedRequest(project().serve())
    setattr(request, _KEPT, scoped)
    return scoped


def _process_exception(request: HttpRequest, exception: Exception) -> None:
    scoped = getattr(request, _KEPT, None)
    if scoped is not None:
        scoped.failed(exception)


def note_failure(*, request: HttpRequest | None = None, **_: object) -> None:
    """Has the scope of a request end with the error that Django is about to answer with a page; a signal's receiver."""
    scoped = getattr(request, _KEPT, None)
    error = sys.exc_info()[1]
    if scoped is not None and error is not None:
        scoped.failed(error)
