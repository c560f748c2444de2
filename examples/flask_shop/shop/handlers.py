"""What the shop writes: each handler does one type of write, in a transaction of its own."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from shop.tables import orders, products
from wellwired import WriteRequest, handler
from wellwired.errors import InvalidRequestError
from wellwired.handlers.redis import increment

__all__ = ["order_place", "price_set", "view_count"]

Id = Annotated[int, msgspec.Meta(ge=1)]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as it is placed."""

    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    product: Id
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new price of a product."""

    product: Id
    cents: Annotated[int, msgspec.Meta(ge=0)]


def product_changed(request: WriteRequest) -> dict[str, list[str]]:
    """Which copies in the stores are old after the write."""
    return {"stores.products": [f"product:{request.payload.product}"]}


@handler("order_place", backend="sql", payload=Order, changes=product_changed)
def order_place(request: WriteRequest, connection: sa.Connection) -> dict[str, Any]:
    """Takes the goods from the stock and notes the order: both, or neither."""
    wanted: Order = request.payload
    product = products.c.id == wanted.product
    enough = products.c.stock >= wanted.quantity
    taking = products.update().where(product, enough).values(stock=products.c.stock - wanted.quantity)
    if connection.execute(taking).rowcount != 1:
        there = connection.scalar(sa.select(sa.func.count()).where(product))
        raise InvalidRequestError("it cannot be had", reason="out_of_stock" if there else "no_such_product")
    cents = connection.execute(sa.select(products.c.cents).where(product)).scalar_one() * wanted.quantity
    row = {**msgspec.structs.asdict(wanted), "cents": cents}
    placed = connection.execute(orders.insert(), row).inserted_primary_key
    # What is returned is kept under the idempotency key, and is the answer to whoever sends the order again.
    return {"order": placed[0] if placed else None, "cents": cents}


@handler("price_set", backend="sql", payload=Price, idempotent=True, changes=product_changed)
def price_set(request: WriteRequest, connection: sa.Connection) -> dict[str, int]:
    """Sets a price."""
    wanted: Price = request.payload
    product = products.c.id == wanted.product
    # MySQL counts the rows that change, and the price may be what it was.
    if connection.scalar(sa.select(products.c.id).where(product).with_for_update()) is None:
        raise InvalidRequestError("there is no such product", reason="no_such_product")
    connection.execute(products.update().where(product).values(cents=wanted.cents))
    return {"cents": wanted.cents}


view_count = increment(type="view_count")
