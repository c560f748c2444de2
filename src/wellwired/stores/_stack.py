"""What the parts of a delegated store share: its layers, their plan, the fence, the worker and the listeners."""

from __future__ import annotations

import weakref
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
from wellwired.stores._memos import Absences
from wellwired.stores._plans import WAITING_SHARE, StackPlan
from wellwired.stores._rungs import UNASKED, Failure, Rung
from wellwired.stores._walk import Walk
from wellwired.stores.damage import Damage, DamageLog
from wellwired.stores.events import FillDropped, FillPlanned, LayerFailed, LayerTurned, Listener, ValueDamaged
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
        absent_ttl: seconds for which it is remembered that there is nothing under a key; None: not at all.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[Layer],
        callbacks: Iterable[Listener],
        clock: Clock,
        policy: FillPolicy,
        *,
        absent_ttl: float | None = None,
    ) -> None:
        self.name = name
        self.layers = tuple(layers)
        self.plan = StackPlan.of(layers)
        self.fence = Fence()
        self.rungs = [Rung(name, i, *pair, clock) for i, pair in enumerate(zip(layers, self.plan.caps, strict=True))]
        self.turns, self.courtesy = Turns(), Turns()
        self.clock, self.now = clock, clock.monotonic
        self.absences = None if absent_ttl is None else Absences(absent_ttl, self.fence, clock)
        self.stale_rungs = [rung for rung in self.rungs if rung.spare]
        self.shares = _shares(self.rungs)
        self.listeners = Listeners(name, callbacks, clock)
        self.background = Background(name, self.fill_batch, self.listeners.tell, policy)
        top = layers[0].store
        # Whoever shares values in the first layer gets the same object from it anyway.
        self.sharing = isinstance(top, MemoryStore) and top.share
        for rung in self.rungs:
            log = getattr(rung.store, "damage", None)
            if isinstance(log, DamageLog):
                log.listen(_teller(weakref.ref(self), rung.index))
        renew_in_child(self)

    def isolated(self, value: Any) -> Any:
        """The value itself if it may be shared, otherwise a copy."""
        return value if self.sharing else copied(value)

    def ask(
        self, rung: Rung, operation: str, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R | Failure:
        """Calls a layer, unless its breaker keeps it from being called; see `insist`."""
        breaker = rung.breaker
        if breaker is None:
            return self.insist(rung, operation, call, *args, **kwargs)
        before = self.now()
        era = breaker.admit(before)
        if era is None:
            rung.skipped += 1
            return Failure(LayerError(rung.name, operation, "its breaker is open"))
        answer = self.insist(rung, operation, call, *args, **kwargs)
        now = self.now()
        failed = isinstance(answer, Failure) and rung.blames(answer.error, now - before)
        state = breaker.note(era, now, failed=failed, seconds=now - before)
        if state is not None:
            rung.turned(state)
            if self.listeners.want_any:
                self.background.announce(LayerTurned(rung.index, rung.name, state, self.name))
        return answer

    def ask_in_time(
        self,
        rung: Rung,
        operation: str,
        left: float | None,
        late: Callable[[R], object] | None,
        call: Callable[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R | Failure:
        """Calls a layer by a call that does no harm if it happens late, and waits no longer than there is time.

        Args:
            rung: the layer.
            operation: what to call it in logs and errors.
            left: seconds that the caller has for it; None for as long as the layer's own limit says.
            late: is given an answer that comes after all.
            call: what to call.
            *args: what to call it with.
            **kwargs: what to call it with.
        """
        seconds = rung.waits(left)
        if seconds is None:
            return self.ask(rung, operation, call, *args, **kwargs)
        if seconds <= 0:
            rung.timeouts += 1
            return Failure(rung.out_of_time(operation, seconds))
        return self.ask(rung, operation, rung.within, seconds, operation, late, call, *args, **kwargs)

    def insist(
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

    def damaged(self, index: int, damage: Damage) -> None:
        """Tells of a value of a layer that could not be read."""
        if self.listeners.want_any:
            told = ValueDamaged(damage.key, index, self.rungs[index].name, damage.reason, self.name)
            self.background.announce(told)

    def present(self, key: str) -> None:
        """Takes note that a fill from outside has put something under a key: nobody may remember its absence."""
        if self.absences is not None:
            with self.fence.writing((key,)):
                pass  # a memo counts only while no write has come, so to count as one is enough

    def noticed(self, walks: Iterable[Walk]) -> None:
        """Takes note that there is something under keys after all; another process may have written it."""
        if self.absences is not None:
            for walk in walks:
                if walk.entry is not None:
                    self.absences.found_something(walk.key)

    def send_up(self, source: int, walks: Sequence[Walk]) -> None:
        """Fills the layers above a source: at once if none of them can wait, else in the background.

        Args:
            source: where the values were found.
            walks: of which keys.
        """
        if self.listeners.want_any:
            self.tell_planned(source, walks)
        if self.plan.inline[source]:
            make_fills(self, source, walks)
        else:
            self._send_later(walks)

    def tell_planned(self, source: int, walks: Sequence[Walk]) -> None:
        """Tells listeners which layers are about to be filled with what was found in a source."""
        targets = [rung for index in self.plan.targets[source] if (rung := self.rungs[index]).writable]
        found_in = self.rungs[source].name if source < len(self.rungs) else "loader"
        for walk in walks:
            # A layer that could not be read is not filled either.
            layers = tuple(rung.name for rung in targets if walk.tokens[rung.index] is not UNASKED)
            if layers:
                self.background.announce(FillPlanned(walk.key, layers, found_in, self.name))

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
        self.courtesy.after_fork()
        self.listeners.after_fork()
        self.background.after_fork()
        if self.absences is not None:
            self.absences.after_fork()
        for rung in self.rungs:
            rung.after_fork()
            if isinstance(rung.store, MemoryStore) and not rung.is_primary:
                rung.store.after_fork()
                rung.store.clear()


def _shares(rungs: Sequence[Rung]) -> list[float]:
    """For each layer, the part of the time left that it may use, lest one that hangs use up what those below need."""
    shares, waiting = [], sum(not rung.local for rung in rungs)
    # What is kept stale in another process has to be fetched once everything else has failed.
    later = any(rung.spare and not rung.local for rung in rungs)
    for rung in rungs:
        shares.append(WAITING_SHARE / max(1, waiting + later))
        waiting -= not rung.local
    return shares


def _teller(stack: weakref.ref[Stack], index: int) -> Callable[[Damage], None]:
    """Hands damages of a layer on to a stack for as long as that lives; a layer's store may outlive many."""

    def tell(damage: Damage) -> None:
        alive = stack()
        if alive is not None:
            alive.damaged(index, damage)

    return tell
