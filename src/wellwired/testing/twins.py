"""In-memory twins: the same application with every real backend of its settings swapped for one inside this process.

The URLs change and nothing else does: a database becomes a SQLite in memory, a Redis the embedded one, and the real
writers, handlers, stores, codecs and retries work on them. What the application itself brings has no twin that could
be known: writers of its own record what they are told to write, layers of its own become memory. Both stay as they are
if they are built on a database or a Redis of the settings, whose twin they get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di
from pydantic import SecretStr

from wellwired.containers import pools, providers
from wellwired.containers._direct import label
from wellwired.containers._named import Member, Named
from wellwired.containers._order import reachable
from wellwired.containers._relations import effective
from wellwired.errors import StateError
from wellwired.settings import Settings
from wellwired.settings._frozen import FrozenDict
from wellwired.stores import MemoryStore
from wellwired.stores.protocols import Store
from wellwired.testing._beside import beside
from wellwired.testing.letters import KeptLetters
from wellwired.writers import MemoryWriter, Writer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from wellwired.containers.container import ContainerInstance
    from wellwired.settings import SQLSettings

__all__ = ["in_memory"]

Provider = di.Provider[Any]

_POOLS = ("sql", "redis")


def in_memory(container: ContainerInstance) -> dict[str, Any]:
    """What to override so that a container works without a server, a file or a socket; for `Container.overriding`.

    ::

        with Shop() as shop, shop.overriding(in_memory(shop)): ...     # the shop is started already: rebuilt twice
        shop = Shop()
        with shop.overriding(in_memory(shop)), shop: ...               # better: nothing real is ever opened

    - Each ``sql.<name>`` is a SQLite in memory of its own. It has the tables of the library (those of stores, of
      idempotency keys, of dead letters); yours are created by you. What only another database understands fails.
    - Each ``redis.<name>`` is an embedded Redis of its own, which needs the extra ``embedded``.
    - Dead letters that would be kept are kept in a list; see `KeptLetters`.
    - Of ``own_writers`` and ``own_layers`` those that are built on neither are replaced by a `MemoryWriter` of the same
      name, which records everything, and by an empty `MemoryStore`. A writer is built to learn its name.

    What is overridden already stays as it is, and the settings of an override count. A resource that the application
    declares itself is not known to connect anywhere, and stays: override it together with these.

    Args:
        container: the container; its settings are read now.

    Returns:
        From ids to what stands in, to be added to with ``|``.

    Raises:
        SettingsError: the settings are wrong.
        StateError: the container has no settings of `wellwired.Settings`.
        MissingExtraError: there is a Redis, and fakeredis is not installed; when it is opened.
    """
    known: Mapping[str, Provider] = container.providers
    settings = known["settings"]() if "settings" in known else None
    if not isinstance(settings, Settings):
        raise StateError(
            f"{container.title} has no settings of wellwired.Settings, so nothing in it has a twin in memory; "
            "override what it connects with by its ids"
        )
    twin = _settings_in_memory(settings)
    made: dict[str, Any] = {"settings": twin}
    for name, database in twin.sql.items():
        made[f"sql.{name}"] = _database(f"sql.{name}", database, _tables(name, settings))
    letters = settings.writes.dead_letters
    if letters.path or letters.sql:
        made["dead_letters"] = KeptLetters(codes=letters.codes)
    made["own_writers"] = _own_writers(container)
    made["own_layers"] = _own_layers(container)
    return {id: value for id, value in made.items() if id == "settings" or _replaceable(container, id)}


def _settings_in_memory(settings: Settings) -> Settings:
    sql = {
        name: one.model_copy(update={"url": SecretStr("sqlite://"), "tls": None, "isolation_level": None})
        for name, one in settings.sql.items()
    }
    redis = {
        name: one.model_copy(update={"url": SecretStr("memory://"), "tls": None})
        for name, one in settings.redis.items()
    }
    return settings.model_copy(update={"sql": FrozenDict(sql), "redis": FrozenDict(redis)})


def _replaceable(container: ContainerInstance, id: str) -> bool:
    """Whether the container has such a provider, and nobody has overridden it."""
    name, _, key = id.partition(".")
    provider = container.providers.get(name)
    if key and isinstance(provider, Named):
        return provider.last_overriding is None and provider[key].last_overriding is None
    return provider is not None and not key and provider.last_overriding is None


# --- databases


def _database(name: str, settings: SQLSettings, tables: Iterable[str]) -> providers.Resource[Engine]:
    made: providers.Resource[Engine] = providers.Resource(_open, name, settings, tuple(tables))
    return made.closed_by(pools.close_engine).renewed_by(pools.renew_engine_after_fork).pinged_by(pools.ping_engine)


def _tables(name: str, settings: Settings) -> list[str]:
    """The names of the tables that layered stores keep in a database, "" for the usual one."""
    layers = [layer for store in settings.stores.values() for layer in store.layers]
    return list(dict.fromkeys(layer.table or "" for layer in layers if layer.name == f"sql.{name}"))


def _open(name: str, settings: SQLSettings, tables: Iterable[str]) -> Engine:
    """Opens a database in memory, with the tables of the library."""
    from wellwired.stores.sql import SQLStore
    from wellwired.writers import idempotency

    engine = pools.open_engine(name, settings)
    idempotency.create_tables(engine)
    for table in tables:
        options: dict[str, Any] = {"table": table} if table else {}
        SQLStore(engine, namespace="twin", **options).create_table()
    return engine


# --- what the application brings itself


def _own_writers(container: ContainerInstance) -> Provider:
    own = container.providers.get("own_writers", providers.List())
    if isinstance(own, di.List):
        return providers.List(*(_swapped(one, _recording) for one in own.args))
    return providers.Singleton(lambda found: [_recording(one) for one in found], beside(container, own))


def _own_layers(container: ContainerInstance) -> Provider:
    own = container.providers.get("own_layers", providers.Dict())
    if isinstance(own, di.Dict):
        return providers.Dict({name: _swapped(one, _emptied) for name, one in own.kwargs.items()})
    return providers.Singleton(lambda found: {name: MemoryStore() for name in found}, beside(container, own))


def _swapped(given: Any, twin: Callable[[Any], Any]) -> Any:
    """What stands in for a part of a list or dict: itself if it is built on a pool of the settings, else its twin."""
    if not isinstance(given, di.Provider):
        return twin(given)
    needed = reachable([given], effective)
    if any(isinstance(one, Member) and label(one.family) in _POOLS for one in needed):
        return given
    return providers.Singleton(twin, given)


def _recording(writer: Writer) -> Writer:
    # Django's test runner has swapped the database of this one.
    if type(writer).__module__.startswith("wellwired.integrations.django."):
        return writer
    targets: Iterable[str] = getattr(writer, "targets", ())
    return MemoryWriter(writer.name, targets=targets, records_all=True, keeps_keys=True)


def _emptied(_layer: Store) -> MemoryStore:
    return MemoryStore()
