"""The application: what follows from the settings, what a subclass rewires, and what a test replaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from pydantic_settings import SettingsConfigDict
from sqlalchemy import event

from wellwired import (
    Application,
    DelegatedStore,
    Entry,
    MemoryStore,
    Registry,
    Settings,
    WriteManager,
    WriteRequest,
    handler,
    providers,
)
from wellwired.errors import OverrideError, UnknownProviderError, WriterNotFoundError
from wellwired.handlers.sql import insert
from wellwired.middleware import NoMetrics
from wellwired.stores.loader import LoaderStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore
from wellwired.writers import MemoryWriter

orders = sa.Table(
    "orders", sa.MetaData(), sa.Column("order_id", sa.String(20), primary_key=True), sa.Column("cents", sa.Integer)
)


class Desk:
    """A service of an application."""

    def __init__(self, writes: WriteManager, prices: DelegatedStore[int]) -> None:
        self.writes, self.prices = writes, prices


class Shop(Application):
    """An application with one handler and one service."""

    handlers = providers.Singleton(Registry, insert(orders, type="order_placed"))
    desk = providers.Singleton(Desk, Application.write_manager, Application.stores["prices"])


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """No settings but the test's own, and structlog as it was."""
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


@pytest.fixture
def settings(sql_url: str, redis_url: str) -> Settings:
    """Settings for a database, a Redis and a store of three layers."""
    layers = "memory:60,redis.cache:3600,sql.main!"
    return Settings(
        sql={"main": {"url": sql_url, "targets": ["orders.db"]}},
        redis={"cache": {"url": redis_url}},
        stores={"prices": {"layers": layers}},
        log={"level": "CRITICAL"},
    )


@pytest.fixture
def shop(settings: Settings) -> Iterator[Any]:
    """A started shop with its tables."""
    with Shop(settings=settings) as started:
        engine = started.sql["main"]()
        orders.create(engine)
        SQLStore(engine, namespace="prices").create_table()
        yield started


def _rows(shop: Any) -> list[Any]:
    with shop.sql["main"]().connect() as connection:
        return list(connection.execute(orders.select()))


@pytest.mark.parametrize("target", ["sql.main", "orders.db"])
def test_a_write_goes_to_the_database_that_the_settings_name(shop: Any, target: str) -> None:
    """A write by the dotted name, or by a further target of the settings, is a row in that database."""
    result = shop.write_manager().write(WriteRequest(target, "order_placed", {"order_id": "o1", "cents": 5}))
    assert result.success
    assert _rows(shop) == [("o1", 5)]


def test_a_store_reads_through_the_layers_that_the_settings_name(shop: Any) -> None:
    """What is in the primary only is found, and put into memory and Redis above it."""
    store = shop.stores["prices"]()
    store.layers[2].store.set("tea", 350)
    assert store.get("tea") == 350
    store.flush(10)
    assert [layer.store.get("tea").value for layer in store.layers] == [350, 350, 350]
    assert [layer.name for layer in store.layers] == ["memory", "redis.cache", "sql.main"]
    assert isinstance(store.layers[1].store, RedisStore)


def test_a_service_is_handed_the_manager_and_the_store(shop: Any) -> None:
    """What a class body refers to before the settings are known is the object that they made."""
    assert shop.desk().writes is shop.write_manager()
    assert shop.desk().prices is shop.stores["prices"]()


def test_stop_closes_pools_and_start_opens_them_again(shop: Any) -> None:
    """After a stop nothing is open, and a start gives a working application with new pools."""
    engine = shop.sql["main"]()
    shop.stop()
    assert not shop.started
    shop.start()
    assert shop.sql["main"]() is not engine
    shop.write_manager().write(WriteRequest("sql.main", "order_placed", {"order_id": "o2", "cents": 1}))
    assert _rows(shop) == [("o2", 1)]


def test_health_pings_every_pool(shop: Any) -> None:
    """A started application with its servers up is healthy, pool by pool."""
    health = shop.health(timeout=10)
    assert health.to_dict()["status"] == "up"
    assert {check.name for check in health.checks} == {"sql.main", "redis.cache"}


def test_a_fake_replaces_a_pool_and_leaves_nothing_behind(shop: Any, tmp_path: Any) -> None:
    """Inside an override everything is built on the fake, outside on the real thing again."""
    fake = sa.create_engine(f"sqlite:///{tmp_path / 'fake.db'}")
    orders.create(fake)
    with shop.overriding({"sql.main": fake}):
        shop.desk().writes.write(WriteRequest("sql.main", "order_placed", {"order_id": "fake", "cents": 1}))
        assert shop.sql["main"]() is fake
    shop.desk().writes.write(WriteRequest("sql.main", "order_placed", {"order_id": "real", "cents": 2}))
    assert _rows(shop) == [("real", 2)]
    with fake.connect() as connection:
        assert list(connection.execute(orders.select())) == [("fake", 1)]
    fake.dispose()


def test_a_test_needs_no_server_at_all() -> None:
    """With a writer and a store in memory, by name, no pool is opened."""
    writer = MemoryWriter("sql.main", records_all=True)
    prices: DelegatedStore[int] = DelegatedStore([MemoryStore()])
    settings = Settings(
        sql={"main": {"url": "postgresql://nobody@127.0.0.1:1/none"}}, stores={"prices": {"layers": "sql.main!"}}
    )
    shop: Any = Shop(settings=settings)
    with shop.overriding({"writers.sql.main": writer, "stores.prices": prices}):
        shop.desk().writes.write(WriteRequest("sql.main", "order_placed", {"order_id": "o1"}))
        assert shop.desk().prices is prices
    assert writer.written[0].payload == {"order_id": "o1"}
    prices.close()


