"""Views that are cached, and that keep sessions."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.urls import path
from django.views.decorators.cache import cache_page, never_cache
from django.views.decorators.vary import vary_on_headers

__all__ = ["urlpatterns"]

numbers = count(1)
_FRAGMENT = "{% load cache %}{% cache 60 part who %}{{ who }} {{ number }}{% endcache %}"


def number(request: HttpRequest) -> HttpResponse:
    """A page that differs each time it is made."""
    return HttpResponse(f"made {next(numbers)}", headers={"X-Made": "here"})


@vary_on_headers("X-Region")
def regional(request: HttpRequest) -> HttpResponse:
    """A page that differs by region too."""
    return HttpResponse(f"{request.headers.get('X-Region')} {next(numbers)}")


def fragment(request: HttpRequest, who: str) -> HttpResponse:
    """A page with a part that is cached by itself."""
    return HttpResponse(engines["django"].from_string(_FRAGMENT).render({"who": who, "number": next(numbers)}))


@never_cache
def visits(request: HttpRequest) -> JsonResponse:
    """Counts the visits of a session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


@never_cache
async def avisits(request: Any) -> JsonResponse:
    """Counts them by the session's asynchronous methods."""
    seen = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", seen)
    return JsonResponse({"visits": seen})


@never_cache
def leave(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    request.session.flush()
    return HttpResponse("bye")


@never_cache
def renew(request: HttpRequest) -> HttpResponse:
    """Gives the session another key, as a login does."""
    request.session.cycle_key()
    return HttpResponse("renewed")


urlpatterns = [
    path("number", number),
    path("for-a-minute", cache_page(60)(number)),
    path("regional", regional),
    path("fragment/<who>", fragment),
    path("visits", visits),
    path("avisits", avisits),
    path("leave", leave),
    path("renew", renew),
]
