"""What takes more than one group of settings to see: layers and targets that lead nowhere, or twice to one place.

Pure, and content with settings that are only half right: a group that is itself at fault is known by its name, so
that one report can hold everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wellwired.settings.backends import RedisSettings, SQLSettings
from wellwired.settings.models import LayerSettings, StoreSettings
from wellwired.settings.names import near

__all__ = ["Finding", "View", "find"]

KINDS = {"sql": "database", "redis": "Redis"}


class Finding(NamedTuple):
    """Something that is wrong between groups.

    Args:
        path: the place that should be changed.
        text: what is wrong with it, quoting nothing.
    """

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """The settings as far as they are known.

    Args:
        sql: the databases; None for one that is itself at fault.
        redis: the Redis servers, likewise.
        stores: the stores that could be read.
        extra_layers: names of layers that the application brings.
        unknown: kinds (``sql``, ``redis``) of which not even the names are known.
        letters: the database that dead letters are kept in, if one is named.
    """

    sql: Mapping[str, SQLSettings | None]
    redis: Mapping[str, RedisSettings | None]
    stores: Mapping[str, StoreSettings]
    extra_layers: Sequence[str] = ()
    unknown: frozenset[str] = frozenset()
    letters: str | None = None

    @property
    def backends(self) -> dict[str, SQLSettings | RedisSettings | None]:
        """Everything that is configured, by its dotted name."""
        sql: dict[str, SQLSettings | RedisSettings | None] = {f"sql.{name}": each for name, each in self.sql.items()}
        return sql | {f"redis.{name}": each for name, each in self.redis.items()}


def find(view: View, variable: Callable[[Sequence[str]], str]) -> Iterator[Finding]:
    """Finds everything that is wrong between groups.

    Args:
        view: the settings.
        variable: the name of the variable for a place.

    Yields:
        Each finding.
    """
    yield from _targets(view)
    if view.letters is not None and view.letters not in view.sql and "sql" not in view.unknown:
        meant = near(view.letters, view.sql)
        hint = f"did you mean {meant}?" if meant else f"set {variable(('sql', '<name>', 'url'))}"
        yield Finding(("writes", "dead_letters", "sql"), f"names a database that is not configured; {hint}")
    for name, store in view.stores.items():
        path = ("stores", name, "layers")
        for number, layer in enumerate(store.layers, 1):
            if text := _unknown_layer(layer, view, variable):
                yield Finding(path, f"layer {number} {text}")
        yield from (Finding(path, text) for text in _store(store))


def _targets(view: View) -> Iterator[Finding]:
    owners = {name: name for name in view.backends}
    for name, settings in view.backends.items():
        path = (*name.split("."), "targets")
        for number, target in enumerate(settings.targets if settings else (), 1):
            owner = owners.setdefault(target, f"{name} target {number}")
            if owner != f"{name} target {number}":
                yield Finding(path, f"target {number} is already a name of {owner.partition(' target')[0]}")


def _unknown_layer(layer: LayerSettings, view: View, variable: Callable[[Sequence[str]], str]) -> str | None:
    known = ["memory", *view.backends, *view.extra_layers]
    kind, _, name = layer.name.partition(".")
    if layer.name in known or kind in view.unknown:
        return None
    same = [each for each in known if each.partition(".")[2] == (name or kind)]
    if kind not in KINDS or not name:
        meant = same[0] if same else near(layer.name, known)
        hint = f"did you mean {meant}?" if meant else "a layer is memory, redis.<name> or sql.<name>"
        return f"is no layer that is known; {hint}"
    alike = near(name, getattr(view, kind))
    configured = ", ".join(sorted(each for each in view.backends if each.startswith(f"{kind}.")))
    if alike or same:
        hint = f"did you mean {f'{kind}.{alike}' if alike else same[0]}?"
    else:
        hint = f"configured are {configured}" if configured else f"set {variable((kind, '<name>', 'url'))}"
    return f"names a {KINDS[kind]} that is not configured; {hint}"


def _store(store: StoreSettings) -> Iterator[str]:
    if not any(layer.primary for layer in store.layers):
        yield "has no primary layer; mark the one that holds the truth with !, as in sql.main!"
    first: dict[str, int] = {}
    for number, layer in enumerate(store.layers, 1):
        if layer.name in first:
            yield f"layer {number} is the same as layer {first[layer.name]}"
        first.setdefault(layer.name, number)
    shortest: tuple[float, int] | None = None
    for number, layer in reversed(list(enumerate(store.layers, 1))):
        if layer.ttl is None:
            continue
        if shortest and layer.ttl > shortest[0]:
            yield (
                f"layer {number} has a longer TTL than layer {shortest[1]} below it, which it could never use; "
                "TTLs are seconds"
            )
        else:
            shortest = (layer.ttl, number)
