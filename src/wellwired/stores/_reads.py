"""The walk down a stack: each layer is asked for what the ones above it lacked, and what is found is sent back up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import StoreError
from wellwired.stores._memos import Absences
from wellwired.stores._plans import WAITING_SHARE
from wellwired.stores._rungs import NO_TOKEN, UNASKED, Answer, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.events import ServedStale
from wellwired.stores.protocols import Entry

__all__ = ["Reads"]

_NOTHING: Answer = (None, UNASKED)


class Reads:
    """The reading operations of a delegated store; safe for threads.

    Args:
        stack: the layers.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def walk(self, key: str, until: Deadline | None = None, *, loading: bool = False) -> Walk:
        """Looks for one key from the first layer down, and has the layers above filled.

        Args:
            key: the key.
            until: when there has to be an answer; None as soon as the layers have one.
            loading: whether a loader is asked next, who knows better than the layers whether there is nothing.

        Raises:
            StoreError: nothing was found, a layer that might have had it failed, and nothing stale can stand in.
        """
        stack = self._stack
        walk = Walk(key, stack.fence.ticket(key))
        if stack.absences is not None and not loading and (memo := stack.absences.find(key)) is not None:
            walk.expires = memo.until
            return walk
        return self.walk_on(walk, 0, {}, until, loading=loading)

    def walk_on(
        self,
        walk: Walk,
        start: int,
        failures: dict[int, Failure],
        until: Deadline | None = None,
        *,
        loading: bool = False,
    ) -> Walk:
        """Goes on with a walk from some layer down.

        Args:
            walk: has found nothing in the layers above, and has their tokens.
            start: the place of the next layer.
            failures: of the layers above.
            until: as for `walk`.
            loading: as for `walk`.

        Raises:
            StoreError: as `walk` does.
        """
        stack, key = self._stack, walk.key
        for rung in stack.rungs[start:] if start else stack.rungs:
            before = stack.now()
            if until is None and rung.limit is None and rung.soft_limit is None:
                answer = stack.ask(rung, "get", rung.read, key)
            else:
                answer = self._ask_in_time(walk, rung, until, before)
            if isinstance(answer, Failure):
                failures[rung.index] = answer
                walk.tokens.append(UNASKED)
            elif _note(walk, rung, answer, before):
                if rung.index:
                    stack.send_up(rung.index, (walk,))
                return walk
        index = stack.plan.decisive(failures) if failures else None
        if index is None:
            if not loading:
                self._nothing(walk)
        elif not self.stand_in((walk,), failures[index].error, until):
            raise stack.refusal(stack.rungs[index], "get", failures[index])
        return walk

    def walk_many(
        self, keys: Iterable[str], until: Deadline | None = None, *, loading: bool = False
    ) -> tuple[dict[str, Walk], StoreError | None]:
        """Looks for many keys, asking each layer once for all that the layers above it lacked.

        Args:
            keys: the keys, each once.
            until: when there has to be an answer; None as soon as the layers have one.
            loading: as for `walk`.

        Returns:
            A walk for each key, and why nobody knows whether there is something under those that found nothing; None
            if nothing is there.
        """
        stack = self._stack
        ticket = stack.fence.ticket
        walks = {key: Walk(key, ticket(key)) for key in keys}
        lacking: Sequence[Walk] = list(walks.values())
        if stack.absences is not None and not loading:
            lacking = _unremembered(lacking, stack.absences)
        return walks, self._walk_on_many(lacking, 0, {}, until, loading=loading)

    def values(self, keys: Sequence[str], until: Deadline | None = None) -> dict[str, Any]:
        """The values of those keys that have one.

        Args:
            keys: the keys, each once.
            until: as for `walk`.

        Raises:
            StoreError: as `walk_many` gives it.
        """
        stack, rung = self._stack, self._stack.rungs[0]
        ordinary = until is None and stack.absences is None and not rung.doubts.any
        if rung.brief is None or not ordinary or not keys:
            walks, error = self.walk_many(keys, until)
        else:
            tickets = [stack.fence.ticket(key) for key in keys] if len(stack.rungs) > 1 else [0] * len(keys)
            before = stack.now()
            answer = stack.insist(rung, "get_many", rung.brief, keys)
            if not isinstance(answer, Failure) and answer[0] is not None:
                rung.hits += len(keys)
                return dict(zip(keys, answer[0], strict=True))
            walks = {key: Walk(key, ticket) for key, ticket in zip(keys, tickets, strict=True)}
            lacking: Sequence[Walk] = list(walks.values())
            if isinstance(answer, Failure):
                for walk in lacking:
                    walk.tokens.append(UNASKED)
                error = self._walk_on_many(lacking, 1, {0: answer})
            else:
                error = self._walk_on_many(_note_many(lacking, rung, answer[1], before)[1], 1, {})
        if error is not None:
            raise error
        return {key: walk.entry.value for key, walk in walks.items() if walk.entry is not None}

    def _walk_on_many(
        self,
        lacking: Sequence[Walk],
        start: int,
        failures: dict[int, Failure],
        until: Deadline | None = None,
        *,
        loading: bool = False,
    ) -> StoreError | None:
        """Goes on with walks from some layer down; as `walk_on`, and answers as `walk_many`."""
        stack = self._stack
        for rung in stack.rungs[start:]:
            if not lacking:
                break
            before = stack.now()
            left = None if until is None else until.left() * stack.shares[rung.index]
            asked = [walk.key for walk in lacking]
            answers = stack.ask_in_time(rung, "get_many", left, None, rung.read_many, asked)
            if isinstance(answers, Failure):
                failures[rung.index] = answers
                for walk in lacking:
                    walk.tokens.append(UNASKED)
            else:
                found, lacking = _note_many(lacking, rung, answers, before)
                stack.send_up(rung.index, found)
        index = stack.plan.decisive(failures) if failures else None
        if index is None:
            for walk in () if loading else lacking:
                self._nothing(walk)
        elif lacking and not self.stand_in(lacking, failures[index].error, until):
            return stack.refusal(stack.rungs[index], "get_many", failures[index])
        return None

    def stand_in(self, walks: Sequence[Walk], error: Exception, until: Deadline | None = None) -> bool:
        """Has values beyond their fresh life stand in for what could not be had; whether there was one for every key.

        Args:
            walks: which found nothing.
            error: what kept the source from answering.
            until: when there has to be an answer.
        """
        stack, lacking = self._stack, list(walks)
        for rung in stack.stale_rungs:
            if not lacking:
                break
            left = None if until is None else until.left() * WAITING_SHARE
            before, asked = stack.now(), [walk.key for walk in lacking]
            kept = stack.ask_in_time(rung, "read_stale", left, None, rung.read_stale, asked)
            if isinstance(kept, Failure):
                continue
            for walk in lacking:
                if (entry := kept.get(walk.key)) is not None:
                    walk.find(entry, rung.index, before)
                    walk.stale = entry.left is not None and entry.left <= 0
                    if walk.stale:
                        self._tell_stale(walk, rung, entry, error)
            lacking = [walk for walk in lacking if walk.entry is None]
        return not lacking

    def ground(self, key: str) -> Walk:
        """A walk that has found nothing, whatever there is: for a value that is to replace it unless a write comes."""
        stack = self._stack
        walk = Walk(key, stack.fence.ticket(key))
        for rung in stack.rungs:
            walk.tokens.append(self._token(rung, key))
        return walk

    def _token(self, rung: Rung, key: str) -> Any:
        """A token for filling a layer, whatever it has."""
        if rung.ordered:
            tokens = self._stack.ask_in_time(rung, "tokens", None, None, rung.tokens, (key,))
            return UNASKED if isinstance(tokens, Failure) else tokens[key]
        if not rung.fenced:
            return NO_TOKEN
        answer = self._stack.ask_in_time(rung, "get", None, None, rung.read, key)
        return UNASKED if isinstance(answer, Failure) else answer[1]

    def walk_primaries(self, key: str) -> Entry[Any] | None:
        """What the first primary that has anything has; fills nothing.

        Raises:
            StoreError: none has anything, and one that might have failed.
        """
        failures: dict[int, Failure] = {}
        for index in reversed(self._stack.plan.primaries):
            rung = self._stack.rungs[index]
            answer = self._stack.ask_in_time(rung, "get", None, None, rung.read, key)
            if isinstance(answer, Failure):
                failures[index] = answer
            elif answer[0] is not None:
                return answer[0]
        self._conclude(failures, "get")
        return None

    def has(self, key: str) -> bool:
        """Whether any layer has something under the key, stale values not counted; fills nothing.

        Raises:
            StoreError: none has, and a layer that might have had it failed.
        """
        failures: dict[int, Failure] = {}
        for rung in self._stack.rungs:
            there = self._stack.ask_in_time(rung, "has", None, None, rung.has, key)
            if isinstance(there, Failure):
                failures[rung.index] = there
            elif there:
                return True
        self._conclude(failures, "has")
        return False

    def keys(self) -> Iterator[str]:
        """The keys of every primary, each once; read as they are asked for.

        Raises:
            StoreError: a primary failed.
        """
        seen: set[str] | None = set() if len(self._stack.plan.primaries) > 1 else None
        for index in reversed(self._stack.plan.primaries):
            for key in self._keys_of(self._stack.rungs[index]):
                if seen is None:
                    yield key
                elif key not in seen:
                    seen.add(key)
                    yield key

    def _keys_of(self, rung: Rung) -> Iterator[str]:
        stack = self._stack
        upcoming: Iterator[str] | Failure = stack.ask(rung, "keys", lambda: iter(rung.store.keys()))
        while not isinstance(upcoming, Failure):
            key = stack.ask(rung, "keys", next, upcoming, None)
            if key is None:
                return
            if isinstance(key, Failure):
                upcoming = key
            else:
                yield key
        raise stack.refusal(rung, "keys", upcoming)

    def _ask_in_time(self, walk: Walk, rung: Rung, until: Deadline | None, before: float) -> Answer | Failure:
        """What a layer has, if it says so in time; if it says so later, the layers above are filled then."""
        stack = self._stack
        left = None if until is None else until.left() * stack.shares[rung.index]
        if rung.soft_limit is not None and self._at_hand(walk.key):
            left = rung.soft_limit if left is None else min(left, rung.soft_limit)
        behind = Walk(walk.key, walk.ticket)
        behind.tokens = list(walk.tokens)
        late = partial(self._late, behind, rung, before)
        return stack.ask_in_time(rung, "get", left, late, rung.read, walk.key)

    def _at_hand(self, key: str) -> bool:
        """Whether this process keeps something stale under the key."""
        for rung in self._stack.stale_rungs:
            kept = self._stack.ask(rung, "read_stale", rung.read_stale, (key,)) if rung.local else {}
            if kept and not isinstance(kept, Failure):
                return True
        return False

    def _late(self, walk: Walk, rung: Rung, before: float, answer: Answer) -> None:
        if _note(walk, rung, answer, before) and rung.index:
            self._stack.send_up(rung.index, (walk,))

    def _nothing(self, walk: Walk) -> None:
        """Takes note that every layer that could know says that there is nothing."""
        for rung in self._stack.stale_rungs:
            if rung.local and not rung.is_primary:
                gone = self._stack.ask(rung, "delete", rung.forget_stale, (walk.key,))
                if isinstance(gone, Failure):
                    rung.doubts.add((walk.key,))
        if self._stack.absences is not None:
            self._stack.absences.found_nothing(walk.key, walk.ticket)

    def _tell_stale(self, walk: Walk, rung: Rung, entry: Entry[Any], error: Exception) -> None:
        rung.stale += 1
        stack = self._stack
        if stack.listeners.want_any:
            told = ServedStale(walk.key, rung.index, rung.name, entry.stale, type(error).__qualname__, stack.name)
            stack.background.announce(told)

    def _conclude(self, failures: Mapping[int, Failure], operation: str) -> None:
        """Raises if "nothing found" is no answer."""
        index = self._stack.plan.decisive(failures) if failures else None
        if index is not None:
            raise self._stack.refusal(self._stack.rungs[index], operation, failures[index])


