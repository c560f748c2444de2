"""``python -m benchmarks.requests``: what a request costs more in Django and Flask, by its scope and by injection.

The frameworks' own applications are called as a server calls them, without a network: a plain view, the same with the
scope around it, with an object of the container injected, and with one that lives for the request and has an end.
Blocks of requests are done in turns, and lower deciles of single requests are divided and subtracted, as in
`benchmarks.turns`; the process is pinned to one core.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from django.conf import settings

from wellwired import Container, Provide, inject, providers

BLOCK, ROUNDS = 50, 100

Ask = Callable[[], Any]


class Service:
    """What a view uses."""


def visiting() -> Iterator[Service]:
    """What lives for a request."""
    yield Service()


class Shop(Container):
    """What serves the requests."""

    service = providers.Singleton(Service)
    visit = providers.Scoped(visiting)


def plain(*_: Any) -> Any:
    """A view that uses nothing."""
    return RESPONSES["now"]()


@inject
def injected(*_: Any, service: Service = Provide["service"]) -> Any:  # noqa: ARG001
    """A view that uses an object of the container."""
    return RESPONSES["now"]()


@inject
def scoped(*_: Any, visit: Service = Provide["visit"]) -> Any:  # noqa: ARG001
    """A view that uses an object of the request."""
    return RESPONSES["now"]()


async def aplain(*_: Any) -> Any:
    """The same, asynchronously."""
    return RESPONSES["now"]()


@inject
async def ainjected(*_: Any, service: Service = Provide["service"]) -> Any:  # noqa: ARG001
    """The same, asynchronously."""
    return RESPONSES["now"]()


@inject
async def ascoped(*_: Any, visit: Service = Provide["visit"]) -> Any:  # noqa: ARG001
    """The same, asynchronously."""
    return RESPONSES["now"]()


VIEWS = {"plain": plain, "injected": injected, "scoped": scoped}
AVIEWS = {"aplain": aplain, "ainjected": ainjected, "ascoped": ascoped}
RESPONSES: dict[str, Callable[[], Any]] = {}
SCOPE = "wellwired.integrations.django.middleware.request_scope"
urlpatterns: list[Any] = []


def set_django_up() -> None:
    """A project of nothing but the views."""
    import django
    from django.urls import path

    settings.configure(
        SECRET_KEY="only for benchmarks",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["wellwired.integrations.django"],
        WELLWIRED={"CONTAINER": Shop},
        LOGGING_CONFIG=None,
    )
    django.setup()
    urlpatterns.extend(path(name, view) for name, view in (VIEWS | AVIEWS).items())


def environ(name: str) -> dict[str, Any]:
    """A request as WSGI has it."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/{name}",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }


def asks(application: Any, name: str) -> Ask:
    """Asks a WSGI application, as a server does."""

    def ask() -> None:
        body = application(environ(name), lambda *_: lambda _: None)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()

    return ask


def django_works() -> dict[str, Ask]:
    """Requests of Django under WSGI."""
    from django.core.handlers.wsgi import WSGIHandler

    settings.MIDDLEWARE = []
    without = WSGIHandler()
    settings.MIDDLEWARE = [SCOPE]
    around = WSGIHandler()
    return {"a plain view": asks(without, "plain")} | with_scope(around, "")


def with_scope(around: Any, prefix: str) -> dict[str, Ask]:
    """The requests that have a scope."""
    return {
        "with a scope": asks(around, f"{prefix}plain"),
        "with a scope and an injected object": asks(around, f"{prefix}injected"),
        "with a scope and an object of its own": asks(around, f"{prefix}scoped"),
    }


def flask_works() -> dict[str, Ask]:
    """Requests of Flask."""
    from flask import Flask

    from wellwired.integrations.flask import Wellwired

    bare, app = Flask("bare"), Flask(__name__)
    for each in (bare, app):
        for name, view in VIEWS.items():
            each.add_url_rule(f"/{name}", name, view)
    Wellwired(app, container=Shop)
    return {"a plain view": asks(bare.wsgi_app, "plain")} | with_scope(app.wsgi_app, "")


def asgi_works(loop: asyncio.AbstractEventLoop) -> dict[str, Ask]:
    """Requests of Django under ASGI, below the handler's own tasks: what the middleware has to do with."""
    from django.core.handlers.asgi import ASGIHandler, ASGIRequest

    settings.MIDDLEWARE = []
    without = ASGIHandler()
    settings.MIDDLEWARE = [SCOPE]
    around = ASGIHandler()

    def asks_asgi(handler: Any, name: str) -> Ask:
        place = {"type": "http", "method": "GET", "path": f"/{name}", "query_string": b"", "headers": []}

        async def ask() -> None:
            await handler.get_response_async(ASGIRequest(place, io.BytesIO()))

        return lambda: loop.run_until_complete(ask())

    return {
        "a plain view": asks_asgi(without, "aplain"),
        "with a scope": asks_asgi(around, "aplain"),
        "with a scope and an injected object": asks_asgi(around, "ainjected"),
        "with a scope and an object of its own": asks_asgi(around, "ascoped"),
    }


def measure(works: dict[str, Ask]) -> dict[str, float]:
    """The lower decile of each, in microseconds."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(ROUNDS + 4):
        for name, ask in works.items():
            for _ in range(BLOCK):
                began = time.perf_counter()
                ask()
                if turn >= 4:
                    taken[name].append((time.perf_counter() - began) * 1e6)
    return {name: sorted(values)[len(values) // 10] for name, values in taken.items()}


def main() -> None:
    """Measures and prints."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    set_django_up()
    from django.http import HttpResponse

    loop = asyncio.new_event_loop()
    kinds: dict[str, tuple[dict[str, Ask], Callable[[], Any]]] = {
        "Django, WSGI": (django_works(), lambda: HttpResponse(b"hello")),
        "Django, ASGI": (asgi_works(loop), lambda: HttpResponse(b"hello")),
        "Flask": (flask_works(), lambda: "hello"),
    }
    gc.disable()
    print("| | | µs, lower decile | more, µs | ratio |\n|---|---|---|---|---|")
    for kind, (works, respond) in kinds.items():
        RESPONSES["now"] = respond
        taken = measure(works)
        floor = taken["a plain view"]
        for name, value in taken.items():
            print(f"| {kind} | {name} | {value:.1f} | {value - floor:+.1f} | {value / floor:.2f} |")
    loop.close()


if __name__ == "__main__":
    # Views are wired by the name of their module, which is not this one when it is run as a script.
    import_module("benchmarks.requests").main()
