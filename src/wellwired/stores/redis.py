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

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import StoreError
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores._redis_leases import RedisLeases
from wellwired.stores._redis_names import Names, cleared_word, new_word
from wellwired.stores._redis_scripts import ADD, DELETE, INVALIDATE, LEASED, MAKE, PURGE, REMOVE, SEEN, STORE, SWAP
from wellwired.stores._redis_values import NEVER, TOKEN_BYTES, Item, RedisValues, Sight
from wellwired.stores._redis_wire import once, wire
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

_Answers = dict[str, tuple[Entry[Any] | None, bytes]]


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
        self._execute, self._send_once = wire(client), once(client)
        self._names = Names(namespace)
        self._prefix = self._names.prefix
        self._envelopes = Envelopes(MsgpackCodec() if codec is None else codec, compression=compression, signer=signer)
        self._clock = ServerClock(self._command, clock.monotonic)
        self._values = RedisValues(self._names, self._envelopes, self._clock, self.damage, self._command)
        self._leases = RedisLeases(self._names, self._values, self._command)
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
            return self._values.opened((key,), (name,), (values[name],), values[self._names.state]).get(key)
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
        self._store("set", [Item(key, Entry(value, ttl))])

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
        return self._values.opened(keys, names, *self._fetched(names)) if names else {}

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left; one script for each 256, and none if one cannot be encoded."""
        self._store("set", [Item(key, entry) for key, entry in items.items()])

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
        entry = self._values.opened_one(key, name, envelope, state)
        return self._read_missing((key,), {name: envelope})[key] if entry is None else (entry, NEVER)

    def fill(self, key: str, entry: Entry[Any], token: bytes, /) -> bool:
        """Stores the entry unless a write of the key's stripe has overtaken it; whether it did."""
        return bool(self._store("fill", [Item(key, entry, token)], leased=len(token) > TOKEN_BYTES))

    def read_many(self, keys: Sequence[str], /) -> _Answers:
        """For every key asked, its entry or None and its token; one MGET if all are there, otherwise two.

        A key that is there gets a token that lets no fill in: fetching the fences of keys that need no filling would
        double the cost of the reads that matter.
        """
        names = encode_keys(keys, self._prefix)
        return self._answered(keys, names, *(self._fetched(names) if names else ([], NO_WORD)))

    def read_values(self, keys: Sequence[str], /) -> tuple[list[Any] | None, _Answers]:
        """The values of all keys in order, if all are there and nothing else is to be said of them; one MGET.

        Otherwise None, and what `read_many` says. For a stack that has no layer above this one.
        """
        names = encode_keys(keys, self._prefix)
        envelopes, state = self._fetched(names) if names else ([], NO_WORD)
        values = self._values.usual(names, envelopes, state)
        return (None, self._answered(keys, names, envelopes, state)) if values is None else (values, {})

    def _answered(
        self, keys: Sequence[str], names: Sequence[bytes], envelopes: Sequence[bytes | None], state: bytes
    ) -> _Answers:
        found = self._values.opened(keys, names, envelopes, state)
        answers: _Answers = {key: (entry, NEVER) for key, entry in found.items()}
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            answers |= self._read_missing(missing, dict(zip(names, envelopes, strict=True)))
        return answers

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores the entries that no write has overtaken; their keys. One script for each 256."""
        offered = [Item(key, entry, token) for key, (entry, token) in items.items()]
        leased = [item for item in offered if len(item.token) > TOKEN_BYTES]
        plain = [item for item in offered if len(item.token) <= TOKEN_BYTES] if leased else offered
        return self._store("fill", plain) + (self._store("fill", leased, leased=True) if leased else [])

    def tokens(self, keys: Sequence[str], /) -> dict[str, bytes]:
        """The tokens of this moment; one MGET."""
        fences, state = [self._names.fence(raw) for raw in encode_keys(keys)], self._names.state
        values = self._read_with((), (*fences, state))
        return {key: values[fence] + values[state] for key, fence in zip(keys, fences, strict=True)}

    def put_many(self, items: Mapping[str, tuple[Entry[Any], bytes]], /) -> Collection[str]:
        """Stores, as a write, the entries that no other write has overtaken; their keys. One script for each 256."""
        return self._store("put", [Item(key, entry, token) for key, (entry, token) in items.items()])

    # --- Atomic, Adds

    def witness(self, key: str, /) -> tuple[Entry[Any] | None, Sight]:
        """The entry or None, and the token for an exchange of it; one MGET, and one more for a value with tags."""
        name, place = self._prefix + encode_key(key), self._names.state
        values = self._read_with((name,), (place,))
        envelope, state = values[name], values[place]
        entry = None if envelope is None else self._values.opened_one(key, name, envelope, state)
        return entry, Sight(envelope, state, None if entry is None else entry.tags)

    def swap(self, key: str, entry: Entry[Any], token: Sight, /) -> bool:
        """Stores the entry if what was looked at is still there, or still nothing; whether it did.

        One script, which is sent the bytes that were looked at as well; and one more command for an entry with tags,
        to fetch what they stand for.
        """
        words, state, raw = self._tag_words(entry.tags), token.state, encode_key(key)
        marks = state[WORD_BYTES:] if entry.tags or token.tags else NEVER
        seen = (int(token.tags is not None), NEVER if token.envelope is None else token.envelope)
        for _ in range(_ATTEMPTS):
            _, arguments = self._values.packed(Item(key, entry), words, state[:WORD_BYTES])
            word = new_word()
            answer = SWAP.run(self._command_once, self._names.places([raw]), (word, *arguments, marks, *seen))
            if answer != -1:
                return bool(answer)
            self._clock.forget()
        raise self._backwards()

    def add(self, key: str, entry: Entry[Any], /) -> bool:
        """Stores the entry if nothing is there; whether it did. One script, if nothing with tags is in the way.

        What is there is sent back, for only its reader can tell whether it can be read. An entry with tags costs one
        more command, to fetch what they stand for.
        """
        words, raw = self._tag_words(entry.tags), encode_key(key)
        name = self._prefix + raw
        for _ in range(_ATTEMPTS):
            _, arguments = self._packed(Item(key, entry), words)
            answer, *found = ADD.run(self._command_once, self._names.places([raw]), (new_word(), *arguments))
            if answer == -1:
                self._clock.forget()
                self._state = None
            elif answer or self._values.opened((key,), (name,), found[:1], found[1]):
                return bool(answer)
            else:
                return self._add_over(key, entry)
        raise self._backwards()

    # --- KeepsStale, Tagged

    def read_stale(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """What is kept under the keys, stale or fresh; one MGET."""
        names = encode_keys(keys, self._prefix)
        return self._values.opened(keys, names, *self._fetched(names), stale_too=True) if names else {}

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        """Removes every value that bears one of the tags, in all processes; one script, however many there are."""
        if tags:
            INVALIDATE.run(self._command, [self._names.state, *map(self._names.tag, tags)], (new_word(),))

    # --- Leases, LeasesMany

    def lease(self, key: str, seconds: float, /) -> tuple[bool, Entry[Any] | None, bytes]:
        """Tries to become the one that loads the key; one script."""
        return self._leases.take((key,), seconds, 0.0)[key]

    def release(self, key: str, token: bytes, /) -> None:
        """Gives the lease back that came with the token; one script."""
        self._leases.give_back({key: token})

    def lease_many(
        self, keys: Sequence[str], seconds: float, ahead: float = 0.0, /
    ) -> dict[str, tuple[bool, Entry[Any] | None, bytes]]:
        """Tries to become the one that loads, for each key; one script for each 256."""
        return self._leases.take(keys, seconds, ahead)

    def release_many(self, tokens: Mapping[str, bytes], /) -> None:
        """Gives the leases back that came with the tokens; one script for each 256."""
        self._leases.give_back(tokens)

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
            if tags and not self._values.hold(tags):
                yield name, envelope

    def _read_missing(self, keys: Sequence[str], before: Mapping[bytes, bytes | None]) -> _Answers:
        """Reads keys that were not found again, with their fences; `before` is what lay under them."""
        raws = encode_keys(keys)
        names, fences = [self._prefix + raw for raw in raws], [self._names.fence(raw) for raw in raws]
        values = self._read_with(names, (*fences, self._names.state))
        # What could not be read before is not told of twice.
        news = [None if values[name] == before[name] else values[name] for name in names]
        state = values[self._names.state]
        late = self._values.opened(keys, names, news, state)
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
            MAKE.run(self._command, missing, [self._names.fresh(word) for word in missing])
        return {}

    def _store(self, mode: str, items: Sequence[Item], *, leased: bool = False) -> list[str]:
        """Runs the script on every item, all of them with leases or none; the keys of those that it stored."""
        answers: list[int] = []
        words = self._tag_words([tag for item in items for tag in item.entry.tags])
        for _ in range(_ATTEMPTS):
            rest = items[len(answers) :]
            packed = [self._packed(item, words) for item in rest]
            if leased:
                pairs = zip(rest, packed, strict=True)
                packed = [(raw, (*arguments, item.token[TOKEN_BYTES:])) for item, (raw, arguments) in pairs]
            answers += self._store_packed(mode, packed, leased=leased)
            if len(answers) == len(items):
                return [item.key for item, answer in zip(items, answers, strict=True) if answer]
            # Its clock has been set back since it was read, or the namespace was cleared.
            self._clock.forget()
            self._state = None
        raise self._backwards()

    def _add_over(self, key: str, entry: Entry[Any]) -> bool:
        """Adds where something lies that is not there for a reader."""
        while True:  # whoever comes between has stored or removed something
            seen, token = self.witness(key)
            if seen is not None or self.swap(key, entry, token):
                return seen is None

    def _backwards(self) -> StoreError:
        return StoreError(f"the clock of the Redis server of {self!r} runs backwards; see to its time of day")

    def _store_packed(
        self, mode: str, packed: Sequence[tuple[bytes, tuple[Any, ...]]], *, leased: bool = False
    ) -> list[int]:
        """The script's answers, up to the first batch that it refused for the sake of its clock or epoch."""
        answers: list[int] = []
        word, renewed = new_word(), dict[bytes, bytes]()
        script, places_of = (LEASED, self._names.leased_places) if leased else (STORE, self._names.places)
        for at in range(0, len(packed), _BATCH):
            batch = packed[at : at + _BATCH]
            if renewed:
                batch = [(raw, self._overtaken_by_us(raw, item, renewed, word)) for raw, item in batch]
            arguments = [argument for _, item in batch for argument in item]
            places = places_of(raw for raw, _ in batch)
            answer = script.run(self._command, places, (mode, word, *arguments))
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

    def _packed(self, item: Item, words: Mapping[str, bytes]) -> tuple[bytes, tuple[Any, ...]]:
        return self._values.packed(item, words, NEVER if item.token else self._epoch())

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

    def _command(self, *parts: Any) -> Any:
        return self._sent(self._execute, parts)

    def _command_once(self, *parts: Any) -> Any:
        """Sends a command that must not be sent again when its answer is lost."""
        return self._sent(self._send_once, parts)

    def _sent(self, send: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
        try:
            return send(*parts)
        except ResponseError:
            raise
        except BaseException:
            self._clock.forget()  # the next answer may come from another server
            self._state = None
            raise
