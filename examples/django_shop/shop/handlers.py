"""What the shop writes: each handler does one type of write, in an atomic block of its own."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from django.db.models import F

from shop.models import Order, Product
from wellwired import WriteRequest, handler
from wellwired.errors import InvalidRequestError
from wellwired.handlers.redis import increment

__all__ = ["order_place", "price_set", "view_count"]

Id = Annotated[int, msgspec.Meta(ge=1)]


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as it is placed."""

    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    product: Id
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)]


class NewPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new price of a product."""

    product: Id
    cents: Annotated[int, msgspec.Meta(ge=0)]


def product_changed(request: WriteRequest) -> dict[str, list[str]]:
    """Which copies in the stores are old after the write."""
    return {"stores.products": [f"product:{request.payload.product}"]}


@handler("order_place", backend="django", payload=NewOrder, changes=product_changed)
def order_place(request: WriteRequest, _connection: Any) -> dict[str, Any]:
    """Takes the goods from the stock and notes the order: both, or neither."""
    wanted: NewOrder = request.payload
    product = Product.objects.filter(pk=wanted.product)
    if not product.filter(stock__gte=wanted.quantity).update(stock=F("stock") - wanted.quantity):
        raise InvalidRequestError("it cannot be had", reason="out_of_stock" if product.exists() else "no_such_product")
    cents = product.get().cents * wanted.quantity
    order = Order.objects.create(
        customer=wanted.customer, product_id=wanted.product, quantity=wanted.quantity, cents=cents
    )
    # What is returned is kept under the idempotency key, and is the answer to whoever sends the order again.
    return {"order": order.pk, "cents": cents}


@handler("price_set", backend="django", payload=NewPrice, idempotent=True, changes=product_changed)
def price_set(request: WriteRequest, _connection: Any) -> dict[str, int]:
    """Sets a price."""
    wanted: NewPrice = request.payload
    product = Product.objects.select_for_update().filter(pk=wanted.product).first()
    if product is None:
        raise InvalidRequestError("there is no such product", reason="no_such_product")
    product.cents = wanted.cents
    product.save(update_fields=["cents"])
    return {"cents": wanted.cents}


view_count = increment(type="view_count")
