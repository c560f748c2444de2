"""A layer in Redis: values in envelopes, one command for each operation, fences that hold across processes.

The key ``k`` of the namespace ``users`` lies at ``users:k``, its fence at ``users!`` and the number of one of 1,024
stripes (`_redis_names`). A namespace has neither separator in it, so no namespace can reach into another. A clear is
one command: every value bears the epoch of its namespace, and one of another epoch is not there; `purge` frees its
memory. On a Redis Cluster all of a namespace must share a slot: put its name in braces, ``{users}``.

A read gives the value and the time that it has left in one command. GET alone does not tell the latter, and asking for
both by a script costs a tenth more, so a value carries the moment at which it ends, *on the server's clock*, and the
store knows what that clock says from having asked it at most ten seconds ago (`_redis_clock`). No machine's time of
day is compared with another's. Redis itself removes the value at that moment too. A value with tags bears the words
that its tags had when it was written, and costs its reader a second command to see whether they still do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import ResponseError

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import StoreError
from wellwired.stores._life import milliseconds
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores._redis_names import Names, cleared_word, new_word
from wellwired.stores._redis_scripts import CLEARED, DELETE, INVALIDATE, LEASE, LEASED, PURGE, REMOVE, SEEN, STORE
from wellwired.stores._redis_wire import wire
from wellwired.stores.codecs import Codec, MsgpackCodec
from wellwired.stores.damage import DamageLog, Reason
from wellwired.stores.envelope import NO_WORD, WORD_BYTES, Envelopes, Packing, Signing, Unreadable
from wellwired.stores.keys import check_namespace, encode_key, encode_keys
from wellwired.stores.protocols import Entry

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisStore"]

_BATCH: Final = 256
_SCAN: Final = 1000
_ATTEMPTS: Final = 3
_TOKEN: Final = 3 * WORD_BYTES  # how long a token is: fence and state; what follows is the word of a lease
_NEVER: Final = b""
"""A token that lets nothing in."""

_Answers = dict[str, tuple[Entry[Any] | None, bytes]]


class _Item(NamedTuple):
    """What is to be stored; `token` is empty for a write that nobody may refuse."""

    key: str
    entry: Entry[Any]
    token: bytes = _NEVER


class RedisStore:
    """A `Store` in Redis, safe for threads; with every ability that there is but limits of time, which its client has.

    Errors of the connection pass through as redis-py raised them. Waiting is bounded by the client's own timeouts.
    A Redis that loses writes that it has confirmed, as an asynchronous failover may, loses fences with them.

    Args:
        client: a redis-py client (or fakeredis); the store never closes it. It must give bytes back, not text.
        namespace: the first part of its keys; see `keys.check_namespace`.
        codec: how values become bytes.
        compression: what compresses large values, such as `compression.Zstd()`; None for nothing.
        signer: signs every value, and refuses those that are not; see `signing.Signer`.
        clock: by whose monotonic side time is measured between two questions to the server's clock.
    """

    def __init__(
        self,
        client: Redis,
        *,
        namespace: str,
        codec: Codec | None = None,
        compression: Packing | None = None,
        signer: Signing | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("a RedisStore needs a client that gives bytes; create it without decode_responses")
        self.damage = DamageLog(check_namespace(namespace))
        """What could not be read; see `DamageLog`."""
        self.namespace = namespace
        self._client = client
        self._execute = wire(client)
        self._names = Names(namespace)
        self._prefix = self._names.prefix
        self._envelopes = Envelopes(MsgpackCodec() if codec is None else codec, compression=compression, signer=signer)
        self._clock = ServerClock(self._command, clock.monotonic)
        # What was seen of the state last: enough to begin a write with, for the script looks again.
        self._state: bytes | None = None

    def __repr__(self) -> str:
        return f"RedisStore(namespace={self.namespace!r})"

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None; one MGET, and a GET to tell what is foreign from what is not there."""
        name = self._prefix + encode_key(key)
        values = self._read_with((name,), (self._names.state,))
        if values[name] is not None:
            return self._opened((key,), (name,), (values[name],), values[self._names.state]).get(key)
        try:
            self._command("GET", name)
        except ResponseError as error:
            # A list or hash under our name is foreign; any other complaint of the server is a failure.
            if not str(error).startswith("WRONGTYPE"):
                raise
            self.damage.note(key, Reason.FOREIGN)
        return None

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; zero or less leaves nothing there.

        Raises:
            CodecError: the codec cannot encode the value.
            KeyFormatError: the key is none.
        """
        self._store("set", [_Item(key, Entry(value, ttl))])

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there."""
        return self.delete_many((key,)) > 0

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key that can be read; fetches it, to be certain."""
        return self.get(key) is not None

    def clear(self) -> None:
        """Removes every key of the namespace, in one command; `purge` frees what they took."""
        self._state = None
        self._command("SET", self._names.state, cleared_word() + new_word())

    def keys(self) -> Iterator[str]:
        """The keys that are there, each once; looks at every key of the database to find them."""
        start = len(self._prefix)
        seen: set[bytes] = set()
        for batch in self._pages():
            news = [name for name in batch if name not in seen]
            seen.update(news)
            for name in self._alive(news):
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
        return self._opened(keys, names, *self._fetched(names)) if names else {}

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left; one script for each 256, and none if one cannot be encoded."""
        self._store("set", [_Item(key, entry) for key, entry in items.items()])

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the keys, one script for each 256; how many were there."""
        raws = encode_keys(keys)
        removed = 0
        for at in range(0, len(raws), _BATCH):
            removed += DELETE.run(self._command, self._names.places(raws[at : at + _BATCH]), (new_word(),))
        return removed

    # --- Fenced, FencedMany, Ordered

    def read(self, key: str, /) -> tuple[Entry[Any] | None, bytes]:
        """The entry or None, and the token of this moment; one MGET if it is there, otherwise two.

        As with many, a key that is there gets a token that lets no fill in.
        """
        name, names = self._prefix + encode_key(key), self._names
        envelope, state = self._command("MGET", name, names.state)
        if envelope is None or state is None:
            return self._read_missing((key,), {name: None})[key]
        self._state = state
        entry = self._opened_one(key, name, envelope, state)
        return self._read_missing((key,), {name: envelope})[key] if entry is None else (entry, _NEVER)

    def fill(self, key: str, entry: Entry[Any], token: bytes, /) -> bool:
        """Stores the entry unless a write of the key's stripe has overtaken it; whether it did."""
        return bool(self._store("fill", [_Item(key, entry, token)], token[_TOKEN:]))

    def read_many(self, keys: Sequence[str], /) -> _Answers:
        """For every key asked, its entry or None and its token; one MGET if all are there, otherwise two.

        A key that is there gets a token that lets no fill in: fetching the fences of keys that need no filling would
        double the cost of the reads that matter.
        """
        names = encode_keys(keys, self._prefix)
        envelopes, state = self._fetched(names) if names else ([], NO_WORD)
        found = self._opened(keys, names, envelopes, state)
        answers: _Answers = {key: (entry, _NEVER) for key, entry in found.items()}
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            answers |= self._read_missing(missing, dict(zip(names, envelopes, strict=True)))
        return answers

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores the entries that no write has overtaken; their keys. One script for each 256."""
        leased = [key for key, (entry, token) in items.items() if token[_TOKEN:] and self.fill(key, entry, token)]
        plain = [_Item(key, entry, token) for key, (entry, token) in items.items() if not token[_TOKEN:]]
        return leased + self._store("fill", plain)

    def tokens(self, keys: Sequence[str], /) -> dict[str, bytes]:
        """The tokens of this moment; one MGET."""
        fences, state = [self._names.fence(raw) for raw in encode_keys(keys)], self._names.state
        values = self._read_with((), (*fences, state))
        return {key: values[fence] + values[state] for key, fence in zip(keys, fences, strict=True)}

    def put_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores, as a write, the entries that no other write has overtaken; their keys. One script for each 256."""
        return self._store("put", [_Item(key, entry, token) for key, (entry, token) in items.items()])

    # --- KeepsStale, Tagged

    def read_stale(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """What is kept under the keys, stale or fresh; one MGET."""
        names = encode_keys(keys, self._prefix)
        return self._opened(keys, names, *self._fetched(names), stale_too=True) if names else {}

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        """Removes every value that bears one of the tags, in all processes; one script, however many there are."""
        if tags:
            INVALIDATE.run(self._command, [self._names.state, *map(self._names.tag, tags)], (new_word(),))

    # --- Leases

    def lease(self, key: str, seconds: float, /) -> tuple[bool, Entry[Any] | None, bytes]:
        """Tries to become the one that loads the key; one script."""
        raw = encode_key(key)
        name, word = self._prefix + raw, new_word()
        places = [self._names.state, name, self._names.fence(raw), self._names.lease(raw)]
        for look in (1, 0):
            made = (new_word(), self._names.fresh(self._names.state))
            granted, fence, state, *found = LEASE.run(
                self._command, places, (word, max(1, milliseconds(seconds) or 1), look, *made)
            )
            entry = self._opened((key,), (name,), found, state).get(key) if found else None
            if entry is not None or not found:
                return bool(granted), entry, fence + state + (word if granted else _NEVER)
        return False, None, _NEVER

    def release(self, key: str, token: bytes, /) -> None:
        """Gives the lease back that came with the token; one script."""
        if word := token[3 * WORD_BYTES :]:
            REMOVE.run(self._command, [self._names.lease(encode_key(key))], [word])

    def purge(self) -> int:
        """Frees the memory of values that a clear or an invalidated tag has removed; looks at every key to find them.

        Returns:
            How many there were.
        """
        removed = 0
        for batch in self._pages():
            removed += PURGE.run(self._command, [self._names.state, *batch])
            removed += sum([REMOVE.run(self._command, [name], [dead]) for name, dead in self._invalidated(batch)])
        return removed

    # --- within

    def _pages(self) -> Iterator[list[bytes]]:
        names = iter(self._client.scan_iter(match=self._prefix + b"*", count=_SCAN))
        while batch := list(islice(names, _SCAN)):
            yield batch

    def _alive(self, names: Sequence[bytes]) -> Iterator[bytes]:
        """Those of the names that a reader would find something under."""
        if not names:
            return
        seen = SEEN.run(self._command, [self._names.state, *names])
        dead: set[bytes] = {name for name, _ in self._invalidated(names)} if 2 in seen else set()
        yield from [name for name, there in zip(names, seen, strict=True) if there and name not in dead]

    def _invalidated(self, names: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The names of values that a tag has removed, and what lies there."""
        seen = SEEN.run(self._command, [self._names.state, *names])
        tagged = [name for name, there in zip(names, seen, strict=True) if there == 2]
        values = self._command("MGET", *tagged) if tagged else []
        for name, envelope in zip(tagged, values, strict=True):
            if envelope is None:
                continue
            try:
                tags = self._envelopes.open(name, envelope).tags
            except Unreadable:
                continue
            if tags and not self._hold(tags):
                yield name, envelope

    def _read_missing(self, keys: Sequence[str], before: Mapping[bytes, bytes | None]) -> _Answers:
        """Reads keys that were not found again, with their fences; `before` is what lay under them."""
        raws = encode_keys(keys)
        names, fences = [self._prefix + raw for raw in raws], [self._names.fence(raw) for raw in raws]
        values = self._read_with(names, (*fences, self._names.state))
        # What could not be read before is not told of twice.
        news = [None if values[name] == before[name] else values[name] for name in names]
        state = values[self._names.state]
        late = self._opened(keys, names, news, state)
        return {key: (late.get(key), values[fence] + state) for key, fence in zip(keys, fences, strict=True)}

    def _fetched(self, names: Sequence[bytes]) -> tuple[Sequence[bytes | None], bytes]:
        """What lies under the names, and the state of the same moment."""
        values = self._command("MGET", *names, self._names.state)
        state = values.pop()
        if state is None:
            found = self._read_with(names, (self._names.state,))
            return [found[name] for name in names], found[self._names.state]
        self._state = state
        return values, state

    def _read_with(self, names: Sequence[bytes], words: Sequence[bytes]) -> dict[bytes, Any]:
        """The values of names and words; a word that is not there is made, and everything read again."""
        places = list(dict.fromkeys((*names, *words)))
        while places:
            values = dict(zip(places, self._command("MGET", *places), strict=True))
            missing = [word for word in dict.fromkeys(words) if values[word] is None]
            if not missing:
                self._state = values.get(self._names.state, self._state)
                return values
            for word in missing:
                self._command("SET", word, self._names.fresh(word), "NX")
        return {}

    def _store(self, mode: str, items: Sequence[_Item], lease: bytes = b"") -> list[str]:
        """Runs the script on every item; the keys of those that it stored. A lease is that of a single item."""
        answers: list[int] = []
        words = self._tag_words([tag for item in items for tag in item.entry.tags])
        for _ in range(_ATTEMPTS):
            rest = items[len(answers) :]
            packed = [self._packed(item, words) for item in rest]
            answers += self._store_leased(packed[0], lease) if lease else self._store_packed(mode, packed)
            if len(answers) == len(items):
                return [item.key for item, answer in zip(items, answers, strict=True) if answer]
            # Its clock has been set back since it was read, or the namespace was cleared.
            self._clock.forget()
            self._state = None
        raise StoreError(f"the clock of the Redis server of {self!r} runs backwards; see to its time of day")

    def _store_packed(self, mode: str, packed: Sequence[tuple[bytes, tuple[Any, ...]]]) -> list[int]:
        """The script's answers, up to the first batch that it refused for the sake of its clock or epoch."""
        answers: list[int] = []
        word, renewed = new_word(), dict[bytes, bytes]()
        for at in range(0, len(packed), _BATCH):
            batch = packed[at : at + _BATCH]
            if renewed:
                batch = [(raw, self._overtaken_by_us(raw, item, renewed, word)) for raw, item in batch]
            arguments = [argument for _, item in batch for argument in item]
            places = self._names.places(raw for raw, _ in batch)
            answer = STORE.run(self._command, places, (mode, word, *arguments))
            if answer == -1:
                break
            answers += answer
            if mode == "put" and len(packed) > _BATCH:
                for (raw, item), done in zip(batch, answer, strict=True):
                    if done:
                        renewed.setdefault(self._names.fence(raw), item[3])
        return answers

    def _overtaken_by_us(
        self, raw: bytes, item: tuple[Any, ...], renewed: Mapping[bytes, bytes], word: bytes
    ) -> tuple[Any, ...]:
        """The arguments of an item, with our own word where an earlier batch of ours has renewed the same fence."""
        return (*item[:3], word, *item[4:]) if renewed.get(self._names.fence(raw)) == item[3] else item

    def _store_leased(self, packed: tuple[bytes, tuple[Any, ...]], lease: bytes) -> list[int]:
        raw, arguments = packed
        places = [*self._names.places([raw]), self._names.lease(raw)]
        answer = LEASED.run(self._command, places, ("fill", new_word(), *arguments, lease))
        return [] if answer == -1 else list(answer)

    def _packed(self, item: _Item, words: Mapping[str, bytes]) -> tuple[bytes, tuple[Any, ...]]:
        """The bytes of the key, and the six arguments that the script takes for the item."""
        key, entry, token = item
        raw, life = encode_key(key), milliseconds(entry.left)
        fence, epoch, invalidated = (
            token[:WORD_BYTES],
            token[WORD_BYTES : 2 * WORD_BYTES],
            token[2 * WORD_BYTES : _TOKEN],
        )
        if not token:
            epoch = self._epoch()
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

    def _epoch(self) -> bytes:
        state = self._state
        if state is None:
            state = self._read_with((), (self._names.state,))[self._names.state]
        return state[:WORD_BYTES]

    def _tag_words(self, tags: Iterable[str]) -> dict[str, bytes]:
        """The words that the tags have now, made if they have none."""
        names = {tag: self._names.tag(tag) for tag in tags}
        values = self._read_with((), list(names.values())) if names else {}
        return {tag: values[name] for tag, name in names.items()}

    def _hold(self, tags: Sequence[tuple[str, bytes]]) -> bool:
        """Whether all the tags have the words that they had when a value was written."""
        now = self._command("MGET", *[self._names.tag(tag) for tag, _ in tags])
        return list(now) == [word for _, word in tags]

    def _opened_one(self, key: str, name: bytes, envelope: bytes, state: bytes) -> Entry[Any] | None:
        """The entry of what was found under one name: the short way for what is usual, the long one for all else."""
        try:
            value, duration, expires, stale, epoch, tags = self._envelopes.open(name, envelope)
        except Unreadable as error:
            self.damage.note(key, error.reason)
            return None
        if epoch == state[:WORD_BYTES] and not tags:
            if expires is None or duration is None:
                return Entry(value)
            left = expires - self._clock.latest()
            if 0 < left <= duration:
                return Entry(value, left / 1000, stale / 1000)
        return self._opened((key,), (name,), (envelope,), state).get(key)

    def _opened(  # noqa: C901, PLR0915 - a call for every value would cost a batch a tenth of its time
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
                self.damage.note(key, error.reason)
                continue
            if epoch != current and (epoch != NO_WORD or current.startswith(CLEARED)):
                continue
            if tags and not self._hold(tags):
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

    def _command(self, *parts: Any) -> Any:
        try:
            return self._execute(*parts)
        except ResponseError:
            raise
        except BaseException:
            self._clock.forget()  # the next answer may come from another server
            self._state = None
            raise
