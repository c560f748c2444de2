"""What lies in Redis, as entries, and entries as what is sent there; only times and tags are asked of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from wellwired.stores._life import milliseconds
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores._redis_names import Names
from wellwired.stores._redis_scripts import CLEARED
from wellwired.stores.damage import DamageLog
from wellwired.stores.envelope import NO_WORD, WORD_BYTES, Envelopes, Unreadable
from wellwired.stores.keys import encode_key
from wellwired.stores.protocols import Entry

__all__ = ["NEVER", "TOKEN_BYTES", "Item", "RedisValues", "Sight"]

TOKEN_BYTES: Final = 3 * WORD_BYTES
"""How long a token is: the word of a fence, and a state. What follows is the word of a lease."""

NEVER: Final = b""
"""A token that lets nothing in."""


class Item(NamedTuple):
    """What is to be stored; `token` is empty for a write that nobody may refuse."""

    key: str
    entry: Entry[Any]
    token: bytes = NEVER


class Sight(NamedTuple):
    """What lay under a name, the state of that moment, and which tags it had; None if nothing could be read there."""

    envelope: bytes | None
    state: bytes
    tags: tuple[str, ...] | None


class RedisValues:
    """Opens and packs the values of one namespace; safe for threads.

    Args:
        names: where the namespace keeps what.
        envelopes: what the values are wrapped in.
        clock: the server's.
        damage: where to tell of what cannot be read.
        command: sends a command.
    """

    def __init__(
        self,
        names: Names,
        envelopes: Envelopes,
        clock: ServerClock,
        damage: DamageLog,
        command: Callable[..., Any],
    ) -> None:
        self._names, self._prefix = names, names.prefix
        self._envelopes, self._clock, self._damage, self._command = envelopes, clock, damage, command

    def packed(self, item: Item, words: Mapping[str, bytes], epoch: bytes) -> tuple[bytes, tuple[Any, ...]]:
        """The bytes of the key, and the six arguments that the script takes for an item.

        Args:
            item: the item.
            words: what its tags stand for.
            epoch: that of the namespace, for an item without a token.
        """
        key, entry, token = item
        raw, life = encode_key(key), milliseconds(entry.left)
        fence, invalidated = token[:WORD_BYTES], token[2 * WORD_BYTES : TOKEN_BYTES]
        epoch = token[WORD_BYTES : 2 * WORD_BYTES] or epoch
        if life == 0:
            return raw, (b"", 0, b"", fence, epoch, b"")
        expires = None if life is None else self._clock.earliest() + life
        stale = 0 if life is None else milliseconds(entry.stale) or 0
        tags = [(tag, words[tag]) for tag in entry.tags]
        envelope = self._envelopes.seal(
            self._prefix + raw, entry.value, duration=life, expires=expires, stale=stale, epoch=epoch, tags=tags
        )
        kept = (b"", b"") if life is None or expires is None else (life + stale, expires + stale)
        return raw, (envelope, *kept, fence, epoch, invalidated if tags else b"")

    def hold(self, tags: Sequence[tuple[str, bytes]]) -> bool:
        """Whether all the tags have the words that they had when a value was written."""
        now = self._command("MGET", *[self._names.tag(tag) for tag, _ in tags])
        return list(now) == [word for _, word in tags]

    def opened_one(self, key: str, name: bytes, envelope: bytes, state: bytes) -> Entry[Any] | None:
        """The entry of what was found under one name: the short way for what is usual, the long one for all else."""
        try:
            value, duration, expires, stale, epoch, tags = self._envelopes.open(name, envelope)
        except Unreadable as error:
            self._damage.note(key, error.reason)
            return None
        if epoch == state[:WORD_BYTES] and not tags:
            if expires is None or duration is None:
                return Entry(value)
            left = expires - self._clock.latest()
            if 0 < left <= duration:
                return Entry(value, left / 1000, stale / 1000)
        return self.opened((key,), (name,), (envelope,), state).get(key)

    def usual(self, names: Sequence[bytes], envelopes: Sequence[bytes | None], state: bytes) -> list[Any] | None:
        """The values of what was found under the names, if there is nothing else to be said of any of them."""
        return self._envelopes.open_usual(names, envelopes, state[:WORD_BYTES], self._clock.latest())

    def opened(  # noqa: C901, PLR0915 - a call for every value would cost a batch a tenth of its time
        self,
        keys: Sequence[str],
        names: Sequence[bytes],
        envelopes: Sequence[bytes | None],
        state: bytes,
        *,
        stale_too: bool = False,
    ) -> dict[str, Entry[Any]]:
        """The entries of what was found under the names; written out in one loop, for it runs for every value read."""
        found: dict[str, Entry[Any]] = {}
        latest: int | None = None
        unwrap, current = self._envelopes.open, state[:WORD_BYTES]
        for key, name, envelope in zip(keys, names, envelopes, strict=True):
            if envelope is None:
                continue
            try:
                value, duration, expires, stale, epoch, tags = unwrap(name, envelope)
            except Unreadable as error:
                self._damage.note(key, error.reason)
                continue
            if epoch != current and (epoch != NO_WORD or current.startswith(CLEARED)):
                continue
            if tags and not self.hold(tags):
                continue
            labels = tuple([tag for tag, _ in tags]) if tags else ()
            if duration is None or expires is None:
                found[key] = Entry(value, None, 0.0, labels)
                continue
            if latest is None:
                latest = self._clock.latest()
            left = expires - latest
            if left > duration:  # the server's clock was set forward since it was read, or another server answers now
                self._clock.forget()
                latest = self._clock.latest()
                left = min(duration, expires - latest)
            if left > 0:
                found[key] = Entry(value, left / 1000, stale / 1000, labels)
            elif stale_too and left + stale > 0:
                found[key] = Entry(value, 0.0, (left + stale) / 1000, labels)
        return found
