"""Time is a provider: one override, and every part of an application goes by another clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testing.shop import Shop, orders, place, settings
from wellwired import WriteRequest
from wellwired.clock import SYSTEM
from wellwired.errors import WriteError
from wellwired.testing import VirtualClock
from wellwired.writers import idempotency
from wellwired.writers.dead_letters import Replayable

PARTS: dict[str, Callable[[Any], Any]] = {
    "the write manager": lambda shop: shop.write_manager()._clock,
    "a writer of a database": lambda shop: shop.writers["sql.main"]()._clock,
    "a writer of a Redis": lambda shop: shop.writers["redis.cache"]()._backend._clock,
    "a memory layer": lambda shop: shop.stores["prices"]().layers[0].store.now.__self__,
    "a layer in a Redis": lambda shop: shop.stores["prices"]().layers[1].store._clock._now.__self__,
    "a layer in a database": lambda shop: shop.stores["prices"]().layers[2].store._now.__self__,
    "a store": lambda shop: shop.stores["prices"]()._stack.now.__self__,
    "dead letters": lambda shop: shop.dead_letters()._clock,
}


def shop_of(tmp_path: Path) -> Any:
    """A shop on embedded backends, which keeps dead letters in a file."""
    return Shop(
        settings=settings(
            sql={"main": {"url": f"sqlite:///{tmp_path}/shop.db"}},
            redis={"cache": {"url": "memory://"}},
            writes={"dead_letters": {"path": str(tmp_path / "letters.jsonl")}},
        )
    )


@pytest.fixture
def clock() -> VirtualClock:
    """Another clock."""
    return VirtualClock()


@pytest.fixture
def shop(tmp_path: Path, clock: VirtualClock) -> Iterator[Any]:
    """A shop that goes by it."""
    made = shop_of(tmp_path)
    with made.overriding({"clock": clock}), made:
        engine = made.sql["main"]()
        orders.create(engine)
        idempotency.create_tables(engine)
        made.stores["prices"]().layers[2].store.create_table()
        yield made


@pytest.mark.parametrize("part", PARTS)
def test_every_part_goes_by_the_clock(shop: Any, clock: VirtualClock, part: str) -> None:
    """None is left on the system's."""
    assert PARTS[part](shop) is clock


def test_the_clock_is_the_system_s(tmp_path: Path) -> None:
    """Unless somebody says otherwise."""
    assert shop_of(tmp_path).clock() is SYSTEM


def test_what_is_stamped_bears_the_clock_s_time(shop: Any, clock: VirtualClock) -> None:
    """Idempotency keys and dead letters."""
    manager = shop.write_manager()
    manager.write(WriteRequest("sql.main", "order_add", {"order_id": "a", "cents": 1}, idempotency_key="k"))
    with shop.sql["main"]().connect() as connection:
        (row,) = connection.execute(idempotency.table.select())
    assert row.created_at == int(clock.wall())
    manager.write(place("b"))
    with shop.sql["main"]().begin() as connection:
        orders.drop(connection)
    with pytest.raises(WriteError):
        manager.write(place("c"))
    letters = shop.dead_letters()
    assert isinstance(letters, Replayable)
    assert [waiting.letter.at for waiting in letters.pile().waiting] == [clock.wall()]


def test_letters_in_a_table_go_by_it_too(clock: VirtualClock) -> None:
    """As those in a file."""
    made: Any = Shop(settings=settings(sql={"main": {"url": "sqlite://"}}, writes={"dead_letters": {"sql": "main"}}))
    with made.overriding({"clock": clock}):
        assert made.dead_letters()._clock is clock
    made.stop()
