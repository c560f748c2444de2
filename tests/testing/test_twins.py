"""In-memory twins: an application works without a server, and everything but the backends is the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.testing.shop import DEAD, Mail, Shop, orders, place, settings
from wellwired import Container, Entry, MemoryStore, WriteRequest, providers
from wellwired.errors import BackendError, StateError
from wellwired.stores.loader import LoaderStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore
from wellwired.testing import KeptLetters, in_memory
from wellwired.writers import MemoryWriter
from wellwired.writers.sql import SQLWriter


@pytest.fixture
def shop() -> Iterator[Any]:
    """A shop in memory."""
    made: Any = Shop()
    with made.overriding(in_memory(made)), made:
        orders.create(made.sql["main"]())
        yield made


def test_writes_and_reads_work_with_dead_addresses(shop: Any) -> None:
    """The database, the Redis and all three layers answer, by the real writers and stores."""
    shop.write_manager().write(place("o-1"))
    with shop.sql["main"]().connect() as connection:
        assert list(connection.execute(orders.select())) == [("o-1", 5)]
    shop.write_manager().write(WriteRequest("redis.cache", "value_set", {"key": "k", "value": "v"}))
    assert shop.redis["cache"]().get("k") == b"v"
    store = shop.stores["prices"]()
    store.set("tea", 350)
    assert [layer.store.get("tea").value for layer in store.layers] == [350] * 3
    assert [type(layer.store) for layer in store.layers] == [MemoryStore, RedisStore, SQLStore]
    assert isinstance(shop.writers["sql.main"](), SQLWriter)
    assert str(shop.health().status) == "up"


def test_idempotency_keys_have_their_table(shop: Any) -> None:
    """A write with a key takes effect once, as on the real database."""
    request = WriteRequest("sql.main", "order_add", {"order_id": "o", "cents": 1}, idempotency_key="once")
    assert [shop.write_manager().write(request).replayed for _ in range(2)] == [False, True]


def test_an_own_writer_records(shop: Any) -> None:
    """What would really be sent is recorded, under the names of the writer that stands for it."""
    assert shop.write_manager().write(WriteRequest("http.mail", "mail_send", {"to": "a"})).success
    (mail,) = shop.own_writers()
    assert isinstance(mail, MemoryWriter) and [one.payload for one in mail.written] == [{"to": "a"}]


def test_an_own_layer_is_memory(shop: Any) -> None:
    """What would be loaded from elsewhere is an empty memory, to be filled by the test."""
    labels = shop.stores["labels"]()
    assert labels.get("x", None) is None
    labels.set("x", "label")
    assert labels.get("x") == "label" and isinstance(labels.layers[1].store, MemoryStore)


def test_what_is_built_on_a_twin_stays_real() -> None:
    """A writer and a layer over a database of the settings are the application's own code, and it is that which is
    to be tested.
    """

    class Own(SQLWriter):
        pass

    class Over(Shop):
        own_writers = providers.List(providers.Singleton(Own, "own.main", Shop.sql["main"]))
        own_layers = providers.Dict(
            {"loader.labels": providers.Singleton(SQLStore, Shop.sql["main"], namespace="labels")}
        )

    over: Any = Over()
    with over.overriding(in_memory(over)), over:
        (writer,) = over.own_writers()
        assert type(writer) is Own
        layer = over.stores["labels"]().layers[1].store
        assert type(layer) is SQLStore
        layer.create_table()
        layer.set("a", 1)
        assert layer.get("a") == Entry(1)


def test_lists_of_another_kind_are_swapped_too() -> None:
    """However an application declares its writers and layers."""

    class Other(Shop):
        own_writers = providers.Singleton(lambda: [Mail()])  # type: ignore[assignment]
        own_layers = providers.Singleton(lambda: {"loader.labels": MemoryStore()})  # type: ignore[assignment]

    other: Any = Other()
    with other.overriding(in_memory(other)), other:
        assert [type(one) for one in other.own_writers()] == [MemoryWriter]
        other.stores["labels"]().set("a", 1)
    assert [type(one) for one in other.own_writers()] == [Mail]


def test_a_writer_of_django_stays(shop: Any) -> None:
    """Django's test runner has swapped its database already; an object that is given as it is has a twin as well."""

    class Djangos(Mail):
        name = "django.default"

    Djangos.__module__ = "wellwired.integrations.django.writer"

    class Two(Shop):
        own_writers = providers.List(providers.Singleton(Djangos), Mail())

    two: Any = Two()
    with two.overriding(in_memory(two)), two:
        assert [type(one) for one in two.own_writers()] == [Djangos, MemoryWriter]


