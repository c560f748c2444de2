"""The job behind `wellwired replay`: dead letters are sent again, none of them twice without being safe to.

A letter goes out with its own idempotency key. One that has none is given one made of its id where its writer keeps
keys, so that a replay that is killed and run again applies it once. Where neither a key nor an idempotent handler
stands in for that, a letter that may have been applied already is refused, unless it is forced.

Each letter is marked before it is sent and after, and those of one transaction are sent in one transaction. A target
that is down is left alone after three letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wellwired.cli.loading import Repeat, Secure
from wellwired.clock import SYSTEM, Clock
from wellwired.errors import Outcome, WriteError
from wellwired.middleware.breaking import OPEN, SICK_REASONS
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import WriteManager
from wellwired.writers._keeping import without_letters
from wellwired.writers.dead_letters import Mark, Pile, Replayable, Waiting

__all__ = ["KEYS_KEPT", "Choice", "Replay", "ReplayReport", "units"]

KEYS_KEPT = 3 * 24 * 3600.0
"""Seconds for which a writer remembers a key, if it does not say so by an attribute `key_ttl`."""

_DOWN_AFTER = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; immutable.

    Args:
        only: codes, outcomes, or both as ``CODE/OUTCOME``; one of them must fit. Empty means any.
        targets: the targets that are meant; empty means any.
        types: the types that are meant; empty means any.
    """

    only: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def takes(self, waiting: Waiting) -> bool:
        """Whether a letter is meant."""
        letter = waiting.letter
        names = {letter.code, letter.outcome, f"{letter.code}/{letter.outcome}"}
        return (
            (not self.only or not names.isdisjoint(self.only))
            and (not self.targets or letter.target in self.targets)
            and (not self.types or letter.type in self.types)
        )


@dataclass(slots=True)
class ReplayReport:
    """What became of a replay; every letter that was meant is in exactly one of the counts.

    Args:
        applied: letters that took effect now.
        replayed: letters that had taken effect before, as their keys say.
        failed: letters that failed again, by code; they wait on.
        refused: letters that may have been applied already and cannot be sent again safely, by the reason.
        left: letters that were not tried, because their target is down.
        taken: letters that another replay has taken in the meantime.
        seconds: how long it took.
    """

    applied: int = 0
    replayed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    left: int = 0
    taken: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """How many took effect, now or before."""
        return self.applied + self.replayed


