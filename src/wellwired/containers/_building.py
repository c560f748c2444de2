"""How `Application` builds its parts from settings: pools, writers, stores, the write manager and the metrics.

Each function here is a provider's initialiser or a family's `build`. What drags in SQLAlchemy, redis-py or a metrics
library is imported when a part that needs it is built, so that importing the library stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wellwired.containers import pools, providers
from wellwired.containers._values import type_fault, written_by
from wellwired.errors import MissingExtraError, SettingsError
from wellwired.handlers import Registry
from wellwired.middleware import BreakerPolicy, NoMetrics, RetryBudget, RetryPolicy, Watching
from wellwired.stores import DelegatedStore, Layer, LoadPolicy, MemoryStore
from wellwired.writers import GroupCommit, WriteManager
from wellwired.writers.dead_letters import NoLetters, fernet

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from wellwired.clock import Clock
    from wellwired.middleware import Metrics, WriteMiddleware
    from wellwired.settings import (
        BreakerSettings,
        DeadLetterSettings,
        LayerSettings,
        MetricsSettings,
        RedisSettings,
        Settings,
        SQLSettings,
        StoreSettings,
        WriteSettings,
    )
    from wellwired.stores import Store
    from wellwired.writers import Writer
    from wellwired.writers.dead_letters import DeadLetters

__all__ = [
    "database",
    "layered",
    "letters",
    "make_manager",
    "make_metrics",
    "member_of",
    "open_store",
    "redis_server",
    "store",
    "store_finder",
    "variable",
    "writable",
    "writer",
]

Provider = providers.Provider[Any]
Family = providers.Named[Any]


def variable(settings: Settings, section: str, setting: str, key: str) -> str:
    """The environment variable that would add an entry to a section, with the prefix of the application's own.

    Args:
        settings: gives the prefix.
        section: ``sql``, ``redis`` or ``stores``; empty if the key begins with it.
        setting: the setting that an entry cannot do without.
        key: the entry's name.
    """
    prefix = type(settings).model_config.get("env_prefix", "")
    parts = [*filter(None, [section]), *key.split("."), setting]
    return prefix + "__".join(parts).upper()


def database(key: str, settings: SQLSettings) -> providers.Resource[Engine]:
    """The engine ``sql.<key>``, connecting at first use."""
    engine: providers.Resource[Engine] = providers.Resource(pools.open_engine, f"sql.{key}", settings)
    engine.closed_by(pools.close_engine).renewed_by(pools.renew_engine_after_fork)
    return engine.pinged_by(pools.ping_engine)


def redis_server(key: str, settings: RedisSettings, *, embedded: Provider) -> providers.Resource[Redis]:
    """The client ``redis.<key>``, connecting at first use."""
    client: providers.Resource[Redis] = providers.Resource(pools.open_redis, f"redis.{key}", settings, servers=embedded)
    client.closed_by(pools.close_redis).renewed_by(pools.renew_redis_after_fork)
    return client.pinged_by(pools.ping_redis)


def writable(sql: Mapping[str, SQLSettings], redis: Mapping[str, RedisSettings]) -> dict[str, Any]:
    """Every backend that can be written to, by its dotted name."""
    return {f"sql.{key}": one for key, one in sql.items()} | {f"redis.{key}": one for key, one in redis.items()}


def writer(
    key: str,
    settings: SQLSettings | RedisSettings,
    *,
    sql: Family,
    redis: Family,
    handlers: Provider,
    writes: Provider,
    clock: Provider,
) -> Provider:
    """The writer of a backend, with the handlers that are for it."""
    kind, _, name = key.partition(".")
    if kind == "sql":
        return providers.Singleton(_sql_writer, key, sql[name], handlers, settings.targets, writes, clock=clock)
    return providers.Singleton(_redis_writer, key, redis[name], handlers, settings, writes, clock=clock)


def _sql_writer(
    name: str, engine: Engine, handlers: Registry, targets: tuple[str, ...], writes: WriteSettings, *, clock: Clock
) -> Writer:
    from wellwired.writers.sql import SQLWriter

    policy = GroupCommit(writes.group_commit.max_batch, writes.group_commit.linger)
    return SQLWriter(
        name,
        engine,
        handlers=handlers,
        targets=targets,
        clock=clock,
        commit_grace=writes.commit_grace,
        resolve=writes.resolve,
        batch_size=writes.batch_size,
        group_commit=dict.fromkeys(writes.group_commit.types, policy),
    )


def _redis_writer(
    name: str, client: Redis, handlers: Registry, settings: RedisSettings, writes: WriteSettings, *, clock: Clock
) -> Writer:
    from wellwired.writers.redis import RedisWriter

    return RedisWriter(
        name,
        client,
        handlers=handlers,
        targets=settings.targets,
        clock=clock,
        commit_grace=writes.commit_grace,
        fence=settings.fence,
    )


def make_manager(
    writers: Mapping[str, Writer],
    own_writers: Iterable[Writer],
    middleware: Iterable[WriteMiddleware],
    *,
    settings: WriteSettings,
    metrics: Metrics,
    stores: Provider,
    dead_letters: DeadLetters,
    clock: Clock,
) -> WriteManager:
    """The write manager over the writers of the settings and the application's own."""
    policy = RetryPolicy(attempts=settings.attempts, base=settings.backoff_base, cap=settings.backoff_cap)
    return WriteManager(
        [*writers.values(), *own_writers],
        middleware=middleware,
        timeout=settings.timeout,
        attempt_timeout=settings.attempt_timeout,
        retry=policy,
        budget=RetryBudget(**dict(settings.budget)),
        breaker=_breaker(settings.breaker),
        clock=clock,
        metrics=metrics,
        stores=store_finder(stores),
        dead_letters=dead_letters,
    )