def _unremembered(walks: Iterable[Walk], absences: Absences) -> list[Walk]:
    """The walks for which layers have to be asked; the others learn until when nothing is remembered to be there."""
    lacking: list[Walk] = []
    for walk in walks:
        if (memo := absences.find(walk.key)) is None:
            lacking.append(walk)
        else:
            walk.expires = memo.until
    return lacking


def _note(walk: Walk, rung: Rung, answer: Answer, before: float) -> bool:
    """Notes the answer of the next layer down; whether it had something."""
    entry, token = answer
    if entry is None:
        rung.misses += 1
        walk.tokens.append(token)
        return False
    rung.hits += 1
    walk.find(entry, rung.index, before)
    return True


def _note_many(
    walks: Sequence[Walk], rung: Rung, answers: Mapping[str, Answer], before: float
) -> tuple[list[Walk], list[Walk]]:
    """Notes the answers of the next layer down: the walks that have found something, and those that have not."""
    found: list[Walk] = []
    lacking: list[Walk] = []
    index = rung.index
    for walk in walks:
        entry, token = answers.get(walk.key, _NOTHING)
        if entry is None:
            walk.tokens.append(token)
            lacking.append(walk)
        else:
            walk.find(entry, index, before)
            found.append(walk)
    rung.hits += len(found)
    rung.misses += len(lacking)
    return found, lacking