def test_what_is_overridden_already_stays() -> None:
    """A test's own override counts more than the twin, and settings that are overridden are the ones that count."""
    shop: Any = Shop()
    engine = sa.create_engine("sqlite://")
    more = settings(redis={"cache": {"url": f"redis://{DEAD}"}, "other": {"url": f"redis://{DEAD}"}})
    with shop.overriding({"sql.main": engine, "own_writers": [], "settings": more}):
        mapping = in_memory(shop)
        assert not {"sql.main", "own_writers"} & mapping.keys()
        with shop.overriding(mapping), shop:
            assert shop.sql["main"]() is engine and shop.own_writers() == []
            assert shop.redis["other"]().ping()
    engine.dispose()


def test_layers_that_are_overridden_with_themselves_stay_real() -> None:
    """How a Django project keeps a layer that asks the ORM, whose database the test runner has swapped."""
    shop: Any = Shop(settings=settings())
    with shop.overriding({"own_layers": Shop.own_layers}), shop.overriding(in_memory(shop)), shop:
        assert {name: type(layer) for name, layer in shop.own_layers().items()} == {"loader.labels": LoaderStore}


def test_each_database_is_its_own() -> None:
    """Two databases share nothing, and another container has others; a Redis likewise."""
    two = settings(sql={name: {"url": f"postgresql://u:p@{DEAD}/x"} for name in ("main", "other")})
    shops: list[Any] = [Shop(settings=two), Shop(settings=two)]
    seen = []
    for shop in shops:
        with shop.overriding(in_memory(shop)), shop:
            seen.append(sa.inspect(shop.sql["other"]()).has_table("orders"))
            orders.create(shop.sql["main"]())
            seen.append(sa.inspect(shop.sql["other"]()).has_table("orders"))
            seen.append(bool(shop.redis["cache"]().exists("k")))
            shop.redis["cache"]().set("k", 1)
    assert not any(seen)


def test_everything_is_as_it_was() -> None:
    """After the block the settings, the writers and the layers are the real ones."""
    shop: Any = Shop()
    before = shop.settings()
    with shop.overriding(in_memory(shop)), shop:
        assert shop.settings().sql["main"].url.get_secret_value() == "sqlite://"
        assert shop.settings().stores == before.stores and type(shop.settings()) is type(before)
    assert shop.settings() is before and before.sql["main"].url.get_secret_value().startswith("postgresql")
    assert [type(one) for one in shop.own_writers()] == [Mail]


@pytest.mark.parametrize("where", ["path", "sql"])
def test_dead_letters_are_kept_in_a_list(where: str, tmp_path: Path) -> None:
    """No file and no table is written; the letters are there to be looked at."""
    place_of = {"path": str(tmp_path / "letters.jsonl"), "sql": "main"}[where]
    shop: Any = Shop(settings=settings(writes={"dead_letters": {where: place_of}}))
    with shop.overriding(in_memory(shop)), shop:
        with pytest.raises(BackendError):
            shop.write_manager().write(place("o-1"))  # nobody has created the table
        letters = shop.dead_letters()
        assert isinstance(letters, KeptLetters)
        assert [(one.target, one.payload) for one in letters.letters] == [("sql.main", {"order_id": "o-1", "cents": 5})]
    assert list(tmp_path.iterdir()) == []


def test_a_container_without_settings_is_refused() -> None:
    """Silence would let such a test meet the real thing."""

    class Bare(Container):
        pool = providers.Object(1)

    with pytest.raises(StateError, match=r"Bare has no settings of wellwired\.Settings"):
        in_memory(Bare())
