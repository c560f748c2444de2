"""The delegated store: ordered layers that are read from the top down, filled from the bottom up, and written through.

A read asks each layer for what the ones above it lacked and has the ones above filled with what it found, for no longer
than the value has left below. A write goes to the primary layers first and then to the copies. The rules are in
`_plans`, the acting in `_reads`, `_writes`, `_loads` and `_fills`; here is what callers see.

The way of a hit in the first layer is as short as it can be: one look into the memory layer's table, its time checked,
no lock, no operation object, no counter but the entry's own. It is open only while there is no middleware.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import NotFound, StoreClosedError
from wellwired.middleware import StoreMiddleware, StoreNext, chain
from wellwired.operations import StoreOperation, StoreVerb
from wellwired.stores._changeable import Changeable
from wellwired.stores._endpoint import Endpoint, checked_key, checked_tags
from wellwired.stores._eviction import Node
from wellwired.stores._observed import Observed
from wellwired.stores._short_way import short_way
from wellwired.stores._stack import Stack
from wellwired.stores.events import BackFill
from wellwired.stores.layer import FillPolicy, Layer, named_layers
from wellwired.stores.loader import Missing
from wellwired.stores.loading import LoadPolicy
from wellwired.stores.lookups import Lookup
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import Entry, Store
from wellwired.stores.receipts import Receipt

__all__ = ["DelegatedStore"]

V = TypeVar("V")
D = TypeVar("D")

_ABSENT: Any = object()
_NO_NODES: Mapping[str, Node] = {}


class DelegatedStore(Observed, Changeable[V], Generic[V]):
    """A store made of layers; safe for threads, and usable in a forked child.

    Args:
        layers: from the first to be read to the last; a bare store is a layer with default options. Without a primary
            among them the last one is it.
        back_fill_callbacks: called with a `BackFill` event for every layer filled, in this order.
        middleware: goes around every operation; what comes later in the sequence runs first.
        name: what it is called in events, errors, counters and logs.
        clock: what values age by while they travel, in seconds of its monotonic time.
        fills: how fills in the background are bounded.
        patience: seconds that `get_or_load` waits for a load by somebody else; None waits as long as it takes.
        loads: how values are loaded, refreshed and missed.

    Raises:
        ValueError: no layer, or two of the same name.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Store],
        back_fill_callbacks: Iterable[Callable[[BackFill], object]] = (),
        middleware: Iterable[StoreMiddleware] = (),
        *,
        name: str = "store",
        clock: Clock = SYSTEM,
        fills: FillPolicy = FillPolicy(),  # noqa: B008 - immutable
        patience: float | None = 30.0,
        loads: LoadPolicy = LoadPolicy(),  # noqa: B008 - immutable
    ) -> None:
        self.name = name
        self._stack = Stack(name, named_layers(layers), back_fill_callbacks, clock, fills, absent_ttl=loads.absent_ttl)
        self._endpoint = Endpoint(self._stack, patience, loads)
        self._find = short_way(self._stack, self._endpoint.reads)
        self._middleware: tuple[StoreMiddleware, ...] = ()
        self._changing = threading.Lock()
        self._closed = False
        top = self._stack.layers[0].store
        self._memory = top if type(top) is MemoryStore else None
        self._call: StoreNext = self._endpoint
        self._hot: Mapping[str, Node] = _NO_NODES
        self._now = now = clock.monotonic if self._memory is None else self._memory.now
        ahead = loads.refresh_ahead
        # Without refreshing ahead it is the very same function, so that a hit pays nothing for it.
        self._soon: Callable[[], float] = (lambda: now() + ahead) if ahead else now
        self.use(*middleware)

    def __repr__(self) -> str:
        return f"DelegatedStore({self.name!r}, layers={[layer.name for layer in self.layers]})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, each with its name, from the first to be read to the last."""
        return self._stack.layers

    # --- one key

    @overload
    def get(self, key: str, *, deadline: float | Deadline | None = None) -> V: ...
    @overload
    def get(self, key: str, default: D, *, deadline: float | Deadline | None = None) -> V | D: ...
    # Not keyword-only here: defaults of keyword-only parameters cost every hit a look into a dictionary.
    def get(self, key: str, default: Any = _ABSENT, deadline: float | Deadline | None = None) -> Any:
        """Gives the value under the key.

        Args:
            key: the key.
            default: what to give if there is nothing.
            deadline: seconds in which to answer whatever hangs, or by when. The time that is left is shared by the
                layers that may still be asked; what they know too late is not waited for.

        Raises:
            NotFound: there is nothing, or that is remembered (`LoadPolicy.absent_ttl`), and no default was given.
            LayerError: a layer that might have had it failed or was out of time (`LayerTimeoutError`), no other had it,
                and nothing stale could stand in; a default does not cover that.
        """
        try:
            node = self._hot[key]  # a hit is a tenth cheaper so than by asking with `get`
        except KeyError:
            pass
        else:
            value, expires, thaw = node.cell
            if expires is None or expires > self._now():
                node.hits += 1
                return value if thaw is None else thaw(value)
        return self._get(key, default, deadline)

    def at_hand(self, key: str, default: D) -> V | D:
        """Gives the value under the key if it lies in the first layer's memory; never waits, and asks no other layer.

        For who must not wait, such as an event loop, which has a thread ask `get` for everything else. A store with
        middleware has nothing at hand, because its middleware sees every read.

        Args:
            key: the key.
            default: what to give if nothing is at hand, whatever other layers may have.
        """
        node = self._hot.get(key)
        if node is None:
            return default
        value, expires, thaw = node.cell
        if expires is not None and expires <= self._now():
            return default
        node.hits += 1
        return value if thaw is None else thaw(value)  # type: ignore[no-any-return]

    def lookup(self, key: str, *, deadline: float | Deadline | None = None) -> Lookup[V]:
        """Says what is under the key, from which layer, for how long and whether stale; raises nothing for a layer.

        Args:
            key: the key.
            deadline: as for `get`.

        Returns:
            `Hit`, `Miss` or `Failed`; `Absent` instead of `Miss` where no layer had to be asked, because the store's
            `LoadPolicy` has an `absent_ttl` and an earlier read found nothing.
        """
        answer: Lookup[V] = self._do(StoreVerb.LOOKUP, (key,), **self._by(deadline))
        return answer

    def get_or_load(
        self,
        key: str,
        loader: Callable[[str], V | Entry[V] | Missing],
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        deadline: float | Deadline | None = None,
    ) -> V:
        """Gives the value under the key; if there is none, the loader makes it and it is stored.

        At most one load of a key is under way at a time in this process; who comes meanwhile waits for its result. Only
        a write of the key in between lets the next caller start a load of its own. A loaded value never replaces what
        was written while it was loaded. A failed load is not remembered unless the `LoadPolicy` says so.

        Args:
            key: the key, which the loader is given.
            loader: makes the value, None included, or an `Entry` that says how long it is good; it returns `MISSING` or
                raises `NotFound` if there is nothing. What it raises is raised here, to all who waited for it, unless a
                layer keeps a stale value.
            ttl: seconds for which the value is fresh at most, from when it was loaded.
            timeout: seconds to wait for a load by somebody else; None takes the store's `patience`.
            deadline: seconds in which to answer, or by when. The load is then made by a thread of the store's own, in
                the caller's context, and goes on to its end when the caller is out of time.

        Raises:
            LayerError: a layer that might have had the value failed; nothing was loaded.
            NotFound: the loader says that there is nothing.
            StoreTimeoutError: the load, somebody else's or one with a deadline, took too long.
        """
        node = self._hot.get(key)
        if node is not None:
            value, expires, thaw = node.cell
            if expires is None or expires > self._soon():
                node.hits += 1
                return value if thaw is None else thaw(value)  # type: ignore[no-any-return]
        how = self._by(deadline)
        answer: V = self._do(StoreVerb.GET_OR_LOAD, (key,), ttl=ttl, loader=loader, timeout=timeout, **how)
        return answer

    def set(self, key: str, value: V, *, ttl: float | None = None, tags: Iterable[str] = ()) -> Receipt:
        """Stores the value in every layer, the primaries first.

        Args:
            key: the key.
            value: the value, None included.
            ttl: seconds that it may be served at most, or None for ever; the caps of the layers hold as well.
            tags: names by which `invalidate_tags` removes it together with others, such as ``("tenant:1",)``. A copy in
                a layer that keeps no tags is removed instead.

        Returns:
            What became of it in each layer. A copy that failed does not fail the write.

        Raises:
            LayerError: a primary refused; no copy has the new value. Its `receipt` says how far the write came.
            ReadOnlyError: every primary is read-only.
        """
        options = {"tags": checked_tags(tags)} if tags else {}
        receipt: Receipt = self._do(StoreVerb.SET, (key,), value, ttl, **options)
        return receipt

    def delete(self, key: str) -> Receipt:
        """Removes the key from every layer, the primaries first; read-only layers keep it.

        Returns:
            What became of it in each layer; true in a condition if the key was there.

        Raises:
            LayerError: a primary refused; the copies were removed all the same.
        """
        receipt: Receipt = self._do(StoreVerb.DELETE, (key,))
        return receipt

    def evict(self, keys: Iterable[str]) -> Receipt:
        """Removes the copies of keys that the truth has changed under; no primary layer is touched.

        For who writes to a primary by another way than this store: call it when that write has been committed. No fill
        that began before brings an old value back, and no load that began before answers who asks afterwards.

        Args:
            keys: the keys.

        Returns:
            What became of it in each layer, the primaries skipped; `removed` says how many keys a copy had. It never
            fails for what a layer does: a key that could not be removed is read from that layer no more until it has
            been, and `complete` is false.
        """
        receipt: Receipt = self._do(StoreVerb.EVICT, tuple(keys))
        return receipt

    def has(self, key: str) -> bool:
        """Says whether there is something under the key, None included; fills no layer.

        Raises:
            LayerError: a layer that might have had it failed, and no other had it.
        """
        there: bool = self._do(StoreVerb.HAS, (key,))
        return there

    # --- many keys

    def get_many(self, keys: Iterable[str], *, deadline: float | Deadline | None = None) -> dict[str, V]:
        """Gives the values of those keys that have one, asking each layer once for what the ones above it lacked.

        Args:
            keys: the keys.
            deadline: as for `get`, for all of them together.

        Raises:
            LayerError: a layer failed that might have had a key that no other had. `lookup_many` answers key by key.
        """
        found: dict[str, V] = self._do(StoreVerb.GET_MANY, tuple(keys), **self._by(deadline))
        return found

    def lookup_many(self, keys: Iterable[str], *, deadline: float | Deadline | None = None) -> dict[str, Lookup[V]]:
        """Says for every key what is under it, as `lookup` does; a layer that fails costs only the keys it may have.

        Args:
            keys: the keys.
            deadline: as for `get`, for all of them together.
        """
        answers: dict[str, Lookup[V]] = self._do(StoreVerb.LOOKUP_MANY, tuple(keys), **self._by(deadline))
        return answers

    def get_or_load_many(
        self,
        keys: Iterable[str],
        loader: Callable[[Sequence[str]], Mapping[str, V | Entry[V]]],
        *,
        ttl: float | None = None,
        timeout: float | None = None,
    ) -> dict[str, V]:
        """Gives the values of those keys that have one; what lacks is loaded together, and stored in one go.

        A key that somebody else is loading is not loaded again but waited for; see `get_or_load`.

        Args:
            keys: the keys.
            loader: is given the keys to load, each once; it leaves out those that have nothing under them.
            ttl: seconds for which a loaded value is fresh at most.
            timeout: seconds to wait for a load by somebody else; None takes the store's `patience`.

        Raises:
            LayerError: a layer that might have had a value failed; nothing was loaded.
            StoreTimeoutError: somebody else's load took too long.
        """
        found: dict[str, V] = self._do(StoreVerb.GET_OR_LOAD_MANY, tuple(keys), ttl=ttl, loader=loader, timeout=timeout)
        return found

    def set_many(self, values: Mapping[str, V], *, ttl: float | None = None, tags: Iterable[str] = ()) -> Receipt:
        """Stores many values, in one round trip to each layer that can; see `set`."""
        options = {"tags": checked_tags(tags)} if tags else {}
        receipt: Receipt = self._do(StoreVerb.SET_MANY, tuple(values), values, ttl, **options)
        return receipt

    def delete_many(self, keys: Iterable[str]) -> Receipt:
        """Removes many keys, in one round trip to each layer that can; see `delete`."""
        receipt: Receipt = self._do(StoreVerb.DELETE_MANY, tuple(keys))
        return receipt

    def keys(self) -> Iterator[str]:
        """The keys of the primary layers, each once, in no order, read as the caller goes on; no snapshot."""
        keys: Iterator[str] = self._do(StoreVerb.KEYS, ())
        return keys

    def clear(self) -> Receipt:
        """Removes every key from every layer, the primaries first.

        Raises:
            LayerError: a primary refused; the copies were cleared all the same.
        """
        receipt: Receipt = self._do(StoreVerb.CLEAR, ())
        return receipt

    def invalidate_tags(self, tags: Iterable[str]) -> Receipt:
        """Removes every value that bears one of the tags from every layer that keeps tags, primaries included.

        Tags come with `set`, or from a loader that returns an `Entry` with tags, and go up with a value that is read. A
        layer that keeps none, such as the application's own table, is not asked, and what is read from it has none; a
        copy in such a layer never held a value with tags. The number of values does not matter to Redis or SQL.

        Args:
            tags: the tags; of values without any of them none is touched.

        Returns:
            What became of it in each layer.

        Raises:
            LayerError: a primary refused; the copies were removed all the same.
        """
        receipt: Receipt = self._do(StoreVerb.INVALIDATE_TAGS, (), checked_tags(tags))
        return receipt

    # --- what goes around

    def use(self, *middleware: StoreMiddleware) -> None:
        """Puts middleware around every operation from now on; what is registered later runs first.

        Raises:
            RegistrationError: one of them is no middleware; then nothing changes.
        """
        with self._changing:
            together = (*self._middleware, *middleware)
            call = chain(self._endpoint, together)
            if not self._closed:
                self._middleware, self._call = together, call
                open_way = self._memory is not None and not together
                self._hot = self._memory.nodes if self._memory is not None and open_way else _NO_NODES

    # --- the end

    def flush(self, timeout: float | None = None) -> None:
        """Waits until every background fill is made and told.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            StoreTimeoutError: some were still waiting when the time had passed.
        """
        self._stack.background.flush(timeout)

    def close(self, timeout: float | None = 5.0) -> int:
        """Refuses further operations, makes the fills that wait, and closes the layers' stores; may be repeated.

        Args:
            timeout: seconds for the waiting fills; None takes as long as it takes.

        Returns:
            How many fills were given up because the time had passed.

        Raises:
            ExceptionGroup: what the layers raised; every one of them was closed as far as it could be.
        """
        with self._changing:
            already, self._closed = self._closed, True
            self._hot, self._call = _NO_NODES, self._refuse
        if already:
            return 0
        given_up = self._stack.background.close(timeout)
        errors: list[Exception] = []
        for layer in self.layers:
            try:
                layer.store.close()
            except Exception as error:  # noqa: BLE001 - raised below, with the others
                errors.append(error)
        if errors:
            raise ExceptionGroup(f"layers of store {self.name} could not be closed", errors)
        return given_up

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- within

    def _get(self, key: str, default: Any, deadline: float | Deadline | None) -> Any:
        if self._call is self._endpoint:
            if deadline is None:
                entry = self._find(key if type(key) is str else checked_key(key))
            else:
                entry = self._endpoint.reads.walk(checked_key(key), self._by(deadline)["until"]).entry
            if entry is not None:
                return entry.value
            if default is _ABSENT:
                raise NotFound(key)
            return default
        try:
            return self._do(StoreVerb.GET, (key,), **self._by(deadline))
        except NotFound:
            if default is _ABSENT:
                raise
            return default

    def _by(self, deadline: float | Deadline | None) -> dict[str, Any]:
        """The option of an operation that says by when to answer, if there is a deadline."""
        if deadline is None:
            return {}
        return {"until": self._moment(deadline)}

    def _do(
        self, verb: StoreVerb, keys: Sequence[str], value: Any = None, ttl: float | None = None, **options: Any
    ) -> Any:
        return self._call(StoreOperation(verb, self.name, keys, value, ttl, options))

    def _refuse(self, operation: StoreOperation) -> Any:
        raise StoreClosedError(f"store {self.name} was closed; {operation.verb} is no longer possible")
