"""Application: the container that an application subclasses; its pools, writers and stores follow from the settings.

Nothing here connects: pools open when the container starts and connect at first use. Every provider may be replaced
in a subclass, which rewires the others, or overridden by its id in a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wellwired.clock import SYSTEM
from wellwired.containers import _building as building
from wellwired.containers import providers
from wellwired.containers.container import Container
from wellwired.containers.logs import configure_logging
from wellwired.containers.pools import EmbeddedServers
from wellwired.handlers import Registry
from wellwired.settings import Settings

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from wellwired.clock import Clock
    from wellwired.middleware import Metrics
    from wellwired.stores import DelegatedStore
    from wellwired.writers import WriteManager, Writer
    from wellwired.writers.dead_letters import DeadLetters

__all__ = ["Application"]


class Application(Container):
    """Pools, writers and layered stores from the environment, and what goes around them.

    ==================  ==============================================================================
    ``settings``        a `Settings`; replace it for another prefix or more settings
    ``clock``           what time it is, for the stores, the writers, the write manager and the dead letters
    ``logging``         structlog configured while the container runs, unless the application did so
    ``metrics``         for Prometheus if the extra is installed: counts writes, and shows what the stores have counted
    ``sql``             a family of engines: ``sql.main`` from ``WELLWIRED__SQL__MAIN__URL``
    ``redis``           a family of clients: ``redis.cache`` from ``WELLWIRED__REDIS__CACHE__URL``
    ``embedded``        the Redis servers inside this process, behind ``memory://``
    ``handlers``        the registry of handlers; replace it with the application's own
    ``writers``         a family of writers, one for each database and Redis: ``writers.sql.main``
    ``own_writers``     a list of writers that the application brings
    ``write_middleware`` a list of middleware around every write; the last one runs first
    ``dead_letters``    where writes that failed are kept: ``WELLWIRED__WRITES__DEAD_LETTERS__PATH``, or nowhere
    ``write_manager``   leads writes to the writers, and evicts from the stores what they say they change
    ``own_layers``      layers that the application brings, by the name that the settings use for them
    ``store_middleware`` a list of middleware around every operation of the stores; the last one runs first
    ``stores``          a family of layered stores: ``stores.users`` from ``WELLWIRED__STORES__USERS__LAYERS``
    ==================  ==============================================================================

    Example::

        class Shop(Application):
            handlers = providers.Singleton(Registry, user_profile_update)
            users = providers.Singleton(UserService, Application.write_manager, Application.stores["users"])
    """

    settings: providers.Singleton[Settings] = providers.Singleton(Settings.load)

    clock: providers.Object[Clock] = providers.Object(SYSTEM)

    logging: providers.Resource[bool] = providers.Resource(configure_logging, settings.provided.log)
    metrics: providers.Singleton[Metrics] = providers.Singleton(building.make_metrics, settings.provided.metrics)

    sql: providers.Named[Engine] = providers.Named(
        settings.provided.sql,
        building.database,
        variable=providers.Callable(building.variable, settings, "sql", "url"),
    )
    embedded: providers.Singleton[EmbeddedServers] = providers.Singleton(EmbeddedServers)
    redis: providers.Named[Redis] = providers.Named(
        settings.provided.redis,
        building.redis_server,
        variable=providers.Callable(building.variable, settings, "redis", "url"),
        deps={"embedded": embedded},
    )

    handlers: providers.Singleton[Registry] = providers.Singleton(Registry)
    writers: providers.Named[Writer] = providers.Named(
        providers.Callable(building.writable, settings.provided.sql, settings.provided.redis),
        building.writer,
        variable=providers.Callable(building.variable, settings, "", "url"),
        deps={"sql": sql, "redis": redis, "handlers": handlers, "writes": settings.provided.writes, "clock": clock},
    )
    own_writers: providers.List = providers.List()
    write_middleware: providers.List = providers.List()

    own_layers: providers.Dict = providers.Dict()
    store_middleware: providers.List = providers.List()
    stores: providers.Named[DelegatedStore[Any]] = providers.Named(
        providers.Callable(building.layered, settings),
        building.store,
        variable=providers.Callable(building.variable, settings, "stores", "layers"),
        deps={
            "sql": sql,
            "redis": redis,
            "own_layers": own_layers,
            "middleware": store_middleware,
            "metrics": metrics,
            "clock": clock,
        },
    )

    dead_letters: providers.Singleton[DeadLetters] = providers.Singleton(
        building.letters, settings.provided.writes.dead_letters, sql.provider, clock
    )

    # The stores are handed over uncalled: one is built when a write names it, and it may need the manager itself.
    write_manager: providers.Singleton[WriteManager] = providers.Singleton(
        building.make_manager,
        writers,
        own_writers,
        write_middleware,
        settings=settings.provided.writes,
        metrics=metrics,
        stores=stores.provider,
        dead_letters=dead_letters,
        clock=clock,
    )
