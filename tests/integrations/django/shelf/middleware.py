"""Middleware of the test project, around the scope and inside it; each does what a header of the request says."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

__all__ = ["Plain", "inner", "outer"]


def _act(place: str, request: HttpRequest, response: Any) -> Any:
    match request.headers.get(place):
        case "fail":
            raise RuntimeError(f"{place} failed")
        case "missing":
            raise Http404
        case "replace":
            return HttpResponse("replaced")
    return response


def _around(place: str, get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def aserve(request: HttpRequest) -> Any:
            return _act(place, request, await get_response(request))

        return aserve

    def serve(request: HttpRequest) -> Any:
        return _act(place, request, get_response(request))

    return serve


@sync_and_async_middleware
def outer(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Around the scope."""
    return _around("outer", get_response)


@sync_and_async_middleware
def inner(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Inside the scope."""
    return _around("inner", get_response)


class Plain(MiddlewareMixin):
    """Of one colour only, as older middleware is; Django changes threads for it."""

    async_capable = False

    def process_request(self, request: HttpRequest) -> None:
        """Looks at a request."""
