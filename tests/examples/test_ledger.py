"""Tests of the rules by which a trial compares what clients were told with what is there."""

from __future__ import annotations

from collections import Counter

from tests.examples.ledger import (
    Ledger,
    Ordered,
    Product,
    agreement,
    orders_as_told,
    prices_as_told,
    stock_adds_up,
    views_as_told,
)

ADA, BOB = Ordered("ada", 1, 2, 7), Ordered("bob", 1, 3, 8)


def test_orders_that_are_as_told_are_no_fault() -> None:
    """An order without an answer may be there or not."""
    ledger = Ledger(acknowledged={"ada": ADA}, refused={"eve"}, open={"bob", "cy"})
    assert orders_as_told(ledger, [ADA, BOB]) == []


def test_each_disagreement_about_orders_is_named() -> None:
    """Lost, doubled, changed, refused and there, and never sent."""
    ledger = Ledger(acknowledged={"ada": ADA, "cy": Ordered("cy", 1, 1, 9)}, refused={"eve"}, open={"bob"})
    rows = [BOB, Ordered("bob", 1, 3, 10), Ordered("cy", 1, 5, 9), Ordered("eve", 1, 1, 11), Ordered("zoe", 1, 1, 12)]
    assert orders_as_told(ledger, rows) == [
        "ada: acknowledged, and not there as it was acknowledged",
        "bob: there 2 times",
        "cy: acknowledged, and not there as it was acknowledged",
        "eve: refused, and there",
        "zoe: there, and never ordered",
    ]


def test_stock_is_what_was_there_without_what_was_ordered() -> None:
    """One too many or too few is found, and so is less than nothing."""
    assert stock_adds_up({1: 10}, {1: Product(5, 0)}, [ADA, BOB]) == []
    assert stock_adds_up({1: 10}, {1: Product(6, 0)}, [ADA, BOB]) == ["product 1: 10 - 5 ordered, and 6 are left"]
    assert stock_adds_up({1: 4}, {1: Product(-1, 0)}, [ADA, BOB]) == ["product 1: 4 - 5 ordered, and -1 are left"]


def test_a_copy_agrees_or_is_not_there() -> None:
    """An old price or stock is found."""
    truth = {1: Product(5, 100), 2: Product(0, 1)}
    assert agreement(truth, {1: Product(5, 100), 2: None}) == []
    assert len(agreement(truth, {1: Product(6, 100), 2: Product(0, 2)})) == 2


def test_prices_and_views_are_as_told() -> None:
    """The last price that was set, and a counter between what was acknowledged and what was asked for."""
    ledger = Ledger(prices={1: 100}, views=Counter({1: 3}), pages=Counter({1: 5}))
    assert prices_as_told(ledger, {1: Product(0, 100)}) == []
    assert len(prices_as_told(ledger, {1: Product(0, 99)})) == 1
    assert [len(views_as_told(ledger, {1: count})) for count in (2, 3, 5, 6)] == [1, 0, 0, 1]
