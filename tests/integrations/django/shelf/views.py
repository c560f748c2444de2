"""Views as an app has them: functions and classes, plain and asynchronous."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views import View

from tests.integrations.shop import Visit
from wellwired.containers import Provide, inject


@inject
def hello(request: HttpRequest, greeting: str = Provide["greeting"]) -> HttpResponse:
    """Gets an object."""
    return HttpResponse(greeting)


@inject
async def soon(request: HttpRequest, greeting: str = Provide["greeting"]) -> HttpResponse:
    """Gets one in an asynchronous view."""
    return HttpResponse(f"soon {greeting}")


class Shelf(View):
    """A view that is a class."""

    @inject
    def get(self, request: HttpRequest, name: str, greeting: str = Provide["greeting"]) -> HttpResponse:
        """Gets an argument of the route and an object."""
        return HttpResponse(f"{greeting} {name}")


class LateShelf(View):
    """One that is asynchronous."""

    @inject
    async def get(self, request: HttpRequest, name: str, greeting: str = Provide["greeting"]) -> HttpResponse:
        """The same."""
        return HttpResponse(f"late {greeting} {name}")


@inject
def deeper(visit: Visit = Provide["visit"]) -> Visit:
    """What a view calls, which is given the same object of the scope."""
    return visit


@inject
def visit(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """Uses the scope's object twice."""
    return JsonResponse({"same": deeper() is visit, "number": visit.number})


@inject
async def avisit(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """The same, over a wait."""
    await asyncio.sleep(0)
    return JsonResponse({"same": deeper() is visit, "number": visit.number, "thread": threading.get_ident()})


@inject
def stream(request: HttpRequest, visit: Visit = Provide["visit"]) -> StreamingHttpResponse:
    """Streams with the scope's object."""

    def pieces() -> Iterator[str]:
        try:
            for _ in range(3):
                yield f"{visit.ended} {deeper() is visit};"
        finally:
            told.append(f"{visit.ended} {deeper() is visit}")

    return StreamingHttpResponse(pieces())


hanging = threading.Event()

told: list[str] = []
"""What bodies found when they were closed."""


@inject
async def astream(request: HttpRequest, visit: Visit = Provide["visit"]) -> StreamingHttpResponse:
    """Streams asynchronously."""

    async def pieces() -> AsyncIterator[str]:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{visit.ended} {deeper() is visit};"
        finally:
            told.append(f"{visit.ended} {deeper() is visit}")

    return StreamingHttpResponse(pieces())


@inject
def file(request: HttpRequest, visit: Visit = Provide["visit"]) -> FileResponse:
    """Gives a file that tells how the visit stands when it is read."""

    class Told(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size).replace(b"?", str(visit.ended).encode())

    return FileResponse(Told(b"file: ?"))


@inject
def pieces_as_file(request: HttpRequest, visit: Visit = Provide["visit"]) -> FileResponse:
    """Gives pieces as a file."""
    return FileResponse(f"{deeper() is visit};".encode() for _ in range(2))


@inject
def fail(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """Fails with an object of the scope in hand."""
    raise RuntimeError(f"after visit {visit.number}")


@inject
async def afail(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """The same."""
    raise RuntimeError(f"after visit {visit.number}")


@inject
def missing(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """Says that there is nothing, by an exception that is no error to Django."""
    raise Http404


@inject
def exit_worker(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """Ends the worker."""
    raise SystemExit(1)


@inject
def torn(request: HttpRequest, visit: Visit = Provide["visit"]) -> StreamingHttpResponse:
    """Fails in the middle of its body."""

    def pieces() -> Iterator[str]:
        yield f"{visit.number}"
        raise RuntimeError("torn")

    return StreamingHttpResponse(pieces())


@inject
async def atorn(request: HttpRequest, visit: Visit = Provide["visit"]) -> StreamingHttpResponse:
    """The same, asynchronously."""

    async def pieces() -> AsyncIterator[str]:
        yield f"{visit.number}"
        raise RuntimeError("torn")

    return StreamingHttpResponse(pieces())


@inject
async def hang(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponse:
    """Waits for ever."""
    hanging.set()
    await asyncio.Event().wait()
    return HttpResponse(visit.number)


@inject
async def astream_hang(request: HttpRequest, visit: Visit = Provide["visit"]) -> StreamingHttpResponse:
    """Waits for ever in the middle of its body."""

    async def pieces() -> AsyncIterator[Any]:
        try:
            yield f"{visit.number}"
            await asyncio.Event().wait()
        finally:
            told.append(f"{visit.ended}")

    return StreamingHttpResponse(pieces())


@inject
def hold(request: HttpRequest, visit: Visit = Provide["visit"]) -> HttpResponseBase:
    """Only has an object of the scope."""
    return StreamingHttpResponse([]) if "stream" in request.GET else HttpResponse()
