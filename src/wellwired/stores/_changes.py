"""`update`, `add` and `touch`: a value is looked at, and replaced only if it is still the one that was looked at.

One primary decides, the lowest that takes values: it is the first that every write goes to. It has to be `Atomic`; what
is merely read and then set would lose the changes of others. Who was overtaken looks again, after a short random wait.
Nothing is locked while the caller's function runs: changes of one key take turns in this process as a courtesy only,
which ends by itself, so a function may wait for whatever it likes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from wellwired.clock import Deadline
from wellwired.errors import AbilityError, NotFound, ReadOnlyError, StoreTimeoutError
from wellwired.operations import StoreVerb
from wellwired.stores._plans import shorter
from wellwired.stores._rungs import Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._writes import Writes
from wellwired.stores.changing import Keep, Wanted, pause, wanted_of
from wellwired.stores.loader import MISSING
from wellwired.stores.protocols import Entry

__all__ = ["Changes"]

_COURTESY: Final = 0.5
"""Seconds that a change waits for another of its key in this process before it tries its luck."""

Decide: TypeAlias = Callable[[Entry[Any] | None], Wanted | None]


class Changes:
    """The atomic operations of a delegated store; safe for threads.

    Args:
        stack: the layers.
        writes: how to write them.
        patience: seconds for which a change is tried again once others have overtaken it; None for as long as it takes.
    """

    def __init__(self, stack: Stack, writes: Writes, patience: float | None) -> None:
        self._stack, self._writes, self._patience = stack, writes, patience
        self.overtaken = 0

    def update(
        self, key: str, change: Callable[[Any], Any], ttl: float | Keep | None, until: Deadline | None = None
    ) -> Any:
        """Replaces a value by what a function makes of it.

        Args:
            key: the key.
            change: given the value or `MISSING`; it may be called again when others were faster.
            ttl: seconds that the new value is fresh at most, None for ever, or `KEEP`.
            until: by when it must have been accepted or given up.

        Returns:
            The value that is there now.

        Raises:
            NotFound: nothing is there, and the function wants it so.
        """

        def decide(current: Entry[Any] | None) -> Wanted | None:
            return wanted_of(current, change(MISSING if current is None else current.value), ttl)

        current, wanted = self._exchange(StoreVerb.UPDATE, key, decide, until)
        if wanted is not None:
            return wanted.value
        if current is None:
            raise NotFound(key)
        return current.value

    def add(self, key: str, value: Any, ttl: float | None) -> bool:
        """Stores a value if the deciding primary has none; whether it did."""
        rung, wanted = self._deciding(StoreVerb.ADD), Wanted(value, ttl)
        if rung.adds and self._elsewhere(StoreVerb.ADD, key, rung) is None:
            return self._writes.exchange(StoreVerb.ADD, key, wanted, rung, lambda entry: rung.add(key, entry))
        current, _ = self._exchange(StoreVerb.ADD, key, lambda current: wanted if current is None else None, None)
        return current is None

    def touch(self, key: str, ttl: float | None) -> bool:
        """Gives a value a new life; whether there was one."""

        def decide(current: Entry[Any] | None) -> Wanted | None:
            return None if current is None else Wanted(current.value, ttl, 0.0, current.tags)

        current, _ = self._exchange(StoreVerb.TOUCH, key, decide, None)
        return current is not None

    @property
    def alone(self) -> bool:
        """Whether there is a single primary, and it can exchange: then it says what was there before."""
        primaries = self._stack.plan.primaries
        rung = self._stack.rungs[primaries[0]]
        return len(primaries) == 1 and rung.atomic and rung.writable

    def get_set(self, key: str, value: Any, ttl: float | None) -> Entry[Any] | None:
        """Stores a value and gives what it has replaced."""
        current, _ = self._exchange(StoreVerb.GET_SET, key, lambda _: Wanted(value, ttl), None)
        return current

    # --- within

    def _exchange(
        self, verb: StoreVerb, key: str, decide: Decide, until: Deadline | None
    ) -> tuple[Entry[Any] | None, Wanted | None]:
        """Looks, decides and exchanges until nobody comes between; what was there, and what is there instead."""
        stack, rung = self._stack, self._deciding(verb)
        attempt, since = 0, 0.0
        with stack.courtesy.offered(key, _COURTESY):
            while True:
                looked = stack.now()
                current, token = self._seen(verb, key, rung, until)
                wanted = decide(current)
                if wanted is None:
                    if current is not None and stack.absences is not None:
                        stack.absences.found_something(key)  # who reads next must not be told of nothing
                    return current, None

                def take(entry: Entry[Any], token: Any = token) -> bool:
                    return rung.swap(key, entry, token)

                if self._writes.exchange(verb, key, wanted, rung, take, looked=looked):
                    return current, wanted
                attempt += 1
                self.overtaken += 1
                # The time that the first attempt took is the caller's own.
                since = since if attempt > 1 else stack.now()
                self._rest(verb, rung, attempt, since, until)

    def _rest(self, verb: StoreVerb, rung: Rung, attempt: int, since: float, until: Deadline | None) -> None:
        """Waits a little before another attempt, if there is time for one."""
        stack = self._stack
        spent = stack.now() - since
        left = None if self._patience is None else self._patience - spent
        left = left if until is None else shorter(left, until.left())
        seconds = pause(attempt, random.random())
        if left is not None and seconds >= left:
            raise StoreTimeoutError(
                f"{verb} of a key of store {stack.name} was overtaken by other writers {attempt} times and given up "
                f"{spent:.3g} s after the first; nothing was changed in {rung.name}. Allow more patience, or spread "
                f"what is changed so often over several keys"
            )
        stack.clock.sleep(seconds)

    def _deciding(self, verb: StoreVerb) -> Rung:
        """The primary that decides.

        Raises:
            AbilityError: it cannot.
            ReadOnlyError: there is none.
        """
        stack = self._stack
        rungs = (stack.rungs[index] for index in stack.plan.primaries)
        rung = next((rung for rung in rungs if rung.writable), None)
        if rung is None:
            raise ReadOnlyError(f"store {stack.name} takes no values: every primary layer is read-only")
        if not rung.atomic:
            raise AbilityError(
                rung.name,
                "Atomic",
                f"{verb} needs a primary that can compare and exchange, and layer {rung.name} of store {stack.name} "
                f"cannot: it lacks the ability Atomic (witness and swap). A MemoryStore, RedisStore or SQLStore has it",
            )
        return rung

    def _seen(self, verb: StoreVerb, key: str, rung: Rung, until: Deadline | None) -> tuple[Entry[Any] | None, Any]:
        """What there is, and the deciding primary's token."""
        left = None if until is None else until.left()
        answer = self._stack.ask_in_time(rung, verb, left, None, rung.witness, key)
        if isinstance(answer, Failure):
            raise self._stack.refusal(rung, verb, answer)
        entry, token = answer
        return self._elsewhere(verb, key, rung) if entry is None else entry, token

    def _elsewhere(self, verb: StoreVerb, key: str, deciding: Rung) -> Entry[Any] | None:
        """What another primary has under a key that the deciding one lacks."""
        stack = self._stack
        for index in reversed(stack.plan.primaries):
            rung = stack.rungs[index]
            if rung is deciding:
                continue
            answer = stack.ask_in_time(rung, verb, None, None, rung.read, key)
            if isinstance(answer, Failure):
                raise stack.refusal(rung, verb, answer)
            if answer[0] is not None:
                return answer[0]
        return None