def _breaker(settings: BreakerSettings) -> BreakerPolicy | None:
    if not settings.enabled:
        return None
    return BreakerPolicy(
        window=settings.window,
        calls=settings.calls,
        failures=settings.failures,
        pause=settings.pause,
        probes=settings.probes,
    )


def letters(settings: DeadLetterSettings, sql: Provider, clock: Clock) -> DeadLetters:
    """The sink for dead letters that the settings name, or one that drops them.

    Args:
        settings: where, and of which errors.
        sql: the family of databases, of which one may be named.
        clock: tells the time of day.
    """
    keys = [key.get_secret_value() for key in settings.encryption_keys]
    cipher = fernet(*keys) if keys else None
    if settings.path is not None:
        from wellwired.writers.letters_file import JSONLines

        return JSONLines(settings.path, codes=settings.codes, cipher=cipher, clock=clock)
    if settings.sql is not None:
        from wellwired.writers.letters_sql import SQLLetters

        engine: Engine = member_of(sql, settings.sql)
        return SQLLetters(engine, codes=settings.codes, cipher=cipher, clock=clock)
    return NoLetters()


def member_of(family: Provider, key: str) -> Any:
    """The object of a family's entry, or of whatever an application put in the family's place.

    Args:
        family: the family.
        key: the entry's name.

    Raises:
        LookupError: there is none.
    """
    if not isinstance(family, providers.Named) or family.last_overriding is not None:
        return family()[key]
    family.member(key)
    return family[key]()


def store_finder(stores: Provider) -> Callable[[str], DelegatedStore[Any]]:
    """Finds a layered store by its dotted name, building it at first use.

    Args:
        stores: the family of stores, or whatever an application put in its place.
    """

    def find(name: str) -> DelegatedStore[Any]:
        family, _, key = name.partition(".")
        if family != "stores":
            raise KeyError(name)
        found: DelegatedStore[Any] = member_of(stores, key)
        return found

    return find


def make_metrics(settings: MetricsSettings) -> Metrics:
    """Metrics for Prometheus, or none where they are switched off or the extra is not installed."""
    if not settings.enabled:
        return NoMetrics()
    from wellwired.middleware.prometheus import PrometheusMetrics

    try:
        return PrometheusMetrics(namespace=settings.namespace)
    except MissingExtraError:
        return NoMetrics()


