"""Another URLconf, whose view is imported with it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from wellwired.containers import Provide, inject


@inject
def other(request: HttpRequest, greeting: str = Provide["greeting"]) -> HttpResponse:
    """Gets an object."""
    return HttpResponse(f"other {greeting}")


urlpatterns = [path("other", other)]
