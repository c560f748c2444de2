"""A function that nobody has wired has its module offered to whoever adopts modules, before it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.containers.wired import MakeModule, Shop
from wellwired.containers import _adopting
from wellwired.containers._adopting import adopt_with
from wellwired.errors import WiringError

CODE = """
    @inject
    def show(name, users=Provide["users"], fresh=Provide["fresh"]):
        return name, users, fresh

    @inject
    async def soon(users=Provide["users"]):
        return users
"""


@pytest.fixture(autouse=True)
def _nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adopters of integrations are left out."""
    monkeypatch.setattr(_adopting, "_adopters", [])


def adopting(shop: Shop, *, mine: bool = True) -> list[str]:
    """Adds somebody who wires every module, or none; gives what is asked."""
    asked: list[str] = []

    def adopt(module: str) -> bool:
        asked.append(module)
        if mine:
            shop.wire([module])
        return mine

    adopt_with(adopt)
    adopt_with(adopt)
    return asked


def test_the_first_call_has_the_module_wired(shop: Shop, make_module: MakeModule) -> None:
    """All its functions, for all their parameters, by one question."""
    views = make_module(CODE)
    asked = adopting(shop)
    name, users, fresh = views.show("x")
    assert (name, users) == ("x", shop.users()) and fresh is not None
    assert asyncio.run(views.soon()) is shop.users()
    assert asked == [views.__name__]


def test_who_gives_everything_asks_nobody(shop: Shop, make_module: MakeModule) -> None:
    """A unit test that passes what it likes needs no container."""
    asked = adopting(shop)
    assert make_module(CODE).show(1, 2, 3) == (1, 2, 3)
    assert asked == []


def test_a_module_of_nobodys_is_refused(shop: Shop, make_module: MakeModule) -> None:
    """Each is asked in turn, and the error is what it would have been."""
    views = make_module(CODE)
    asked, others = adopting(shop, mine=False), adopting(shop, mine=False)
    with pytest.raises(WiringError, match="is not wired"):
        views.show(1)
    assert asked == others == [views.__name__]


def test_the_first_who_wants_a_module_has_it(shop: Shop, make_module: MakeModule) -> None:
    """The others are not asked."""
    views = make_module(CODE)
    adopting(shop)
    others: list[Any] = adopting(Shop())
    assert views.show(1)[1] is shop.users()
    assert others == []


def test_what_an_adopter_raises_reaches_the_caller(shop: Shop, make_module: MakeModule) -> None:
    """A marker that leads nowhere is told by the call that found it."""
    views = make_module("""
        @inject
        def show(users=Provide["usres"]):
            return users
    """)
    adopting(shop)
    with pytest.raises(WiringError, match="usres"):
        views.show()


def test_a_module_that_was_unwired_is_offered_again(shop: Shop, make_module: MakeModule) -> None:
    """As after a test that had wired it to a container of its own."""
    views = make_module(CODE)
    asked = adopting(shop)
    with Shop().wire([views]):
        views.show(1)
    views.show(1)
    assert asked == [views.__name__]