def layered(settings: Settings) -> Mapping[str, StoreSettings]:
    """The settings of the stores, once every type that one of their layers names has been imported.

    Args:
        settings: the application's.

    Raises:
        SettingsError: types cannot be used; names each by the variable of its store.
    """
    faults = [
        f"{variable(settings, 'stores', 'layers', key)}: {fault}"
        for key, one in settings.stores.items()
        for layer in one.layers
        if (fault := type_fault(layer))
    ]
    if faults:
        raise SettingsError(faults)
    return settings.stores


def store(
    key: str,
    settings: StoreSettings,
    *,
    sql: Family,
    redis: Family,
    own_layers: Provider,
    middleware: Provider,
    metrics: Provider,
    clock: Provider,
) -> providers.Resource[DelegatedStore[Any]]:
    """The layered store ``stores.<key>``; closing it drains its back-fills. Metrics may watch it."""
    namespace = settings.namespace or key
    keys = tuple(key.get_secret_value() for key in settings.signing_keys)
    parts: dict[str, Any] = {"sql": sql, "redis": redis, "own_layers": own_layers, "clock": clock, "keys": keys}
    layers = [_layer(one, namespace, **parts) for one in settings.layers]
    made: providers.Resource[DelegatedStore[Any]] = providers.Resource(
        open_store,
        providers.List(*layers),
        metrics,
        middleware=middleware,
        name=f"stores.{key}",
        clock=clock,
        patience=settings.loads.patience,
        loads=LoadPolicy(**settings.loads.model_dump(exclude={"patience"})),
    )
    # A delegated store begins afresh in a forked child by itself.
    return made.closed_by(lambda opened: opened.close()).renewed_by(lambda _opened: None)


def open_store(layers: Iterable[Layer], metrics: Metrics, **options: Any) -> DelegatedStore[Any]:
    """A layered store that metrics watch if they can.

    Args:
        layers: from the first to be read to the last.
        metrics: the backend of the application.
        options: the others of `DelegatedStore`.
    """
    opened = DelegatedStore[Any](list(layers), **options)
    if isinstance(metrics, Watching):
        metrics.watch(opened)
    return opened


def _layer(
    settings: LayerSettings,
    namespace: str,
    *,
    sql: Family,
    redis: Family,
    own_layers: Provider,
    clock: Provider,
    keys: tuple[str, ...],
) -> Provider:
    kind, _, name = settings.name.partition(".")
    held: Provider
    if settings.name == "memory":
        capacity = settings.capacity or 10_000
        held = providers.Singleton(MemoryStore, max_entries=capacity, share=settings.share, clock=clock)
    elif kind == "redis":
        held = providers.Singleton(_redis_store, redis[name], namespace, settings, keys, clock)
    elif kind == "sql":
        held = providers.Singleton(_sql_store, sql[name], namespace, settings, keys, clock)
    else:
        held = providers.Singleton(_own_layer, own_layers, settings.name)
    return providers.Singleton(
        Layer,
        held,
        primary=settings.primary,
        ttl=settings.ttl,
        name=settings.name,
        time_limit=settings.time_limit,
        soft_limit=settings.soft_limit,
        callers=settings.callers,
        stale=settings.stale,
        breaker=_breaker(settings.breaker),
    )


def _redis_store(client: Redis, namespace: str, settings: LayerSettings, keys: tuple[str, ...], clock: Clock) -> Store:
    from wellwired.stores.redis import RedisStore

    return RedisStore(client, namespace=namespace, clock=clock, **written_by(settings, keys))


def _sql_store(engine: Engine, namespace: str, settings: LayerSettings, keys: tuple[str, ...], clock: Clock) -> Store:
    from wellwired.stores.sql import SQLStore

    options = written_by(settings, keys)
    if settings.table is not None:
        options["table"] = settings.table
    return SQLStore(engine, namespace=namespace, clock=clock, **options)


def _own_layer(layers: Mapping[str, Store], name: str) -> Store:
    return layers[name]
