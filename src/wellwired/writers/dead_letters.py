"""Dead letters: writes that failed, kept durably before their caller is told, to be sent again by ``wellwired replay``.

A letter is the only place outside the backend where a payload may lie. Two sinks are there, `JSONLines` in
`wellwired.writers.letters_file` and `SQLLetters` in `wellwired.writers.letters_sql`; another one is any object with
`keep`. A sink that can be replayed also has what `Replayable` says.

A letter that was sent again is marked before and after: *begun*, then *done*, or *back* if it failed and is certainly
not applied, or *doubt* if it may be. So a replay that is killed leaves a trace, and the next one knows which letter was
under way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import ErrorCode, MissingExtraError, Outcome, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers import _letter_form as form

__all__ = [
    "DEFAULT_CODES",
    "Cipher",
    "DeadLetters",
    "Functions",
    "Letter",
    "Mark",
    "NoLetters",
    "Pile",
    "Replayable",
    "Waiting",
    "fernet",
]

DEFAULT_CODES: Final = frozenset({ErrorCode.BACKEND, ErrorCode.TIMEOUT, ErrorCode.RETRY_EXHAUSTED})
"""Of which errors letters are kept, unless a sink says otherwise: the backend's, and not the request's own."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A write that failed.

    Args:
        id: its own, unlike any other's.
        at: when, in seconds since the Unix epoch.
        target: the request's target.
        type: the request's type.
        payload: the request's payload, an instance of a payload model as its fields.
        meta: what came with the request, as far as it can be written down.
        timeout: the request's timeout.
        idempotency_key: the request's key.
        changes: the keys of stores that the request named.
        code: the error's code.
        outcome: what became of the data.
        reason: the error's word of detail.
        phase: how far the write had come.
        attempts: how many times the backend was tried.
        unit: shared by letters whose writes stood or fell together, in one transaction, and ends with their number;
            empty for a write by itself.
    """

    id: str
    at: float
    target: str
    type: str
    payload: Any = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)
    timeout: float | None
    idempotency_key: str | None = field(repr=False)
    changes: Mapping[str, Sequence[str]] = field(repr=False)
    code: str
    outcome: str
    reason: str
    phase: str
    attempts: int
    unit: str = ""

    @classmethod
    def of(cls, request: WriteRequest, error: WriteError, *, clock: Clock = SYSTEM, unit: str = "") -> Letter:
        """The letter of a request and what it ended with.

        Args:
            request: as it came from the caller, or with its payload converted.
            error: what the caller is about to get.
            clock: tells the time of day.
            unit: what it shares with others of its transaction.
        """
        return cls(
            uuid.uuid4().hex,
            clock.wall(),
            request.target,
            request.type,
            request.payload,
            request.meta,
            request.timeout,
            request.idempotency_key,
            {store: tuple(keys) for store, keys in request.changes.items()},
            error.code.value,
            error.outcome.value,
            error.reason,
            error.phase.value,
            error.attempts,
            unit,
        )

    def request(self) -> WriteRequest:
        """The write to be sent again."""
        return WriteRequest(
            self.target, self.type, self.payload, self.meta, self.timeout, self.idempotency_key, self.changes
        )

    @property
    def together(self) -> int:
        """How many letters stood or fell with this one, itself included."""
        number = self.unit.rpartition("-")[2]
        return int(number) if number.isdecimal() else 1

    def held(self) -> bytes:
        """What only the letter may hold, as JSON: payload, meta, timeout, key and changes.

        Raises:
            TypeError: something in the payload has no form.
            ValueError: it is nested too deep.
        """
        kept = {name: value for name, value in self.meta.items() if _writable(value)}
        own = {"id": self.id, "payload": self.payload, "meta": kept, "timeout": self.timeout}
        return form.written({**own, "key": self.idempotency_key, "changes": self.changes})

    def facts(self) -> dict[str, Any]:
        """All the rest: names, codes and numbers."""
        shown = ("id", "at", "target", "type", "code", "outcome", "reason", "phase", "attempts", "unit")
        return {name: getattr(self, name) for name in shown}

    @classmethod
    def rebuilt(cls, facts: Mapping[str, Any], held: bytes) -> Letter:
        """The letter of what `facts` and `held` gave.

        Raises:
            ValueError: they are damaged, or not of one letter.
        """
        try:
            own = form.read(held)
            if own["id"] != facts["id"]:
                raise ValueError("its content is another letter's")
            rest = {name: facts[name] for name in ("at", "target", "type", "code", "outcome", "reason", "phase")}
            return cls(
                id=str(facts["id"]),
                **rest,
                attempts=facts["attempts"],
                unit=facts["unit"],
                payload=own["payload"],
                meta=own["meta"],
                timeout=own["timeout"],
                idempotency_key=own["key"],
                changes=own["changes"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError("it is damaged") from error


class Mark(StrEnum):
    """What a replay has done with a letter."""

    BEGUN = "begun"
    """It was about to be sent; what became of it was not told."""
    BACK = "back"
    """It was sent, failed, and is certainly not applied."""
    DOUBT = "doubt"
    """It was sent, failed, and may be applied."""
    DONE = "done"
    """It took effect."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter that has not been done.

    Args:
        letter: what it is.
        mark: the last mark it got; None if it was never sent again.
    """

    letter: Letter
    mark: Mark | None = None

    @property
    def doubtful(self) -> bool:
        """Whether it may have been applied already."""
        return self.letter.outcome != Outcome.NOT_APPLIED or self.mark in (Mark.BEGUN, Mark.DOUBT)


class Pile(NamedTuple):
    """What a sink holds.

    Args:
        waiting: the letters that have not been done, the oldest first.
        done: how many have.
        damaged: a line for each that cannot be read, saying where and why.
    """

    waiting: tuple[Waiting, ...]
    done: int
    damaged: tuple[str, ...]


@runtime_checkable
class DeadLetters(Protocol):
    """Where letters are kept; safe to use from many threads and processes at once.

    An attribute `codes`, a set of `ErrorCode`, says of which errors it wants letters; `DEFAULT_CODES` if it has none.
    """

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Keeps letters, all or none. When it returns they survive a kill of the process, and of the machine.

        Raises:
            Exception: they could not be kept; the caller of the write is told so by a note on its error.
        """
        ...


