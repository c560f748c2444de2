"""What the shop does, without a word about HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from shop.tables import orders
from wellwired import DelegatedStore, WriteError, WriteManager, WriteRequest, WriteResult

__all__ = ["Catalogue", "Orders", "Views", "open_reading", "order_lines"]


class Catalogue:
    """The products: read through the layered store, changed by the write manager.

    Args:
        products: the store, over the table of products.
        writes: the manager, which evicts from the store what it has changed.
    """

    def __init__(self, products: DelegatedStore[dict[str, Any]], writes: WriteManager) -> None:
        self._products, self._writes = products, writes

    def product(self, number: int) -> dict[str, Any]:
        """A product's name, price and stock; raises `NotFound`."""
        return self._products.get(f"product:{number}")

    def set_price(self, number: int, cents: Any) -> WriteResult[Any]:
        """Changes a product's price; raises a `WriteError`."""
        return self._writes.write(WriteRequest("sql.main", "price_set", {"product": number, "cents": cents}))


class Orders:
    """The orders.

    Args:
        writes: the manager.
    """

    def __init__(self, writes: WriteManager) -> None:
        self._writes = writes

    def place(self, body: Mapping[str, Any], key: str) -> WriteResult[Any]:
        """Places an order once, however often it is sent with its key; raises a `WriteError`."""
        return self._writes.write(WriteRequest("sql.main", "order_place", body, idempotency_key=key))


class Views:
    """Counts how often a product was looked at, in Redis; a number that may be missed.

    Args:
        writes: the manager.
    """

    def __init__(self, writes: WriteManager) -> None:
        self._writes = writes

    def count(self, number: int) -> int | None:
        """Counts one more.

        Returns:
            How many it are, or None if they cannot be counted now.
        """
        payload = {"key": f"shop:views:{number}"}
        try:
            # A page is worth more than its counter: it does not wait for a Redis that is away.
            result = self._writes.write(WriteRequest("redis.cache", "view_count", payload, timeout=0.25))
        except WriteError:  # the manager has logged and counted it
            return None
        return result.data[0] if result.data else None


def open_reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for as long as a request lasts, its streamed body included."""
    with engine.connect() as connection:
        yield connection


def order_lines(connection: sa.Connection) -> Iterator[str]:
    """All orders as lines of CSV, read from the database as they are sent."""
    columns = (orders.c.id, orders.c.customer, orders.c.product, orders.c.quantity, orders.c.cents)
    yield ",".join(column.name for column in columns) + "\r\n"
    reading = connection.execution_options(stream_results=True, yield_per=500)
    for rows in reading.execute(sa.select(*columns).order_by(orders.c.id)).partitions():
        lines = io.StringIO()
        csv.writer(lines).writerows(rows)
        yield lines.getvalue()
