"""Writes through a stack: the primaries first, from the bottom up, then the copies, from the bottom up.

While a write is under way its keys are fenced: no fill of theirs is admitted. If a primary refuses, the copies are
removed, so that no layer keeps what the primaries may or may not have. A copy that another write has crossed is removed
as well, because nobody here can tell which of the two the primaries kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

from wellwired.errors import ReadOnlyError
from wellwired.operations import StoreVerb
from wellwired.stores._fence import Writing
from wellwired.stores._mending import Mender
from wellwired.stores._plans import older
from wellwired.stores._report import Report
from wellwired.stores._rungs import NO_TOKEN, UNASKED, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.changing import Wanted
from wellwired.stores.protocols import Entry
from wellwired.stores.receipts import LayerState, Receipt

__all__ = ["Writes"]

# The life of a value whose time has passed on its way into a primary.
_AT_ONCE: Final = 0.001

Tokens = Mapping[str, Any] | None


class Writes:
    """The writing operations of a delegated store; safe for threads.

    Args:
        stack: the layers.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._mender = Mender(stack, stack.background.policy.mend)

    def set(self, values: Mapping[str, Any], ttl: float | None, verb: StoreVerb, tags: tuple[str, ...] = ()) -> Receipt:
        """Stores every value in every layer; one with tags in no copy that keeps none.

        Args:
            values: by key.
            ttl: seconds that they may be served at most, or None for ever.
            verb: what the caller calls it.
            tags: what the values may be invalidated by.

        Raises:
            StoreError: a primary refused.
        """
        stack, keys = self._stack, list(values)
        rungs, report = stack.rungs, Report(stack, verb)
        self._demand_writable()
        entries = [
            {key: Entry(value, fresh, stale, tags) for key, value in values.items()}
            for fresh, stale in stack.plan.lives(ttl)
        ]
        with self._turn(keys), stack.fence.writing(keys) as writing:
            tokens = {index: self._tokens(rungs[index], keys) for index in stack.plan.others}
            report.began = stack.now()
            try:
                for index in stack.plan.primaries:
                    self._primary(report, rungs[index], partial(self._write_aged, report, rungs[index], entries[index]))
                self._demand_writable()
                for index in stack.plan.others:
                    self._renew(report, rungs[index], entries[index], writing, tokens[index])
            except BaseException as error:
                self._drop_copies(report, keys, LayerState.DROPPED)
                report.attach_to(error)
                raise
        return report.receipt()

    def exchange(
        self,
        verb: StoreVerb,
        key: str,
        wanted: Wanted,
        deciding: Rung,
        take: Callable[[Entry[Any]], bool],
        *,
        looked: float | None = None,
    ) -> bool:
        """Has one primary take a value on its own terms, and if it does, all other layers as by `set`.

        Args:
            verb: what the caller calls it.
            key: the key.
            wanted: the value and its lives.
            deciding: the primary that is asked first.
            take: has it take the entry or refuse it.
            looked: when the value's predecessor was looked at, if there is one.

        Returns:
            Whether the primary took it; if not, nothing has changed anywhere.

        Raises:
            StoreError: a primary failed.
        """
        stack, keys = self._stack, (key,)
        report, plan = Report(stack, verb), stack.plan
        values = [
            {key: Entry(wanted.value, fresh, stale, wanted.tags)}
            for fresh, stale in plan.lives(wanted.left, wanted.stale)
        ]
        followers = [stack.rungs[index] for index in plan.primaries if index != deciding.index]
        with self._turn(keys), stack.fence.writing(keys) as writing:
            copies = [stack.rungs[index] for index in plan.others]
            tokens = {rung.index: self._tokens(rung, keys) for rung in (*followers, *copies)}
            report.began = looked if wanted.aging and looked is not None else stack.now()
            try:
                entry = self._for_primary(report, values[deciding.index])[key]
                if not self._primary(report, deciding, partial(take, entry)):
                    return False
                for rung in followers:
                    self._follow(report, rung, values[rung.index], tokens[rung.index])
                for rung in copies:
                    self._renew(report, rung, values[rung.index], writing, tokens[rung.index])
            except BaseException as error:
                self._drop_copies(report, keys, LayerState.DROPPED)
                report.attach_to(error)
                raise
        return True

    def _follow(self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]], tokens: Tokens) -> None:
        """Gives a primary what another one has taken, or removes it there if another write has crossed it."""
        if not rung.ordered or tokens is None:
            self._primary(report, rung, partial(self._write_aged, report, rung, entries))
            return
        items = {key: (entry, tokens[key]) for key, entry in self._for_primary(report, entries).items()}
        if set(self._primary(report, rung, partial(rung.put, items, _always)) or ()) != entries.keys():
            self._primary(report, rung, partial(rung.drop, list(entries)))

    def renew(self, walk: Walk, loaded: Entry[Any]) -> bool:
        """Puts a value that was loaded in place of an older one, unless a write has come since the load began.

        Unlike a fill it replaces what is there, so it counts as a write: whoever has read the older value before does
        not fill it any more.

        Args:
            walk: the ground that the load stands on: its ticket and tokens are from before it began.
            loaded: the value with its lives.

        Returns:
            Whether the primaries have it.
        """
        stack, key = self._stack, walk.key
        report = Report(stack, StoreVerb.GET_OR_LOAD)
        lives = stack.plan.lives(loaded.left, loaded.stale)
        with self._turn((key,)), stack.fence.writing((key,)) as writing:
            if not writing.follows(key, walk.ticket):
                return False
            entries = [{key: Entry(loaded.value, fresh, stale, loaded.tags)} for fresh, stale in lives]
            for index in stack.plan.primaries:
                if not self._renew_primary(report, stack.rungs[index], entries[index], walk):
                    self._drop_copies(report, (key,), LayerState.DROPPED)
                    return False
            for index in stack.plan.others:
                token = walk.tokens[index]
                tokens = None if token is UNASKED or token is NO_TOKEN else {key: token}
                self._renew(report, stack.rungs[index], entries[index], writing, tokens)
        return True

    def _renew_primary(self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]], walk: Walk) -> bool:
        """Whether a primary has taken a newer value, or takes none at all."""
        if not rung.writable:
            return True
        token = walk.tokens[rung.index]
        if not rung.ordered:
            answer = self._stack.insist(rung, "refresh", self._write_aged, report, rung, entries)
            return not isinstance(answer, Failure)
        if token is UNASKED or not (aged := self._aged(report, entries)):
            return False
        stored = self._stack.insist(rung, "refresh", rung.put, {walk.key: (aged[walk.key], token)}, _always)
        return not isinstance(stored, Failure) and walk.key in stored

    def delete(self, keys: Sequence[str], verb: StoreVerb) -> Receipt:
        """Removes the keys from every layer; from the copies only, where the primaries are read-only.

        Raises:
            StoreError: a primary refused.
        """
        report = Report(self._stack, verb)
        with self._turn(keys), self._stack.fence.writing(keys):
            try:
                primaries = self._rungs(self._stack.plan.primaries)
                removed = [self._primary(report, rung, partial(rung.drop, keys)) or 0 for rung in primaries]
            except BaseException as error:
                self._drop_copies(report, keys, LayerState.DROPPED)
                report.attach_to(error)
                raise
            copies = self._drop_copies(report, keys, LayerState.DONE)
        return report.receipt(max(removed) if report.reached_primary else copies)

    def evict(self, keys: Sequence[str]) -> Receipt:
        """Removes the keys from every copy, and from no primary; a copy that fails is in the receipt."""
        report = Report(self._stack, StoreVerb.EVICT)
        with self._stack.fence.writing(keys):
            copies = self._drop_copies(report, keys, LayerState.DONE)
        return report.receipt(copies)

    def clear(self) -> Receipt:
        """Clears every layer; the copies only, where the primaries are read-only.

        Raises:
            StoreError: a primary refused.
        """
        report = Report(self._stack, StoreVerb.CLEAR)
        with self._turn(None), self._stack.fence.writing(None):
            try:
                for rung in self._rungs(self._stack.plan.primaries):
                    self._primary(report, rung, rung.clear)
            except BaseException as error:
                self._clear_copies(report, LayerState.DROPPED)
                report.attach_to(error)
                raise
            self._clear_copies(report, LayerState.DONE)
        return report.receipt()

    def invalidate_tags(self, tags: Sequence[str]) -> Receipt:
        """Removes what bears one of the tags from every layer that keeps tags.

        Raises:
            StoreError: a primary refused.
        """
        stack = self._stack
        report = Report(stack, StoreVerb.INVALIDATE_TAGS)
        with self._turn(None), stack.fence.writing(None):
            try:
                for rung in self._rungs(stack.plan.primaries):
                    if rung.tagged:
                        self._primary(report, rung, partial(rung.invalidate, tags))
            except BaseException as error:
                self._invalidate_copies(report, tags)
                report.attach_to(error)
                raise
            self._invalidate_copies(report, tags)
        return report.receipt()

    def _invalidate_copies(self, report: Report, tags: Sequence[str]) -> None:
        for rung in self._rungs(self._stack.plan.others):
            if not (rung.tagged and rung.writable):
                report.note(rung, LayerState.SKIPPED)
                continue
            answer = self._stack.ask(rung, report.verb, rung.invalidate, tags)
            if isinstance(answer, Failure):
                rung.doubts.add_everything()
                self._mender.wake()
                report.note(rung, LayerState.FAILED, answer)
            else:
                report.note(rung, LayerState.DONE)

    def _turn(self, keys: Sequence[str] | None) -> AbstractContextManager[None]:
        return self._stack.turns.taken(keys) if self._stack.plan.serial else nullcontext()

    def _rungs(self, indexes: Iterable[int]) -> Iterator[Rung]:
        return (self._stack.rungs[index] for index in indexes)

    def _demand_writable(self) -> None:
        if not any(rung.writable for rung in self._rungs(self._stack.plan.primaries)):
            raise ReadOnlyError(f"store {self._stack.name} takes no values: every primary layer is read-only")

    def _primary(self, report: Report, rung: Rung, call: Callable[[], Any]) -> Any:
        """Has a primary do its part; None if it is read-only, and any other refusal is raised."""
        answer = self._stack.insist(rung, report.verb, call) if rung.writable else None
        if not rung.writable:
            report.note(rung, LayerState.SKIPPED)
            return None
        if isinstance(answer, Failure):
            report.note(rung, LayerState.FAILED, answer)
            raise self._stack.refusal(rung, report.verb, answer)
        report.note(rung, LayerState.DONE)
        return answer

    def _tokens(self, rung: Rung, keys: Sequence[str]) -> Tokens:
        """The tokens for an ordered write; None if the layer has none, or has no answer."""
        if not (rung.ordered and rung.writable):
            return None
        tokens = self._stack.ask_in_time(rung, "tokens", None, None, rung.tokens, keys)
        return None if isinstance(tokens, Failure) else tokens

    def _renew(
        self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]], writing: Writing, tokens: Tokens
    ) -> None:
        """Gives a copy the new values, or removes those that another write has crossed."""
        stored: Iterable[str] | Failure = ()
        if rung.writable and (rung.tagged or not any(entry.tags for entry in entries.values())):
            stored = self._store(report, rung, entries, writing, tokens)
        if not rung.writable:
            report.note(rung, LayerState.SKIPPED)
        elif isinstance(stored, Failure):
            self._drop(report, rung, list(entries), LayerState.DROPPED, stored)
        elif crossed := sorted(entries.keys() - set(stored)):
            self._drop(report, rung, crossed, LayerState.DROPPED)
        else:
            report.note(rung, LayerState.DONE)

    def _store(
        self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]], writing: Writing, tokens: Tokens
    ) -> Iterable[str] | Failure:
        if not rung.ordered:
            return self._stack.ask(rung, report.verb, self._store_alone, report, rung, entries, writing)
        if tokens is None:
            return ()
        # What is put late is refused: whoever gives it up removes the key, which makes the token stale.
        items = {key: (entry, tokens[key]) for key, entry in self._aged(report, entries).items()}
        return self._stack.ask_in_time(rung, report.verb, None, None, rung.put, items, writing.undisturbed)

    def _write_aged(self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]]) -> None:
        rung.write(self._for_primary(report, entries))

    def _for_primary(self, report: Report, entries: Mapping[str, Entry[Any]]) -> Mapping[str, Entry[Any]]:
        """The entries with what is left of their lives; one that has ended on its way is stored, and ends at once."""
        ended = {
            key: Entry(entry.value, _AT_ONCE if entry.left is None or entry.left > 0 else 0.0)
            for key, entry in entries.items()
        }
        return {**ended, **self._aged(report, entries)}

    def _aged(self, report: Report, entries: Mapping[str, Entry[Any]]) -> Mapping[str, Entry[Any]]:
        """The entries with what is left of their lives: a slow layer below must not lengthen those above it."""
        spent = self._stack.now() - report.began
        return {key: entry for key, young in entries.items() if (entry := older(young, spent)) is not None}

    def _store_alone(
        self, report: Report, rung: Rung, entries: Mapping[str, Entry[Any]], writing: Writing
    ) -> Iterable[str]:
        with self._stack.fence.holding(entries):
            mine = {key: entry for key, entry in self._aged(report, entries).items() if writing.undisturbed(key)}
            if mine:
                rung.write(mine)
            return mine.keys()

    def _drop_copies(self, report: Report, keys: Sequence[str], state: LayerState) -> int:
        """Removes the keys from every copy; how many the one that had most of them had."""
        others = self._rungs(self._stack.plan.others)
        return max([self._drop(report, rung, keys, state) for rung in others], default=0)

    def _drop(
        self, report: Report, rung: Rung, keys: Sequence[str], state: LayerState, reason: Failure | None = None
    ) -> int:
        """Removes keys from a copy, or puts them in doubt there; how many it had."""
        answer = self._stack.ask_in_time(rung, "delete", None, None, rung.drop, keys) if rung.writable else 0
        if not rung.writable:
            report.note(rung, LayerState.SKIPPED)
            return 0
        if isinstance(answer, Failure):
            rung.doubts.add(keys)
            self._mender.wake()
            report.note(rung, LayerState.FAILED, reason or answer)
            return 0
        report.note(rung, state, reason)
        return answer

    def _clear_copies(self, report: Report, state: LayerState) -> None:
        for rung in self._rungs(self._stack.plan.others):
            answer = self._stack.ask(rung, "clear", rung.clear) if rung.writable else None
            if not rung.writable:
                report.note(rung, LayerState.SKIPPED)
            elif isinstance(answer, Failure):
                rung.doubts.add_everything()
                self._mender.wake()
                report.note(rung, LayerState.FAILED, answer)
            else:
                report.note(rung, state)


def _always(_: str) -> bool:
    """Of a primary nobody has a doubt."""
    return True