class NoLetters:
    """Dead letters that are dropped."""

    __slots__ = ()

    codes: frozenset[ErrorCode] = frozenset()

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Drops them."""


@runtime_checkable
class Replayable(Protocol):
    """The ability to give letters back to be sent again."""

    def alone(self) -> AbstractContextManager[None]:
        """Keeps other replays of the same letters out while it is entered, as far as they could do harm.

        Raises:
            LettersError: another replay is under way, or there are no letters to be read.
        """
        ...

    def pile(self) -> Pile:
        """Reads everything."""
        ...

    def mark(self, waiting: Waiting, mark: Mark, /) -> bool:
        """Marks a letter, durably.

        Args:
            waiting: the letter as it was read, or as it was marked last.
            mark: what to note.

        Returns:
            Whether it is so now; False if somebody else has marked it since.
        """
        ...


class Cipher(Protocol):
    """Encrypts what letters hold; a `cryptography.fernet.Fernet` is one."""

    def encrypt(self, data: bytes, /) -> bytes:
        """The data in a form that nobody can read without the key."""
        ...

    def decrypt(self, token: bytes, /) -> bytes:
        """The data again; raises if the key is another or the token was changed."""
        ...


@dataclass(frozen=True, slots=True)
class Functions:
    """A pair of functions as a `Cipher`, for those who have encryption of their own.

    Args:
        encrypt: from bytes to bytes.
        decrypt: its inverse; raises for what it cannot read.
    """

    encrypt: Callable[[bytes], bytes]
    decrypt: Callable[[bytes], bytes]


def fernet(*keys: str | bytes) -> Cipher:
    """A cipher of Fernet keys: AES-128-CBC with HMAC-SHA256.

    Args:
        keys: as ``Fernet.generate_key()`` makes them; the first encrypts, all decrypt, so that keys can be changed.

    Raises:
        MissingExtraError: cryptography is not installed.
        ValueError: a key is none, or there is none.
    """
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError as error:
        raise MissingExtraError("cryptography", extra="encryption", purpose="encrypted dead letters") from error
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        broken = "a key for dead letters is no Fernet key; make one with Fernet.generate_key()"
    raise ValueError(broken)


def _writable(value: Any) -> bool:
    try:
        form.written(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
