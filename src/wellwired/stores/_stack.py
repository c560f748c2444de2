"""What the parts of a delegated store share: its layers, their plan, the fence, the worker and the listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

from wellwired.clock import Clock
from wellwired.errors import LayerError, StoreError
from wellwired.stores._background import Background
from wellwired.stores._fence import Fence, Turns
from wellwired.stores._fills import make_fills
from wellwired.stores._forks import renew_in_child
from wellwired.stores._isolation import copied
from wellwired.stores._listeners import Listeners
from wellwired.stores._plans import StackPlan
from wellwired.stores._rungs import Failure, Rung
from wellwired.stores._walk import Walk
from wellwired.stores.events import FillDropped, LayerFailed, Listener
from wellwired.stores.layer import FillPolicy, Layer
from wellwired.stores.memory import MemoryStore

__all__ = ["Stack"]

P = ParamSpec("P")
R = TypeVar("R")


class Stack:
    """The shared state of one delegated store; safe for threads.

    Args:
        name: the store's name.
        layers: its layers, named.
        callbacks: the first callbacks for back-fills.
        clock: what values in transit age by.
        policy: how background fills are bounded.
    """

    def __init__(
        self, name: str, layers: Sequence[Layer], callbacks: Iterable[Listener], clock: Clock, policy: FillPolicy
    ) -> None:
        self.name = name
        self.layers = tuple(layers)
        self.plan = StackPlan.of(layers)
        self.rungs = [Rung(name, i, *pair, clock) for i, pair in enumerate(zip(layers, self.plan.caps, strict=True))]
        self.fence = Fence()
        self.turns = Turns()
        self.now = clock.monotonic
        self.listeners = Listeners(name, callbacks, clock)
        self.background = Background(name, self.fill_batch, self.listeners.tell, policy)
        top = layers[0].store
        # Whoever shares values in the first layer gets the same object from it anyway.
        self.shares = isinstance(top, MemoryStore) and top.share
        renew_in_child(self)

    def isolated(self, value: Any) -> Any:
        """The value itself if it may be shared, otherwise a copy."""
        return value if self.shares else copied(value)

    def ask(
        self, rung: Rung, operation: str, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | Failure:
        """Calls a layer; a failure of its is counted, logged, told, and given back as a value.

        Args:
            rung: the layer.
            operation: what to call it in logs and errors.
            call: what to call.
            *args: what to call it with.
            **kwargs: what to call it with.
        """
        try:
            answer = call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is a failure of its layer
            rung.failed(operation, error)
            if self.listeners.want_any:
                told = LayerFailed(rung.index, rung.name, operation, type(error).__qualname__, self.name)
                self.background.announce(told)
            return Failure(error)
        rung.works()
        return answer

    def refusal(self, rung: Rung, operation: str, failure: Failure) -> StoreError:
        """The error that a caller gets for what a layer raised: that itself if it is one of ours, else wrapped."""
        error = failure.error
        if isinstance(error, StoreError):
            return error
        wrapped = LayerError(rung.name, operation, type(error).__qualname__)
        wrapped.__cause__ = error
        return wrapped

    def send_up(self, source: int, walks: Sequence[Walk]) -> None:
        """Fills the layers above a source: at once if none of them can wait, else in the background.

        Args:
            source: where the values were found.
            walks: of which keys.
        """
        if self.plan.inline[source]:
            make_fills(self, source, walks)
        else:
            self._send_later(walks)

    def fill_batch(self, walks: Sequence[Walk]) -> None:
        """Fills what has waited, all keys of one source together."""
        for source in sorted({walk.source for walk in walks}):
            make_fills(self, source, [walk for walk in walks if walk.source == source])

    def _send_later(self, walks: Sequence[Walk]) -> None:
        carried = [own for walk in walks if (own := self._carried(walk)) is not None]
        for dropped in self.background.submit(carried):
            self._tell_dropped(dropped, "closed" if self.background.closed else "overflow")

    def _carried(self, walk: Walk) -> Walk | None:
        """The walk with a value of its own, for the caller may change the other while this one waits."""
        value = None if walk.entry is None else walk.entry.value
        try:
            return walk.carrying(self.isolated(value))
        except Exception:  # noqa: BLE001 - a type may raise anything when it is copied
            self.background.dropped += 1
            self._tell_dropped(walk.key, "uncopyable")
            return None

    def _tell_dropped(self, key: str, reason: str) -> None:
        if self.listeners.want_any:
            self.background.announce(FillDropped(key, reason, self.name))

    def after_fork(self) -> None:
        """Makes a child begin with its own worker, an open fence and empty copies.

        A write of the parent's may have been under way, which the child will never see the end of; so memory layers
        that are not primary begin empty.
        """
        self.fence.after_fork()
        self.turns.after_fork()
        self.listeners.after_fork()
        self.background.after_fork()
        for rung in self.rungs:
            rung.doubts.after_fork()
            if isinstance(rung.store, MemoryStore) and not rung.is_primary:
                rung.store.after_fork()
                rung.store.clear()
