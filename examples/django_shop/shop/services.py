"""What the shop does, without a word about HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction

from shop.models import Order, Product
from wellwired import DelegatedStore, WriteError, WriteManager, WriteRequest, WriteResult
from wellwired.stores.loader import MISSING, Missing

__all__ = ["Catalogue", "Orders", "Snapshot", "Views", "open_snapshot", "product_of", "products_of"]

_PREFIX = "product:"


def products_of(keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows of products by their keys in the store; the bottom of its layers."""
    numbers = [int(key.removeprefix(_PREFIX)) for key in keys]
    rows = Product.objects.filter(pk__in=numbers).values("id", "name", "cents", "stock")
    return {f"{_PREFIX}{row.pop('id')}": row for row in rows}


def product_of(key: str) -> dict[str, Any] | Missing:
    """The row of one product, or that there is none."""
    return products_of([key]).get(key, MISSING)


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
        return self._products.get(f"{_PREFIX}{number}")

    def names(self) -> list[dict[str, Any]]:
        """All products, without what changes often."""
        return list(Product.objects.order_by("id").values("id", "name"))

    def set_price(self, number: int, cents: Any) -> WriteResult[Any]:
        """Changes a product's price; raises a `WriteError`."""
        return self._writes.write(WriteRequest("django.default", "price_set", {"product": number, "cents": cents}))


class Orders:
    """The orders.

    Args:
        writes: the manager.
    """

    def __init__(self, writes: WriteManager) -> None:
        self._writes = writes

    def place(self, body: Mapping[str, Any], key: str) -> WriteResult[Any]:
        """Places an order once, however often it is sent with its key; raises a `WriteError`."""
        return self._writes.write(WriteRequest("django.default", "order_place", body, idempotency_key=key))


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


class Snapshot:
    """The orders as they were when the request began; for one request."""

    def lines(self) -> Iterator[str]:
        """All orders as lines of CSV, read from the database as they are sent."""
        columns = ("id", "customer", "product", "quantity", "cents")
        yield ",".join(columns) + "\r\n"
        lines = io.StringIO()
        rows = csv.writer(lines)
        for row in Order.objects.order_by("id").values_list(*columns).iterator(chunk_size=500):
            rows.writerow(row)
            if lines.tell() > 16_384:
                yield lines.getvalue()
                lines.seek(0)
                lines.truncate()
        yield lines.getvalue()


def open_snapshot() -> Iterator[Snapshot]:
    """One transaction for as long as a request lasts, its streamed body included."""
    with transaction.atomic():
        yield Snapshot()
