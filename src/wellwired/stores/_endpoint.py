"""Where every operation of a delegated store ends up, middleware or not: it is checked, and done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wellwired.errors import KeyFormatError, NotFound, StoreError
from wellwired.operations import StoreOperation, StoreVerb
from wellwired.stores._changes import Changes
from wellwired.stores._load_many import ManyLoads
from wellwired.stores._loads import Loads
from wellwired.stores._reads import Reads
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores._writes import Writes
from wellwired.stores.changing import KEEP
from wellwired.stores.loading import LoadPolicy
from wellwired.stores.lookups import Absent, Failed, Hit, Lookup, Miss
from wellwired.stores.receipts import Receipt

__all__ = ["Endpoint", "checked_key", "checked_tags"]


def checked_key(key: str) -> str:
    """The key, if it is a string.

    Raises:
        KeyFormatError: it is not.
    """
    if not isinstance(key, str):
        raise KeyFormatError(f"a key is a string; this one is a {type(key).__qualname__}")
    return key


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once.

    Raises:
        KeyFormatError: they are one text instead of several, or one of them is no text.
    """
    if isinstance(tags, str):
        raise KeyFormatError(f"tags are several texts; for a single one write ({tags!r},)")
    return tuple(dict.fromkeys([checked_key(tag) for tag in tags]))


def _checked_ttl(ttl: float | None) -> float | None:
    if ttl is None or ttl == math.inf:
        return None
    if not ttl > 0:
        raise ValueError(f"a ttl is more than 0 seconds, or None for no limit; it is {ttl}")
    return ttl