def test_an_unknown_name_is_refused_before_anything_changes(shop: Any) -> None:
    """A typo in an override names the near one and leaves the others alone."""
    engine = shop.sql["main"]()
    with (
        pytest.raises((UnknownProviderError, OverrideError), match="did you mean 'main'"),
        shop.overriding({"redis.cache": object(), "sql.mian": object()}),
    ):
        pass
    assert shop.sql["main"]() is engine


def test_a_missing_entry_names_the_variable_that_would_add_it() -> None:
    """A name in a class body that the settings do not have is a fault that says what to set."""

    class Reporting(Application):
        reports: Any = providers.Singleton(list, Application.sql["reports"])

    with pytest.raises(ExceptionGroup) as caught:
        Reporting(settings=Settings()).check()
    assert "WELLWIRED__SQL__REPORTS__URL" in str(caught.value.exceptions[0])


def test_the_variable_has_the_prefix_of_the_applications_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With settings of another prefix the environment is read by it, and faults name it."""

    class ShopSettings(Settings):
        model_config = SettingsConfigDict(env_prefix="SHOP__")

    class Reporting(Application):
        settings = providers.Singleton(ShopSettings)
        reports: Any = providers.Singleton(list, Application.sql["reports"], Application.stores["users"])

    monkeypatch.setenv("SHOP__SQL__MAIN__URL", "sqlite://")
    monkeypatch.setenv("WELLWIRED__SQL__OTHER__URL", "sqlite://")
    reporting: Any = Reporting()
    with pytest.raises(ExceptionGroup) as caught:
        reporting.check()
    told = "\n".join(map(str, caught.value.exceptions))
    assert "SHOP__SQL__REPORTS__URL" in told
    assert "SHOP__STORES__USERS__LAYERS" in told
    assert list(reporting.sql) == ["main"]


def test_nothing_configured_is_an_application_without_backends() -> None:
    """An empty environment starts; a write then says that no writer is there."""
    with Application(settings=Settings(log={"level": "CRITICAL"})) as bare:
        with pytest.raises(WriterNotFoundError):
            bare.write_manager().write(WriteRequest("sql.main", "x", {}))
        assert bare.health().ok


def test_an_application_brings_writers_layers_and_middleware_of_its_own() -> None:
    """What the settings cannot name is a list or a dict that a subclass replaces."""
    ran: list[str] = []

    def noting(name: str) -> Any:
        def middleware(following: Any) -> Any:
            def call(operation: Any) -> Any:
                ran.append(name)
                return following(operation)

            return call

        return middleware

    @handler("note")
    def note(request: WriteRequest, data: Any) -> None:
        data["note"] = request.payload

    class Own(Application):
        settings = providers.Singleton(
            type("OwnSettings", (Settings,), {"extra_layers": ("loader.users",), "__module__": __name__}),
            stores={"users": {"layers": "memory,loader.users!"}},
            log={"level": "CRITICAL"},
        )
        own_writers = providers.List(providers.Singleton(MemoryWriter, "audit", handlers=Registry(note)))
        own_layers = providers.Dict(
            {"loader.users": providers.Singleton(LoaderStore, lambda key: Entry(key.upper(), None))}
        )
        write_middleware = providers.List(providers.Object(noting("first")), providers.Object(noting("second")))
        store_middleware = providers.List(providers.Object(noting("store")))

    with Own() as own:
        own.write_manager().write(WriteRequest("audit", "note", {"a": 1}))
        assert ran == ["second", "first"]
        assert own.stores["users"]().get("ada") == "ADA"
        assert ran[2:] == ["store"]


def test_the_settings_say_how_writes_go_together(sqlite_url: str) -> None:
    """The size of batches, and which types share commits, reach the writers of databases."""
    settings = Settings(
        sql={"main": {"url": sqlite_url}},
        stores={"prices": {"layers": "sql.main!"}},
        writes={"batch_size": 2, "group_commit": {"types": ["order_placed"], "max_batch": 8}},
        log={"level": "CRITICAL"},
    )
    with Shop(settings=settings) as shop:
        engine = shop.sql["main"]()
        orders.create(engine)
        commits: list[Any] = []
        event.listen(engine, "commit", commits.append)
        batch = [WriteRequest("sql.main", "order_placed", {"order_id": str(n), "cents": n}) for n in range(5)]
        assert shop.write_manager().write_many(batch).failed == {}
        assert len(commits) == 3
        writer: Any = shop.writers["sql.main"]()
        assert set(writer._groups) == {"order_placed"}


def test_metrics_can_be_switched_off() -> None:
    """With metrics disabled nothing is counted and no library for it is needed."""
    assert isinstance(Application(settings=Settings(metrics={"enabled": False})).metrics(), NoMetrics)


def test_structlog_is_configured_only_while_a_container_runs() -> None:
    """Importing and building configure nothing; starting does, and stopping puts it back."""
    application = Application(settings=Settings())
    application.check()
    assert not structlog.is_configured()
    with application:
        assert structlog.is_configured()
    assert not structlog.is_configured()


def test_two_containers_do_not_share_an_embedded_redis() -> None:
    """``memory://`` is one server for a container, and another one for another."""
    settings = Settings(redis={"a": {"url": "memory://x"}, "b": {"url": "memory://x"}}, log={"level": "CRITICAL"})
    with Application(settings=settings) as one, Application(settings=settings) as other:
        one.redis["a"]().set("k", 1)
        assert one.redis["b"]().get("k") == b"1"
        assert other.redis["a"]().get("k") is None