class Replay:
    """Sends letters again; for one thread.

    Args:
        manager: sends them.
        sink: where they are, and are marked.
        secure: how a repeat of a request is made harmless.
        force: whether letters go out that may be applied twice.
        clock: tells the time.
    """

    def __init__(
        self,
        manager: WriteManager,
        sink: Replayable,
        *,
        secure: Secure,
        force: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        self._manager, self._sink, self._secure = manager, sink, secure
        self._force, self._clock = force, clock
        self._keyless: set[str] = set()
        self._down: Counter[str] = Counter()
        self.report = ReplayReport()

    def run(self, pile: Pile, choice: Choice, *, advance: Callable[[int], None] = lambda _count: None) -> ReplayReport:
        """Sends every letter that is meant, in order.

        Args:
            pile: the letters.
            choice: which of them.
            advance: told after each, or after those of one transaction, how many they were.

        Returns:
            The counts.
        """
        started = self._clock.monotonic()
        for unit in units(pile, choice):
            if self._down[unit[0].letter.target] >= _DOWN_AFTER:
                self.report.left += len(unit)
            elif why := self.refusal(unit):
                self.report.refused[why] += len(unit)
            else:
                self._send(unit)
            advance(len(unit))
        self.report.seconds = self._clock.monotonic() - started
        return self.report

    def refusal(self, unit: Sequence[Waiting]) -> str:
        """Why letters that stand or fall together cannot be sent again safely; empty if they can."""
        if self._force:
            return ""
        if len(unit) < unit[0].letter.together and all(one.mark is None for one in unit):
            return "another letter of its transaction cannot be read"
        return next(filter(None, (self._refused(one) for one in unit)), "")

    def _refused(self, waiting: Waiting) -> str:
        if not waiting.doubtful:
            return ""
        letter = waiting.letter
        repeat = self._repeat(letter.request())
        if repeat is Repeat.HARMLESS:
            return ""
        # A key made of the letter's id knows what replays have sent, but not what was sent before there was a letter.
        keyed = letter.idempotency_key is not None or letter.outcome == Outcome.NOT_APPLIED
        if repeat is Repeat.UNSAFE or not keyed:
            return "it may be applied already, and neither a key nor an idempotent handler makes a repeat harmless"
        if self._clock.wall() - letter.at > self._keys_kept(letter.target):
            return "it may be applied already, and its key may be forgotten by now"
        return ""

    def _repeat(self, request: WriteRequest) -> Repeat:
        repeat = self._secure(request)
        return Repeat.UNSAFE if repeat is Repeat.BY_KEY and request.target in self._keyless else repeat

    def _keys_kept(self, target: str) -> float:
        writer = next((one for one in self._manager.writers if one.supports(target)), None)
        kept: float = getattr(writer, "key_ttl", KEYS_KEPT)
        return kept

    def _send(self, unit: Sequence[Waiting]) -> None:
        if not all(self._sink.mark(one, Mark.BEGUN) for one in unit):
            self.report.taken += len(unit)
            return
        begun = [Waiting(one.letter, Mark.BEGUN) for one in unit]
        requests = [self._request(one) for one in unit]
        try:
            with without_letters():
                results = self._written(requests)
        except WriteError as error:
            if error.reason == "no_key_table" and any(one.letter.idempotency_key is None for one in unit):
                self._without_keys(unit, begun)
                return
            self._failed(unit, begun, error)
        else:
            self._down[unit[0].letter.target] = 0
            for one, result in zip(begun, results, strict=True):
                self._sink.mark(one, Mark.DONE)
                self.report.replayed += result.replayed
                self.report.applied += not result.replayed

    def _request(self, waiting: Waiting) -> WriteRequest:
        request = waiting.letter.request()
        if request.idempotency_key is None and self._repeat(request) is Repeat.BY_KEY:
            return replace(request, idempotency_key=f"letter-{waiting.letter.id}")
        return request

    def _written(self, requests: Sequence[WriteRequest]) -> list[WriteResult[Any]]:
        if len(requests) == 1:
            return [self._manager.write(requests[0])]
        with self._manager.transaction(requests[0].target) as transaction:
            # A transaction has one deadline for all its writes.
            return [transaction.write(replace(request, timeout=None)) for request in requests]

    def _failed(self, unit: Sequence[Waiting], begun: Sequence[Waiting], error: WriteError) -> None:
        open_now = error.outcome is not Outcome.NOT_APPLIED
        for before, now in zip(unit, begun, strict=True):
            self._sink.mark(now, Mark.DOUBT if open_now or before.doubtful else Mark.BACK)
        down = error.reason in SICK_REASONS or error.reason == OPEN
        cause = error.__cause__
        down = down or (isinstance(cause, WriteError) and cause.reason in SICK_REASONS)
        target = unit[0].letter.target
        self._down[target] = self._down[target] + 1 if down else 0
        self.report.failed[error.code.value] += len(unit)

    def _without_keys(self, unit: Sequence[Waiting], begun: Sequence[Waiting]) -> None:
        """The database has no table of keys, so the letters are sent as they came, if that is safe."""
        self._keyless.add(unit[0].letter.target)
        back = [Waiting(one.letter, Mark.DOUBT if one.doubtful else Mark.BACK) for one in unit]
        for now, then in zip(begun, back, strict=True):
            assert then.mark is not None
            self._sink.mark(now, then.mark)
        if why := self.refusal(back):
            self.report.refused[why] += len(unit)
        else:
            self._send(back)


def units(pile: Pile, choice: Choice) -> Iterator[list[Waiting]]:
    """The letters that are meant, in order, those of one transaction together.

    Args:
        pile: the letters.
        choice: which are meant; if it takes one of a transaction it takes them all.
    """
    parts: dict[str, list[Waiting]] = {}
    for one in pile.waiting:
        parts.setdefault(one.letter.unit or one.letter.id, []).append(one)
    yield from (part for part in parts.values() if any(choice.takes(one) for one in part))
