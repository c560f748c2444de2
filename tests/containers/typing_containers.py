"""What type checkers see of containers: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, assert_type

from wellwired.containers import Container, Scope, providers, scope


class Pool:
    """An object."""

    def ping(self) -> bool:
        """Answers."""
        return True

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *error: object) -> None: ...


def generated() -> Iterator[Pool]:
    """A generator initialiser."""
    yield Pool()


@contextmanager
def managed() -> Iterator[Pool]:
    """A managed initialiser."""
    yield Pool()


class Shop(Container):
    """One of each."""

    single = providers.Singleton(Pool)
    plain = providers.Resource(Pool).closed_by(lambda it: it.ping()).pinged_by(Pool.ping).renewed_by(Pool.ping)
    entered = providers.Resource(Pool).entered()
    generated = providers.Resource(generated)
    managed = providers.Resource(managed)
    scoped = providers.Scoped(generated)
    family: providers.Named[Pool] = providers.Named({}, lambda key, it: providers.Resource(Pool))


shop = Shop(single=1, overrides={"family.main": 2})
assert_type(shop, Shop)
assert_type(shop.start(), Shop)
assert_type(shop.check(), Shop)
assert_type(shop.single(), Pool)
assert_type(shop.plain(), Pool)
assert_type(shop.entered(), Any)
assert_type(shop.generated(), Pool)
assert_type(shop.managed(), Pool)
assert_type(shop.scoped(), Pool)
assert_type(shop.family(), dict[str, Pool])
assert_type(shop.family["main"](), Pool)
assert_type(shop.resolve("single"), Any)
with Shop() as started:
    assert_type(started, Shop)
with shop.overriding({"single": 1, Shop.plain: 2, Shop.family["main"]: 3}) as overridden:
    assert_type(overridden, Shop)
with scope() as active:
    assert_type(active, Scope)
