"""What clients were told, and whether the database agrees: rules about plain values, which talk to nobody."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "Ledger",
    "Ordered",
    "Product",
    "agreement",
    "orders_as_told",
    "prices_as_told",
    "stock_adds_up",
    "views_as_told",
]


@dataclass(frozen=True)
class Ordered:
    """An order as a row of the table, or as it was sent."""

    customer: str
    product: int
    quantity: int
    number: int | None = None


@dataclass(frozen=True)
class Product:
    """A product as a row of the table, or as a process sees it through its store."""

    stock: int
    cents: int


@dataclass
class Ledger:
    """What became of each order as its client knows it, and what else was counted; filled by many threads.

    `progress` counts orders that have come to an end of any kind.
    """

    acknowledged: dict[str, Ordered] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    prices: dict[int, int] = field(default_factory=dict)
    views: Counter[int] = field(default_factory=Counter)
    pages: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    ended: threading.Condition = field(default_factory=threading.Condition)

    @property
    def progress(self) -> int:
        """How many orders have ended."""
        return len(self.acknowledged) + len(self.refused) + len(self.open)

    def count(self, what: str) -> None:
        """Counts one more of something."""
        with self.ended:
            self.counts[what] += 1

    def wait_for(self, progress: int, seconds: float = 60.0) -> None:
        """Waits until so many orders have ended."""
        with self.ended:
            assert self.ended.wait_for(lambda: self.progress >= progress, seconds), (
                f"{self.progress} of {progress} orders ended within {seconds} s: {dict(self.counts)}"
            )


def orders_as_told(ledger: Ledger, rows: Iterable[Ordered]) -> list[str]:
    """Compares orders with what their clients were told.

    Args:
        ledger: what they were told.
        rows: the whole table.

    Returns:
        A line for each order that is acknowledged and not there, or other than ordered, or there twice; that is refused
        and there; that nobody sent.
    """
    found: dict[str, list[Ordered]] = {}
    for row in rows:
        found.setdefault(row.customer, []).append(row)
    faults = [f"{customer}: there {len(same)} times" for customer, same in found.items() if len(same) > 1]
    for customer, order in ledger.acknowledged.items():
        if order not in found.get(customer, ()):
            faults.append(f"{customer}: acknowledged, and not there as it was acknowledged")
    faults += [f"{customer}: refused, and there" for customer in ledger.refused & found.keys()]
    known = ledger.acknowledged.keys() | ledger.refused | ledger.open
    return sorted(faults + [f"{customer}: there, and never ordered" for customer in found.keys() - known])


def stock_adds_up(before: Mapping[int, int], after: Mapping[int, Product], rows: Iterable[Ordered]) -> list[str]:
    """Compares what is left with what was there and what was ordered.

    Args:
        before: the stock of each product at the beginning.
        after: the products at the end.
        rows: the whole table of orders.
    """
    taken: Counter[int] = Counter()
    for row in rows:
        taken[row.product] += row.quantity
    return [
        f"product {number}: {before[number]} - {taken[number]} ordered, and {product.stock} are left"
        for number, product in after.items()
        if before[number] - taken[number] != product.stock or product.stock < 0
    ]


def agreement(truth: Mapping[int, Product], seen: Mapping[int, Product | None]) -> list[str]:
    """Compares what somebody sees with the table; None stands for a product that there is no copy of."""
    return [
        f"product {number}: {product} where the table has {truth[number]}"
        for number, product in seen.items()
        if product is not None and product != truth[number]
    ]


def prices_as_told(ledger: Ledger, after: Mapping[int, Product]) -> list[str]:
    """Compares prices with the last ones that were acknowledged; one client sets them, one after the other."""
    return [
        f"product {number}: costs {after[number].cents}, and was set to {cents}"
        for number, cents in ledger.prices.items()
        if after[number].cents != cents
    ]


def views_as_told(ledger: Ledger, counted: Mapping[int, int]) -> list[str]:
    """Compares a counter with what was acknowledged of it: no less than that, and no more than pages were asked for."""
    return [
        f"product {number}: {counted.get(number, 0)} views, {ledger.views[number]} acknowledged, {asked} asked for"
        for number, asked in ledger.pages.items()
        if not ledger.views[number] <= counted.get(number, 0) <= asked
    ]
