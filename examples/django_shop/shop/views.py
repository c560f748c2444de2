"""The shop's pages: they turn HTTP into calls of a service, and what it gives into HTTP."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views import View
from django.views.decorators.cache import cache_page
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from shop.services import Catalogue, Orders, Snapshot, Views
from wellwired import Provide, inject
from wellwired.integrations.django import container

__all__ = ["alive", "export", "health", "order", "price", "product", "shelf"]


@require_GET
@cache_page(5)
@inject
def shelf(_request: HttpRequest, catalogue: Catalogue = Provide["catalogue"]) -> HttpResponse:
    """What there is; the whole page is kept in Django's cache, which is a store of the container."""
    return JsonResponse({"products": catalogue.names()})


class ProductPage(View):
    """A product's page."""

    @inject
    def get(
        self,
        _request: HttpRequest,
        number: int,
        catalogue: Catalogue = Provide["catalogue"],
        views: Views = Provide["views"],
    ) -> HttpResponse:
        """Shows it."""
        found = catalogue.product(number)
        return JsonResponse({"id": number, **found, "views": views.count(number)})


product = ProductPage.as_view()


@require_http_methods(["PUT"])
@inject
def price(request: HttpRequest, number: int, catalogue: Catalogue = Provide["catalogue"]) -> HttpResponse:
    """Sets a product's price."""
    body = _body(request)
    changed = catalogue.set_price(number, body.get("cents") if isinstance(body, dict) else None)
    return JsonResponse(dict(changed.data or {}))


@require_POST
@inject
def order(request: HttpRequest, orders: Orders = Provide["orders"]) -> HttpResponse:
    """Places an order; a client that hears nothing sends it again with the same key."""
    key = request.headers.get("Idempotency-Key")
    if not key:
        told = {"error": "MISSING_KEY", "reason": "send a header Idempotency-Key of your own with each order"}
        return JsonResponse(told, status=400)
    placed = orders.place(_body(request), key)
    answer = {"Idempotent-Replayed": str(placed.replayed).lower()}
    return JsonResponse(dict(placed.data or {}), status=201, headers=answer)


@require_GET
@inject
def export(_request: HttpRequest, snapshot: Snapshot = Provide["snapshot"]) -> StreamingHttpResponse:
    """All orders; the request's transaction lasts until the last line has been sent, or the client has gone."""
    return StreamingHttpResponse(snapshot.lines(), content_type="text/csv")


@require_GET
def alive(_request: HttpRequest) -> HttpResponse:
    """Whether the process is; asks nobody."""
    return JsonResponse(container().health(liveness=True).to_dict())


@require_GET
def health(_request: HttpRequest) -> HttpResponse:
    """Whether it can serve: without Redis the shop is slower, without its database it is closed."""
    found = container().health(timeout=2.0, optional=["redis"])
    return JsonResponse(found.to_dict(), status=200 if found.ok else 503)


def _body(request: HttpRequest) -> Any:
    """The JSON that was sent; None, which fits no payload, if it is none."""
    try:
        return json.loads(request.body)
    except ValueError:
        return None
