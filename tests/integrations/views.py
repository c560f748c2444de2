"""Views as an application has them, in a module that several applications share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request, stream_with_context
from flask.views import MethodView

from tests.integrations.shop import Visit
from wellwired.containers import Provide, inject

pages = Blueprint("pages", __name__)


@pages.get("/hello")
@inject
def hello(greeting: str = Provide["greeting"]) -> str:
    """Gets an object."""
    return greeting


@pages.get("/soon")
@inject
async def soon(greeting: str = Provide["greeting"]) -> str:
    """Gets one in an asynchronous view."""
    return f"soon {greeting}"


class Shelf(MethodView):
    """A view that is a class."""

    @inject
    def get(self, name: str, greeting: str = Provide["greeting"]) -> str:
        """Gets an argument of the route and an object."""
        return f"{greeting} {name}"


pages.add_url_rule("/shelf/<name>", view_func=Shelf.as_view("shelf"))


@inject
def deeper(visit: Visit = Provide["visit"]) -> Visit:
    """What a view calls, which is given the same object of the scope."""
    return visit


@pages.get("/visit")
@inject
def visit(visit: Visit = Provide["visit"]) -> dict[str, Any]:
    """Uses the scope's object twice."""
    return {"same": deeper() is visit, "number": visit.number}


@pages.get("/stream")
@inject
def stream(visit: Visit = Provide["visit"]) -> Response:
    """Streams with the scope's object."""

    def pieces() -> Iterator[str]:
        for _ in range(3):
            yield f"{visit.ended} {deeper() is visit};"

    return Response(stream_with_context(pieces()) if request.args.get("context") else pieces())


@pages.get("/fail")
@inject
def fail(visit: Visit = Provide["visit"]) -> str:
    """Fails with an object of the scope in hand."""
    raise RuntimeError(f"after visit {visit.number}")


@pages.get("/torn")
@inject
def torn(visit: Visit = Provide["visit"]) -> Response:
    """Fails in the middle of its body."""

    def pieces() -> Iterator[str]:
        yield f"{visit.number}"
        raise RuntimeError("torn")

    return Response(pieces())
