"""Faults to order: a layer or a writer of a container that is slow, flaky, dead or hung, until the test ends.

The layer and the writer stay the real ones, and calls of them meet the fault first. So the rest of the application is
tested as it is: limits of time, circuit breakers, retries, stale values, dead letters. Faults of one layer or writer
add up, the last one ordered first. What a layer raises is what its driver would, and what a writer raises is coded as
its backend's errors are.

::

    faults.dead("stores.users", "redis.cache")
    faults.writer("sql.main").fails(outcome="UNKNOWN", times=1)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from wellwired.clock import SYSTEM, Clock
from wellwired.testing._broken import of_layer, too_slow
from wellwired.testing._layers import around_layer, layer_of
from wellwired.testing._writer_faults import WriterFaults, find_writer

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Fault", "Faults", "WriterFaults"]


class Fault:
    """One fault of a layer; safe to share by threads.

    Args:
        act: what happens when the layer is called, given the call itself.
        only: the methods of the layer's store that it is about; None for all.
    """

    def __init__(self, act: Callable[[Callable[[], Any]], Any], only: Collection[str] | None) -> None:
        self._act, self._only = act, only
        self._changed = threading.Condition()
        self.ended = False
        """Whether calls do not meet it any more."""
        self.calls = 0
        """How many calls have met it."""
        self.hanging = 0
        """How many calls it keeps waiting at this moment."""
        self._resumed = 0

    def end(self) -> None:
        """Ends it: later calls do not meet it, and those that hang go on before this returns."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.hanging, timeout=5.0)

    def around(self, name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes a call of the layer meet it."""
        if self.ended or not (self._only is None or name in self._only):
            return call(*args, **kwargs)
        with self._changed:
            self.calls += 1
        return self._act(lambda: call(*args, **kwargs))

    def hang(self, seconds: float | None) -> bool:
        """Waits for its end, in real time; whether that came. Who goes on then says when it has: `gone_on`."""
        with self._changed:
            self.hanging += 1
            try:
                resumed = self._changed.wait_for(lambda: self.ended, timeout=seconds)
                self._resumed += resumed
                return resumed
            finally:
                self.hanging -= 1
                self._changed.notify_all()

    def gone_on(self) -> None:
        """Told by a call that hung, went on at the end, and is over."""
        with self._changed:
            self._resumed -= 1
            self._changed.notify_all()

    def settle(self) -> None:
        """Waits, for five seconds at most, until the calls that hung are over: what they use may be closed next."""
        with self._changed:
            self._changed.wait_for(lambda: not self._resumed, timeout=5.0)

    def wait_until_hanging(self, calls: int = 1) -> None:
        """Waits, for ten seconds at most, until so many calls hang.

        Raises:
            AssertionError: there were not as many.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.hanging >= calls, timeout=10.0):
                raise AssertionError(f"{self.hanging} calls hang after 10 s, and {calls} should")


class Faults:
    """Orders faults of a container's layers and writers; as a context manager it ends them all.

    The fixture `wellwired_faults` is one for the container of a test. A fault on a layer has its store built anew, so
    ask the container for the store after it, and not before.

    Args:
        container: whose; started.
        clock: what slow calls sleep on: real time, or a `VirtualClock`, which they move.
    """

    def __init__(self, container: ContainerInstance, clock: Clock = SYSTEM) -> None:
        self._container, self._clock = container, clock
        self._stack = ExitStack()
        self._ordered: list[Fault] = []
        self._writers: dict[str, WriterFaults] = {}

    def slow(self, store: str, layer: str, *, seconds: float, only: Collection[str] | None = None) -> Fault:
        """Has a layer answer late.

        Args:
            store: the id of the store, such as ``stores.users``.
            layer: the name of its layer, such as ``redis.cache``.
            seconds: how much later. On a virtual clock no time passes outside of it: a `Layer.time_limit`, which is
                kept in real time, is not met then; `hung` meets it.
            only: methods of the layer's store; None for all.
        """

        def act(call: Callable[[], Any]) -> Any:
            self._clock.sleep(seconds)
            return call()

        return self._put(store, layer, Fault(act, only))

    def flaky(
        self,
        store: str,
        layer: str,
        *,
        errors: int = 1,
        error: Exception | None = None,
        only: Collection[str] | None = None,
    ) -> Fault:
        """Has the next calls of a layer fail, and none after those.

        Args:
            store: the id of the store.
            layer: the name of its layer.
            errors: how many calls.
            error: what they raise; None for what its driver raises when the server is gone.
            only: methods of the layer's store; None for all.
        """
        left = threading.Semaphore(errors)

        def act(call: Callable[[], Any]) -> Any:
            if left.acquire(blocking=False):
                raise self._broken(store, layer, error)
            return call()

        return self._put(store, layer, Fault(act, only))

    def dead(
        self, store: str, layer: str, *, error: Exception | None = None, only: Collection[str] | None = None
    ) -> Fault:
        """Has every call of a layer fail.

        Args:
            store: the id of the store.
            layer: the name of its layer.
            error: what they raise; None for what its driver raises when the server is gone.
            only: methods of the layer's store; None for all.
        """

        def act(_call: Callable[[], Any]) -> Any:
            raise self._broken(store, layer, error)

        return self._put(store, layer, Fault(act, only))

    def hung(
        self, store: str, layer: str, *, seconds: float | None = 5.0, only: Collection[str] | None = None
    ) -> Fault:
        """Has a layer not answer until the fault ends, at the latest with the test.

        Args:
            store: the id of the store.
            layer: the name of its layer.
            seconds: for how long the driver of the layer waits for an answer before it raises its own error; None for
                ever. In real time, whatever the clock.
            only: methods of the layer's store; None for all.
        """

        def act(call: Callable[[], Any]) -> Any:
            if not fault.hang(seconds):
                raise too_slow(self._store(store, layer))
            try:
                return call()
            finally:
                fault.gone_on()

        fault = Fault(act, only)
        return self._put(store, layer, fault)

    def writer(self, target: str) -> WriterFaults:
        """The faults of the writer of a target, such as ``sql.main``; see `WriterFaults`.

        Args:
            target: any that the writer supports.

        Raises:
            UnknownProviderError: no writer does.
        """
        writer = find_writer(self._container, target)
        if writer.name not in self._writers:
            self._writers[writer.name] = WriterFaults(writer, self._stack, self._clock)
        return self._writers[writer.name]

    def end(self) -> None:
        """Ends every fault, and puts everything back; calls that hang go on to their own end before it returns."""
        for fault in self._ordered:
            fault.end()
        for faults in self._writers.values():
            faults.end()
        for fault in self._ordered:
            fault.settle()
        self._ordered.clear()
        self._writers.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _put(self, store: str, layer: str, fault: Fault) -> Fault:
        self._stack.enter_context(around_layer(self._container, store, layer, fault.around))
        self._ordered.append(fault)
        return fault

    def _store(self, store: str, layer: str) -> Any:
        return layer_of(self._container, store, layer)[1].store

    def _broken(self, store: str, layer: str, error: Exception | None) -> Exception:
        return of_layer(self._store(store, layer)) if error is None else error
