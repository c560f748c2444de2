"""A layer in Redis: values in envelopes, one command for each operation, fences that hold across processes.

The key ``k`` of the namespace ``users`` lies at ``users:k``, its fence at ``users!`` and the number of one of 1,024
stripes. A namespace has neither separator in it, so no namespace can reach into another, and `clear` finds its keys by
SCAN; nothing is ever flushed. On a Redis Cluster a key and its fence must share a slot: put the namespace in braces,
``{users}``.

A read gives the value and the time that it has left in one command. GET alone does not tell the latter, and asking for
both by a script costs a tenth more, so a value carries the moment at which it ends, *on the server's clock*, and the
store knows what that clock says from having asked it at most ten seconds ago (`_redis_clock`). No machine's time of
day is compared with another's. Redis itself removes the value at that moment too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import StoreError
from wellwired.stores._life import milliseconds
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores._redis_scripts import DELETE, STORE
from wellwired.stores._redis_wire import wire
from wellwired.stores.codecs import Codec, MsgpackCodec
from wellwired.stores.damage import DamageLog, Reason
from wellwired.stores.envelope import Envelopes, Unreadable
from wellwired.stores.keys import check_namespace, encode_key, encode_keys
from wellwired.stores.protocols import Entry

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisStore"]

# The same in every process of every version: two that disagreed about a key's fence would not see each other's writes.
_STRIPES: Final = 1024
_BATCH: Final = 256
_SCAN: Final = 1000
_ATTEMPTS: Final = 3

_Item = tuple[str, Entry[Any], bytes]


class RedisStore:
    """A `Store` in Redis, safe for threads; also `Many`, `Fenced`, `FencedMany` and `Ordered`.

    Errors of the connection pass through as redis-py raised them. Waiting is bounded by the client's own timeouts.
    A Redis that loses writes that it has confirmed, as an asynchronous failover may, loses fences with them.

    Args:
        client: a redis-py client (or fakeredis); the store never closes it. It must give bytes back, not text.
        namespace: the first part of its keys; see `keys.check_namespace`.
        codec: how values become bytes.
        clock: by whose monotonic side time is measured between two questions to the server's clock.
    """

    def __init__(self, client: Redis, *, namespace: str, codec: Codec | None = None, clock: Clock = SYSTEM) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("a RedisStore needs a client that gives bytes; create it without decode_responses")
        self.damage = DamageLog(check_namespace(namespace))
        """What could not be read; see `DamageLog`."""
        self.namespace = namespace
        self._client = client
        self._execute = wire(client)
        self._prefix = namespace.encode() + b":"
        self._fences = namespace.encode() + b"!"
        self._envelopes = Envelopes(MsgpackCodec() if codec is None else codec)
        self._clock = ServerClock(self._command, clock.monotonic)

    def __repr__(self) -> str:
        return f"RedisStore(namespace={self.namespace!r})"

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None; one GET."""
        name = self._prefix + encode_key(key)
        try:
            envelope = self._command("GET", name)
        except ResponseError as error:
            # A list or hash under our name is foreign; any other complaint of the server is a failure.
            if not str(error).startswith("WRONGTYPE"):
                raise
            self.damage.note(key, Reason.FOREIGN)
            return None
        return None if envelope is None else self._opened(key, name, envelope)

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; zero or less leaves nothing there.

        Raises:
            CodecError: the codec cannot encode the value.
            KeyFormatError: the key is none.
        """
        self._store("set", [(key, Entry(value, ttl), b"")])

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there."""
        return self.delete_many((key,)) > 0

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key that can be read; fetches it, to be certain."""
        return self.get(key) is not None

    def clear(self) -> None:
        """Removes every key of the namespace, in batches; looks at every key of the database to find them."""
        # Before the sweep, lest a fill lands behind it, and after it, lest a token of its middle outlives it.
        self._drop_fences()
        names = self._names()
        while batch := list(islice(names, _SCAN)):
            self._command("UNLINK", *batch)
        self._drop_fences()

    def keys(self) -> Iterator[str]:
        """The keys that are there, each once; looks at every key of the database to find them."""
        start = len(self._prefix)
        seen: set[bytes] = set()
        for name in self._names():
            if name not in seen:
                seen.add(name)
                try:
                    yield name[start:].decode()
                except UnicodeDecodeError:  # not written by a store
                    continue

    def close(self) -> None:
        """Does nothing: the client is the caller's."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """The entries of those keys that are there; one MGET."""
        names = encode_keys(keys, self._prefix)
        return self._opened_many(keys, names, self._command("MGET", *names)) if names else {}

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left; one script for each 256, and none if one cannot be encoded."""
        self._store("set", [(key, entry, b"") for key, entry in items.items()])

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the keys, one script for each 256; how many were there."""
        raws = encode_keys(keys)
        removed = 0
        for at in range(0, len(raws), _BATCH):
            removed += DELETE.run(self._command, self._places(raws[at : at + _BATCH]), (_word(),))
        return removed

    # --- Fenced, FencedMany, Ordered

    def read(self, key: str, /) -> tuple[Entry[Any] | None, bytes]:
        """The entry or None, and the token of this moment; one MGET, or a few when a stripe is used first."""
        raw = encode_key(key)
        name, fence = self._prefix + raw, self._fence(raw)
        envelope, token = self._command("MGET", name, fence)
        if token is None:
            values = self._read_with((name,), (fence,))
            envelope, token = values[name], values[fence]
        return None if envelope is None else self._opened(key, name, envelope), token

    def fill(self, key: str, entry: Entry[Any], token: bytes, /) -> bool:
        """Stores the entry unless a write of the key's stripe has overtaken it; whether it did."""
        return bool(self._store("fill", [(key, entry, token)]))

    def read_many(self, keys: Sequence[str], /) -> dict[str, tuple[Entry[Any] | None, bytes]]:
        """For every key asked, its entry or None and its token; one MGET if all are there, otherwise two.

        A key that is there gets a token that lets no fill in: fetching the fences of keys that need no filling would
        double the cost of the reads that matter.
        """
        names = encode_keys(keys, self._prefix)
        envelopes = self._command("MGET", *names) if names else []
        found = self._opened_many(keys, names, envelopes)
        answers: dict[str, tuple[Entry[Any] | None, bytes]] = {key: (entry, b"") for key, entry in found.items()}
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            answers |= self._read_missing(missing, dict(zip(names, envelopes, strict=True)))
        return answers

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores the entries that no write has overtaken; their keys. One script for each 256."""
        return self._store("fill", [(key, entry, token) for key, (entry, token) in items.items()])

    def tokens(self, keys: Sequence[str], /) -> dict[str, bytes]:
        """The tokens of this moment; one MGET."""
        fences = [self._fence(raw) for raw in encode_keys(keys)]
        values = self._read_with((), fences)
        return {key: values[fence] for key, fence in zip(keys, fences, strict=True)}

    def put_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores, as a write, the entries that no other write has overtaken; their keys. One script for each 256."""
        return self._store("put", [(key, entry, token) for key, (entry, token) in items.items()])

    # --- within

    def _fence(self, raw: bytes) -> bytes:
        return b"%b%d" % (self._fences, zlib.crc32(raw) % _STRIPES)

    def _places(self, raws: Iterable[bytes]) -> list[bytes]:
        return [place for raw in raws for place in (self._prefix + raw, self._fence(raw))]

    def _names(self) -> Iterator[bytes]:
        yield from self._client.scan_iter(match=self._prefix + b"*", count=_SCAN)

    def _drop_fences(self) -> None:
        self._command("UNLINK", *[b"%b%d" % (self._fences, stripe) for stripe in range(_STRIPES)])

    def _read_missing(
        self, keys: Sequence[str], before: Mapping[bytes, bytes | None]
    ) -> dict[str, tuple[Entry[Any] | None, bytes]]:
        """Reads keys that were not found again, with their fences; `before` is what lay under them."""
        raws = encode_keys(keys)
        names, fences = [self._prefix + raw for raw in raws], [self._fence(raw) for raw in raws]
        values = self._read_with(names, fences)
        # What could not be read before is not told of twice.
        news = [None if values[name] == before[name] else values[name] for name in names]
        late = self._opened_many(keys, names, news)
        return {key: (late.get(key), values[fence]) for key, fence in zip(keys, fences, strict=True)}

    def _read_with(self, names: Sequence[bytes], fences: Sequence[bytes]) -> dict[bytes, Any]:
        """The values of names and fences; a fence that is not there is made, and everything read again."""
        places = list(dict.fromkeys((*names, *fences)))
        while places:
            values = dict(zip(places, self._command("MGET", *places), strict=True))
            missing = [fence for fence in dict.fromkeys(fences) if values[fence] is None]
            if not missing:
                return values
            for fence in missing:
                self._command("SET", fence, _word(), "NX")
        return {}

    def _store(self, mode: str, items: Sequence[_Item]) -> list[str]:
        """Runs the script on every item; the keys of those that it stored."""
        answers: list[int] = []
        for _ in range(_ATTEMPTS):
            answers += self._store_packed(mode, [self._packed(item) for item in items[len(answers) :]])
            if len(answers) == len(items):
                return [key for (key, _, _), answer in zip(items, answers, strict=True) if answer]
            self._clock.forget()  # it has been set back since it was read
        raise StoreError(f"the clock of the Redis server of {self!r} runs backwards; see to its time of day")

    def _store_packed(self, mode: str, packed: Sequence[tuple[bytes, tuple[Any, ...]]]) -> list[int]:
        """The script's answers, up to the first batch that it refused for the sake of its clock."""
        answers: list[int] = []
        for at in range(0, len(packed), _BATCH):
            batch = packed[at : at + _BATCH]
            arguments = [argument for _, item in batch for argument in item]
            answer = STORE.run(self._command, self._places(raw for raw, _ in batch), (mode, _word(), *arguments))
            if answer == -1:
                break
            answers += answer
        return answers

    def _packed(self, item: _Item) -> tuple[bytes, tuple[Any, ...]]:
        """The bytes of the key, and the four arguments that the script takes for the item."""
        key, entry, token = item
        raw = encode_key(key)
        life = milliseconds(entry.left)
        if life == 0:
            return raw, (b"", 0, b"", token)
        expires = None if life is None else self._clock.earliest() + life
        envelope = self._envelopes.seal(self._prefix + raw, entry.value, duration=life, expires=expires)
        return raw, (envelope, b"" if life is None else life, b"" if expires is None else expires, token)

    def _opened(self, key: str, name: bytes, envelope: bytes) -> Entry[Any] | None:
        return self._opened_many((key,), (name,), (envelope,)).get(key)

    def _opened_many(
        self, keys: Sequence[str], names: Sequence[bytes], envelopes: Sequence[bytes | None]
    ) -> dict[str, Entry[Any]]:
        """The entries of what was found under the names; written out in one loop, for it runs for every value read."""
        found: dict[str, Entry[Any]] = {}
        latest: int | None = None
        unwrap = self._envelopes.open
        for key, name, envelope in zip(keys, names, envelopes, strict=True):
            if envelope is None:
                continue
            try:
                value, duration, expires, *_ = unwrap(name, envelope)
            except Unreadable as error:
                self.damage.note(key, error.reason)
                continue
            if duration is None or expires is None:
                found[key] = Entry(value)
                continue
            if latest is None:
                latest = self._clock.latest()
            left = expires - latest
            if left > duration:  # the server's clock was set forward since it was read, or another server answers now
                self._clock.forget()
                latest = self._clock.latest()
                left = min(duration, expires - latest)
            if left > 0:
                found[key] = Entry(value, left / 1000)
        return found

    def _command(self, *parts: Any) -> Any:
        try:
            return self._execute(*parts)
        except ResponseError:
            raise
        except BaseException:
            self._clock.forget()  # the next answer may come from another server
            raise


def _word() -> bytes:
    # From the system and not from `random`, whose state a forked child shares with its parent.
    return os.urandom(12)
