"""The shop's pages: they turn HTTP into calls of a service, and what it gives or raises into HTTP."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, current_app, request
from flask.typing import ResponseReturnValue

from shop.services import Catalogue, Orders, Views, order_lines
from wellwired import ErrorCode, NotFound, Provide, WriteError, inject
from wellwired.errors import Retry, StoreError
from wellwired.integrations.flask import container_of

__all__ = ["pages"]

pages = Blueprint("pages", __name__)

_REFUSALS = {"out_of_stock": 409, "no_such_product": 404}


@pages.get("/products/<int:number>")
@inject
def product(
    number: int, catalogue: Catalogue = Provide["catalogue"], views: Views = Provide["views"]
) -> ResponseReturnValue:
    """A product's page."""
    found = catalogue.product(number)
    return {"id": number, **found, "views": views.count(number)}


@pages.put("/products/<int:number>/price")
@inject
def price(number: int, catalogue: Catalogue = Provide["catalogue"]) -> ResponseReturnValue:
    """Sets a product's price."""
    body = request.get_json()
    changed = catalogue.set_price(number, body.get("cents") if isinstance(body, dict) else None)
    return dict(changed.data or {})


@pages.post("/orders")
@inject
def order(orders: Orders = Provide["orders"]) -> ResponseReturnValue:
    """Places an order; a client that hears nothing sends it again with the same key."""
    key = request.headers.get("Idempotency-Key")
    if not key:
        return {"error": "MISSING_KEY", "reason": "send a header Idempotency-Key of your own with each order"}, 400
    placed = orders.place(request.get_json(), key)
    return dict(placed.data or {}), 201, {"Idempotent-Replayed": str(placed.replayed).lower()}


@pages.get("/orders.csv")
@inject
def export(reading: sa.Connection = Provide["reading"]) -> Response:
    """All orders; the request's connection is held until the last line has been sent, or the client has gone."""
    return Response(order_lines(reading), mimetype="text/csv")


@pages.get("/alive")
def alive() -> ResponseReturnValue:
    """Whether the process is; asks nobody."""
    return container_of(current_app).health(liveness=True).to_dict()


@pages.get("/health")
def health() -> ResponseReturnValue:
    """Whether it can serve: without Redis the shop is slower, without its database it is closed."""
    found = container_of(current_app).health(timeout=2.0, optional=["redis"])
    return found.to_dict(), 200 if found.ok else 503


@pages.app_errorhandler(WriteError)
def write_failed(error: WriteError) -> ResponseReturnValue:
    """What became of a write that failed. `outcome` is what the client really needs: NOT_APPLIED or UNKNOWN."""
    told: dict[str, Any] = {"error": error.code, "outcome": error.outcome, "reason": error.reason}
    if error.code is ErrorCode.INVALID_REQUEST:
        return told, _REFUSALS.get(error.reason, 422)
    if error.retry is Retry.NEVER:
        return told, 500
    return told, 503, {"Retry-After": "1"}


@pages.app_errorhandler(NotFound)
def not_there(_error: NotFound) -> ResponseReturnValue:
    """No such product."""
    return {"error": "NOT_FOUND"}, 404


@pages.app_errorhandler(StoreError)
def store_failed(_error: StoreError) -> ResponseReturnValue:
    """Neither a copy nor the database could answer."""
    return {"error": "UNAVAILABLE"}, 503, {"Retry-After": "1"}
