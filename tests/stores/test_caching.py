"""The decorator: a function or method with a store in front of it, typed, with keys that never collide."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stores.fakes import FakeStore
from wellwired.errors import KeyFormatError, StoreTimeoutError
from wellwired.stores import Cached, DelegatedStore, Hit, MemoryStore, Miss, cached
from wellwired.stores.keys import split_key

store = DelegatedStore[Any]([MemoryStore()], name="of the module")


class Accounts:
    """A class with cached methods of each kind."""

    def __init__(self, factor: int = 1) -> None:
        self.factor, self.calls = factor, 0

    @cached(store, key="balance")
    def balance(self, account: int, currency: str = "EUR") -> str:
        """What is on an account."""
        self.calls += 1
        return f"{account * self.factor} {currency}"

    @cached(store, key=lambda self, account: f"own:{self.factor}:{account}")
    def own(self, account: int) -> int:
        """A value that depends on the object."""
        self.calls += 1
        return account * self.factor

    @staticmethod
    @cached(store, key="static")
    def doubled(number: int) -> int:
        """A value of nothing but its argument."""
        return 2 * number


@pytest.fixture(autouse=True)
def cold() -> None:
    """Every test begins with nothing stored."""
    store.clear()


def test_a_function_is_called_once_for_each_arguments() -> None:
    """However they are written: by position, by name, or left to their defaults."""
    calls: list[tuple[int, str]] = []

    @cached(store, key="price", ttl=60.0)
    def price(item: int, currency: str = "EUR") -> str:
        """What an item costs."""
        calls.append((item, currency))
        return f"{item} {currency}"

    assert [price(1), price(item=1), price(1, "EUR"), price(1, currency="EUR")] == ["1 EUR"] * 4
    assert price(1, "USD") == "1 USD" and calls == [(1, "EUR"), (1, "USD")]
    assert split_key(price.key(1)) == ("price", 1, "EUR")
    found = price.lookup(1)
    assert isinstance(found, Hit) and found.value == "1 EUR" and found.left is not None and 0 < found.left <= 60
    assert price.lookup(2) == Miss(price.key(2)) and len(calls) == 2


def test_arguments_that_differ_never_share_a_key() -> None:
    """Neither do those of different types, nor those that look alike when written one after another."""

    @cached(store, key="k")
    def pair(one: Any, other: Any) -> Any:
        return one, other

    pairs = [
        ("a b", "c"),
        ("a", "b c"),
        (1, "1"),
        ("1", 1),
        (True, 1),
        (1, True),
        (None, "None"),
        ("a:b", "c"),
        ("a", "b:c"),
    ]
    assert len({pair.key(*each) for each in pairs}) == len(pairs)
    with pytest.raises(KeyFormatError):
        pair([], {})


def test_a_method_is_cached_for_the_class() -> None:
    """The object is no part of a key that is built of the arguments; a key function sees it."""
    one, two = Accounts(1), Accounts(2)
    assert one.balance(5) == "5 EUR" == two.balance(5) and (one.calls, two.calls) == (1, 0)
    assert (one.own(5), two.own(5), two.own(5)) == (5, 10, 10) and two.calls == 1
    assert Accounts.doubled(4) == 8 and isinstance(store.lookup(Accounts.doubled.key(4)), Hit)
    assert one.balance.key(5) == two.balance.key(account=5) != one.own.key(5)


def test_what_was_forgotten_is_called_for_again() -> None:
    """Forgetting removes the value for those arguments from every layer, and no other."""
    account = Accounts()
    account.balance(1)
    account.balance(2)
    assert account.balance.forget(1) and not account.balance.forget(1)
    account.balance(1)
    account.balance(2)
    assert account.calls == 3


def test_it_looks_like_the_function() -> None:
    """Its name, text and function are there for who looks for them."""
    assert isinstance(Accounts.balance, Cached) and Accounts.balance.__doc__ == "What is on an account."
    assert Accounts.balance.__name__ == "balance" and repr(Accounts.balance) == "<cached Accounts.balance>"  # type: ignore[attr-defined]
    assert Accounts.balance.__wrapped__(Accounts(3), 2) == "6 EUR"  # type: ignore[attr-defined]


def test_a_store_may_come_later() -> None:
    """A function that gives the store is asked at each call, so a module can be imported before there is one."""
    stores: list[DelegatedStore[Any]] = []

    @cached(lambda: stores[-1], key="k")
    def twice(number: int) -> int:
        return number * 2

    for _ in range(2):
        primary = FakeStore()
        stores.append(DelegatedStore[Any]([primary]))
        assert twice(2) == 4 and list(primary.data) == [twice.key(2)]


def test_a_deadline_is_the_callers() -> None:
    """A call that takes longer is a typed failure, and its value is there for the next one."""
    import threading

    gate = threading.Event()

    @cached(DelegatedStore[Any]([MemoryStore()]), key="slow", deadline=0.02)
    def slow() -> str:
        assert gate.wait(10)
        return "done"

    with pytest.raises(StoreTimeoutError):
        slow()
    gate.set()
    while not isinstance(slow.lookup(), Hit):
        pass
    assert slow() == "done"


def test_any_number_of_arguments_needs_a_key_function() -> None:
    """Of those no key can be built that says which is which."""

    def total(*numbers: int) -> int:
        return sum(numbers)

    with pytest.raises(ValueError, match="takes any number of arguments"):
        cached(store, key="total")(total)
    summed = cached(store, key=lambda *numbers: f"total:{numbers}")(total)
    assert summed(1, 2) == 3 == summed(1, 2)


def test_an_error_of_the_function_is_its_callers() -> None:
    """It is raised as it is, and not remembered."""
    calls: list[int] = []

    @cached(store, key="broken")
    def broken(number: int) -> int:
        calls.append(number)
        return 1 // number

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            broken(0)
    assert calls == [0, 0]