class Endpoint:
    """The innermost call of the onion; safe for threads.

    Args:
        stack: the layers.
        patience: seconds that somebody waits for a load by somebody else.
        policy: how values are loaded.
    """

    def __init__(self, stack: Stack, patience: float | None, policy: LoadPolicy) -> None:
        self._stack = stack
        self.reads = Reads(stack)
        self.writes = Writes(stack)
        self.loads = Loads(stack, self.reads, self.writes, patience, policy)
        self.many_loads = ManyLoads(stack, self.reads, self.loads)
        self.leasing = policy.lease is not None
        self.changes = Changes(stack, self.writes, patience)
        self._table: dict[StoreVerb, Callable[[StoreOperation], Any]] = {
            StoreVerb.GET: self._get,
            StoreVerb.LOOKUP: self._lookup,
            StoreVerb.GET_OR_LOAD: self._get_or_load,
            StoreVerb.GET_SET: self._get_set,
            StoreVerb.SET: self._set,
            StoreVerb.DELETE: self._delete,
            StoreVerb.HAS: lambda operation: self.reads.has(checked_key(operation.key)),
            StoreVerb.CLEAR: lambda _: self.writes.clear(),
            StoreVerb.KEYS: lambda _: self.reads.keys(),
            StoreVerb.GET_MANY: self._get_many,
            StoreVerb.SET_MANY: self._set_many,
            StoreVerb.DELETE_MANY: self._delete,
            StoreVerb.LOOKUP_MANY: self._lookup_many,
            StoreVerb.GET_OR_LOAD_MANY: self._get_or_load_many,
            StoreVerb.INVALIDATE_TAGS: lambda operation: self.writes.invalidate_tags(checked_tags(operation.value)),
            StoreVerb.ADD: self._add,
            StoreVerb.UPDATE: self._update,
            StoreVerb.TOUCH: self._touch,
            StoreVerb.EVICT: lambda operation: self.writes.evict(_each_once(operation.keys)),
        }

    def __call__(self, operation: StoreOperation) -> Any:
        """Does the operation.

        Returns:
            What the method of the same name returns; for `get` the value, and for `get_set` the old one.

        Raises:
            NotFound: a `get`, `get_set` or `update` found nothing.
            StoreError: a layer that is needed failed.
            ValueError: a key, ttl or option is none.
        """
        return self._table[operation.verb](operation)

    def _get(self, operation: StoreOperation) -> Any:
        entry = self.reads.walk(checked_key(operation.key), operation.options.get("until")).entry
        if entry is None:
            raise NotFound(operation.key)
        return entry.value

    def _lookup(self, operation: StoreOperation) -> Lookup[Any]:
        key = checked_key(operation.key)
        try:
            walk = self.reads.walk(key, operation.options.get("until"))
        except StoreError as error:
            return Failed(key, error)
        return self._said(walk, None)

    def _lookup_many(self, operation: StoreOperation) -> dict[str, Lookup[Any]]:
        walks, error = self.reads.walk_many(_each_once(operation.keys), operation.options.get("until"))
        return {key: self._said(walk, error) for key, walk in walks.items()}

    def _said(self, walk: Walk, error: StoreError | None) -> Lookup[Any]:
        """What a walk says to callers; the error counts if it found nothing and nothing was remembered."""
        entry, rungs = walk.entry, self._stack.rungs
        if entry is not None:
            left = entry.stale if walk.stale else entry.left
            return Hit(entry.value, rungs[walk.source].name, walk.source, left, walk.stale)
        if walk.expires is not None:
            left = max(0.0, walk.expires - self._stack.now())
            return Absent(walk.key, rungs[-1].name, rungs[-1].index, left)
        return Miss(walk.key) if error is None else Failed(walk.key, error)

    def _get_or_load(self, operation: StoreOperation) -> Any:
        options = operation.options
        key, ttl = checked_key(operation.key), _checked_ttl(operation.ttl)
        return self.loads.get_or_load(key, options["loader"], ttl, options.get("timeout"), options.get("until"))

    def _get_or_load_many(self, operation: StoreOperation) -> dict[str, Any]:
        options = operation.options
        keys, ttl = _each_once(operation.keys), _checked_ttl(operation.ttl)
        return self.many_loads.get_or_load_many(keys, options["loader"], ttl, options.get("timeout"))

    def _get_set(self, operation: StoreOperation) -> Any:
        way = self.changes if self.changes.alone else self.loads
        old = way.get_set(checked_key(operation.key), operation.value, _checked_ttl(operation.ttl))
        if old is None:
            raise NotFound(operation.key)
        return old.value

    def _set(self, operation: StoreOperation) -> Receipt:
        key, ttl = checked_key(operation.key), _checked_ttl(operation.ttl)
        return self.writes.set({key: operation.value}, ttl, operation.verb, operation.options.get("tags", ()))

    def _set_many(self, operation: StoreOperation) -> Receipt:
        values = {checked_key(key): value for key, value in operation.value.items()}
        return self.writes.set(values, _checked_ttl(operation.ttl), operation.verb, operation.options.get("tags", ()))

    def _delete(self, operation: StoreOperation) -> Receipt:
        return self.writes.delete(_each_once(operation.keys), operation.verb)

    def _add(self, operation: StoreOperation) -> bool:
        return self.changes.add(checked_key(operation.key), operation.value, _checked_ttl(operation.ttl))

    def _update(self, operation: StoreOperation) -> Any:
        options = operation.options
        ttl = KEEP if options.get("keep") else _checked_ttl(operation.ttl)
        return self.changes.update(checked_key(operation.key), options["change"], ttl, options.get("until"))

    def _touch(self, operation: StoreOperation) -> bool:
        key, ttl = checked_key(operation.key), operation.ttl
        if ttl is not None and ttl <= 0:
            return self.writes.delete([key], StoreVerb.TOUCH).removed > 0
        return self.changes.touch(key, _checked_ttl(ttl))

    def _get_many(self, operation: StoreOperation) -> dict[str, Any]:
        return self.reads.values(_each_once(operation.keys), operation.options.get("until"))


def _each_once(keys: Sequence[str]) -> list[str]:
    if set(map(type, keys)) <= {str}:
        return list(dict.fromkeys(keys))
    return list(dict.fromkeys([checked_key(key) for key in keys]))  # a subclass of str, or an error
