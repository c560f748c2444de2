"""A URLconf with a view whose marker leads nowhere; a test that imports it takes it out again."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from wellwired.containers import Provide, inject


@inject
def lost(request: HttpRequest, found: str = Provide["lost"]) -> HttpResponse:
    """Marks what is not there."""
    return HttpResponse(found)


urlpatterns = [path("lost", lost), path("fine", lambda _: HttpResponse())]
