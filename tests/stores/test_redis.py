"""The Redis store: the contract of a layer, its namespace, its clock, damaged values and its fences."""

from __future__ import annotations

import json
import pickle
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from tests.stores.layer_contract import LayerContract, PassTime
from wellwired.errors import CodecError, KeyFormatError, StoreError
from wellwired.stores._life import Reading
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores.codecs import JSONCodec
from wellwired.stores.damage import Damage, Reason
from wellwired.stores.protocols import (
    Adds,
    Atomic,
    Entry,
    Fenced,
    FencedMany,
    KeepsStale,
    Leases,
    LeasesMany,
    Many,
    Ordered,
    Tagged,
)
from wellwired.stores.redis import RedisStore
from wellwired.testing.clock import VirtualClock

DAY_MS = 86_400_000
only_real = pytest.mark.parametrize("redis_url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
only_memory = pytest.mark.parametrize("redis_url", ["memory"], indirect=True)


def shorten_lives(client: Any, seconds: float) -> None:
    """Does to every key what so many seconds would do: the server's time cannot be moved, the ends of lives can."""
    for lease in client.keys("*!~*"):
        client.pexpire(lease, max(0, client.pttl(lease) - int(seconds * 1000)))
    for name in client.keys("*:*"):
        left, envelope = client.pttl(name), client.get(name)
        if left <= 0 or envelope[:4] != b"\xc1WW\x02":
            continue
        expires = int.from_bytes(envelope[31:39], "big") - int(seconds * 1000)
        covered = envelope[20:31] + expires.to_bytes(8, "big") + envelope[39:]
        client.set(name, envelope[:16] + zlib.crc32(covered).to_bytes(4, "big") + covered)
        client.pexpire(name, left - int(seconds * 1000))


@pytest.fixture
def store(redis_client: Any) -> RedisStore:
    """A Redis store in an empty Redis."""
    return RedisStore(redis_client, namespace="users")


class TestContract(LayerContract):
    """The Redis store keeps the contract of a layer."""

    abilities = (Many, Fenced, FencedMany, Ordered, Atomic, Adds, KeepsStale, Tagged, Leases, LeasesMany)

    @pytest.fixture
    def store(self, redis_client: Any) -> RedisStore:
        """A Redis store in an empty Redis."""
        return RedisStore(redis_client, namespace="users")

    @pytest.fixture
    def pass_time(self, redis_client: Any) -> PassTime:
        """Shortens the lives of the keys, for a server's time cannot be moved."""
        return lambda seconds: shorten_lives(redis_client, seconds)

    @pytest.fixture
    def another(self, store: RedisStore, redis_client: Any) -> RedisStore:
        """Another store on the same data."""
        return RedisStore(redis_client, namespace="users")


# --- the namespace


def test_keys_lie_where_it_is_told(store: RedisStore, redis_client: Any) -> None:
    """A value lies at namespace, colon, key; its fence, the tags and the state behind an exclamation mark."""
    store.set_many({"user:1": Entry(1, tags=("tenant:1",))})
    stripe = zlib.crc32(b"user:1") % 1024
    expected = [b"users!!", b"users!#tenant:1", b"users!%d" % stripe, b"users:user:1"]
    assert sorted(redis_client.keys("*")) == expected


def test_a_namespace_never_reaches_into_another(store: RedisStore, redis_client: Any) -> None:
    """Clear and keys concern exactly the namespace, whatever else begins as it does; nothing is flushed."""
    others = {
        name: RedisStore(redis_client, namespace=name) for name in ("users2", "user", "users.x", "{users}", "Users")
    }
    foreign = {b"users": b"1", b"users2x": b"1", b"user": b"1", b"xusers:a": b"1", b"users-a": b"1"}
    for other in others.values():
        other.set("a", other.namespace)
    for name, value in foreign.items():
        redis_client.set(name, value)
    store.set("a", "mine")
    store.set("2:a", "mine")
    assert sorted(store.keys()) == ["2:a", "a"]
    store.clear()
    assert list(store.keys()) == []
    assert {name: redis_client.get(name) for name in foreign} == foreign
    assert [other.get("a") for other in others.values()] == [Entry(name) for name in others]


def test_a_value_copied_to_another_key_is_not_served(store: RedisStore, redis_client: Any) -> None:
    """Neither under another key nor in another namespace."""
    store.set("a", "Ada's")
    redis_client.set("users:b", redis_client.get("users:a"))
    redis_client.set("users2:a", redis_client.get("users:a"))
    other = RedisStore(redis_client, namespace="users2")
    assert store.get("b") is None and other.get("a") is None
    assert store.damage.counts == {Reason.KEY: 1} and other.damage.counts == {Reason.KEY: 1}


def test_a_clear_is_one_command_and_a_purge_frees_the_memory(store: RedisStore, redis_client: Any) -> None:
    """However many keys there are, a clear is one SET; what it leaves behind is seen by nobody and can be removed."""
    store.set_many({f"{number}": Entry(number) for number in range(2_500)})
    for number in range(100):
        redis_client.set(f"other:{number}", b"x")
    before = redis_client.dbsize()
    store.clear()
    assert redis_client.dbsize() == before and list(store.keys()) == []
    store.set("7", "new")
    assert sum(iter(store.purge, 0)) == 2_499
    assert redis_client.dbsize() == before - 2_499 and store.get("7") == Entry("new")
    assert list(store.keys()) == ["7"]


@only_real
def test_a_clear_costs_one_command(store: RedisStore, redis_client: Any) -> None:
    """No SCAN, no UNLINK, whatever is there."""
    store.set_many({f"{number}": Entry(number) for number in range(500)})
    before = redis_client.info("stats")["total_commands_processed"]
    store.clear()
    assert redis_client.info("stats")["total_commands_processed"] - before - 1 == 1


def test_a_name_that_is_no_text_is_left_out_of_the_keys(store: RedisStore, redis_client: Any) -> None:
    """Keys that no store wrote may be anything."""
    store.set("a", 1)
    redis_client.set(b"users:\xff\xfe", b"x")
    assert list(store.keys()) == ["a"]


def test_more_keys_than_a_batch_are_written_read_and_removed(store: RedisStore) -> None:
    """Batches are cut where the scripts need it, and answered as a whole."""
    items = {f"k{number}": Entry(number, 50.0 if number % 2 else None) for number in range(600)}
    store.set_many(items)
    found = store.get_many(list(items))
    assert {key: entry.value for key, entry in found.items()} == {key: entry.value for key, entry in items.items()}
    seen = store.read_many([*items, "nothing"])
    assert len(seen) == 601 and seen["nothing"][0] is None and seen["k7"][0] is not None
    assert store.delete_many([*items, "nothing"]) == 600


# --- clients


def test_a_client_that_gives_text_is_refused() -> None:
    """A client that decodes every answer cannot carry bytes; the error comes at construction."""
    with pytest.raises(ValueError, match="without decode_responses"):
        RedisStore(redis_py.Redis(decode_responses=True), namespace="users")


def test_a_bad_namespace_is_refused() -> None:
    """So does the error for a namespace that could reach into others."""
    with pytest.raises(KeyFormatError, match="a namespace"):
        RedisStore(redis_py.Redis(), namespace="users:*")


def test_the_client_stays_open(store: RedisStore, redis_client: Any) -> None:
    """Closing the store closes nothing that it was handed."""
    store.close()
    store.set("a", 1)
    assert redis_client.ping() and store.get("a") == Entry(1)
    assert repr(store) == "RedisStore(namespace='users')"


@only_real
def test_each_operation_is_one_command(store: RedisStore, redis_client: Any, mocker: MockerFixture) -> None:
    """Once warm, a get, a read, a batch and a write of either kind cost one command and one round trip each."""
    keys = [f"k{number}" for number in range(100)]
    entries = {key: Entry(key, 500.0) for key in keys}
    store.set_many(entries)
    store.read("a")
    token = store.read("a")[1]
    calls: dict[str, Callable[[], Any]] = {
        "get": lambda: store.get("k1"),
        "mget": lambda: store.get_many(keys),
        "read of one": lambda: store.read("k1"),
        "read of many": lambda: store.read_many(keys),
        "set": lambda: store.set("k1", 1, 500.0),
        "set of many": lambda: store.set_many(entries),
        "fill": lambda: store.fill("a", Entry(1, 500.0), token),
        "delete": lambda: store.delete("k1"),
        "tokens": lambda: store.tokens(["a"]),
    }
    connection = redis_client.connection_pool.get_connection()
    redis_client.connection_pool.release(connection)
    sent = mocker.spy(type(connection), "send_packed_command")
    for name, call in calls.items():
        sent.reset_mock()
        call()
        # The server's own count would include what other connections have it do.
        assert [each.args[0] for each in sent.call_args_list] == [connection], name


def test_scripts_that_the_server_has_forgotten_are_sent_again(store: RedisStore, redis_client: Any) -> None:
    """A restart or SCRIPT FLUSH costs one more round trip and nothing else."""
    store.set("a", 1)
    redis_client.script_flush()
    store.set("a", 2)
    redis_client.script_flush()
    assert store.delete("a") is True and store.get("a") is None


def test_errors_pass_as_the_driver_raised_them(private_redis: Any) -> None:
    """A dead server is redis-py's own ConnectionError; after its return the store goes on."""
    server = private_redis()
    client = redis_py.Redis.from_url(server.url, socket_timeout=2.0)
    store = RedisStore(client, namespace="users")
    store.set("a", 1, 500.0)
    server.kill()
    for call in (lambda: store.get("a"), lambda: store.set("a", 2), lambda: store.read("a"), lambda: store.delete("a")):
        with pytest.raises(redis_py.ConnectionError):
            call()
    server.start()
    store.set("a", 3, 500.0)
    entry = store.get("a")
    assert entry is not None and entry.value == 3
    client.close()


def test_an_answer_that_came_too_late_is_given_to_nobody(private_redis: Any) -> None:
    """After a timeout the connection is not used again: the next caller gets its own answer."""
    server = private_redis()
    client = redis_py.Redis.from_url(server.url, socket_timeout=0.2, max_connections=1)
    store = RedisStore(client, namespace="users")
    store.set_many({"a": Entry("of a"), "b": Entry("of b")})
    server.pause()
    try:
        with pytest.raises(redis_py.TimeoutError):
            store.get("a")
    finally:
        server.resume()
    assert store.get("b") == Entry("of b") and store.get("a") == Entry("of a")
    client.close()


# --- values


def test_nothing_is_stored_if_a_value_cannot_be_encoded(store: RedisStore, redis_client: Any) -> None:
    """One bad value of a batch refuses the batch, even if it comes after the first 256."""
    items: dict[str, Entry[Any]] = {f"k{number}": Entry(number) for number in range(300)}
    with pytest.raises(CodecError, match="object"):
        store.set_many({**items, "bad": Entry(object())})
    assert redis_client.keys("users:*") == []


@pytest.mark.parametrize("ttl", [0, -1.0, 0.0004])
def test_a_life_that_is_over_leaves_nothing(store: RedisStore, ttl: float) -> None:
    """Such a value takes away the one before it, and the fills that it overtook."""
    store.set("a", 1)
    _, token = store.read("a")
    store.set("a", 2, ttl)
    assert store.get("a") is None
    assert store.fill("a", Entry(1), token) is False
    assert store.fill("a", Entry(1, ttl), store.read("a")[1]) is False and store.get("a") is None


def test_a_ttl_that_is_no_number_is_refused(store: RedisStore) -> None:
    """A NaN is an error and not a life."""
    with pytest.raises(ValueError, match="nan"):
        store.set("a", 1, float("nan"))
    store.set("a", 1, float("inf"))
    assert store.get("a") == Entry(1, None)


def test_a_codec_of_choice(redis_client: Any) -> None:
    """JSON lies in Redis as JSON, and another codec's reader takes it for nothing."""
    store = RedisStore(redis_client, namespace="users", codec=JSONCodec())
    store.set("a", {"name": "Ada"})
    assert redis_client.get("users:a").endswith(b'{"name":"Ada"}') and store.get("a") == Entry({"name": "Ada"})
    plain = RedisStore(redis_client, namespace="users")
    assert plain.get("a") is None and plain.damage.counts == {Reason.CODEC: 1}


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda sealed: b"",
    "text": lambda sealed: b"hello",
    "pickle": lambda sealed: pickle.dumps({"a": 1}),
    "cut": lambda sealed: sealed[:-1],
    "cut to the head": lambda sealed: sealed[:20],
    "longer": lambda sealed: sealed + b"x",
    "flipped at the end": lambda sealed: sealed[:-1] + bytes((sealed[-1] ^ 1,)),
    "flipped expiry": lambda sealed: sealed[:31] + bytes((sealed[31] ^ 1,)) + sealed[32:],
    "a newer version": lambda sealed: sealed[:3] + b"\x03" + sealed[4:],
    "another codec": lambda sealed: sealed.replace(b"msgpack", b"msgpick"),
    "twice": lambda sealed: sealed * 2,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_value_is_a_miss_and_an_event(store: RedisStore, redis_client: Any, name: str) -> None:
    """It is served by no call and raises in none; it is counted and told; a write mends it."""
    told: list[Damage] = []
    store.damage.listen(told.append)
    store.set("a", "good", 500.0)
    redis_client.set("users:a", DAMAGED[name](redis_client.get("users:a")))
    assert store.get("a") is None and store.has("a") is False
    assert store.get_many(["a"]) == {} and store.read("a")[0] is None and store.read_many(["a"])["a"][0] is None
    assert store.damage.total == len(told) == 5 and {(event.namespace, event.key) for event in told} == {("users", "a")}
    assert store.fill("a", Entry("filled"), store.read("a")[1]) is True and store.get("a") == Entry("filled")


@pytest.mark.parametrize("make", ["hash", "list"])
def test_a_key_of_another_type_is_foreign(store: RedisStore, redis_client: Any, make: str) -> None:
    """A hash or list under our name is a miss; a write takes its place."""
    if make == "hash":
        redis_client.hset("users:a", "f", 1)
    else:
        redis_client.rpush("users:a", 1)
    assert store.get("a") is None and store.read("a")[0] is None and store.get_many(["a"]) == {}
    assert store.damage.counts == {Reason.FOREIGN: 1}
    store.set("a", 1)
    assert store.get("a") == Entry(1)


@only_memory
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=100), behind=st.booleans())
def test_any_bytes_are_a_miss(store: RedisStore, redis_client: Any, noise: bytes, behind: bool) -> None:
    """Whatever bytes somebody puts there, no call raises and none serves them."""
    store.set("a", 1, 500.0)
    redis_client.set("users:a", redis_client.get("users:a")[:30] + noise if behind else noise)
    assert store.get("a") is None and store.get_many(["a"]) == {} and store.read("a")[0] is None


# --- time


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ttl=st.floats(0.05, 1e6))
def test_no_more_is_left_than_redis_knows(store: RedisStore, redis_client: Any, ttl: float) -> None:
    """The seconds that an entry has left are never more than the server's own PTTL, and hardly less."""
    store.set("a", 1, ttl)
    known = redis_client.pttl("users:a")
    entry = store.get("a")
    if entry is not None:
        assert entry.left is not None and entry.left * 1000 <= known <= ttl * 1000
        assert entry.left > ttl - 5


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_this_machines_time_of_day_does_not_matter(redis_client: Any, virtual_clock: VirtualClock, skew: float) -> None:
    """A day ahead or behind, before the write or after it, nothing lives longer and nothing ends."""
    writer = RedisStore(redis_client, namespace="users", clock=virtual_clock)
    virtual_clock.step_wall(skew)
    writer.set("a", 1, 50.0)
    virtual_clock.step_wall(-2 * skew)
    for reader in (writer, RedisStore(redis_client, namespace="users")):
        entry = reader.get("a")
        assert entry is not None and entry.left is not None and 45.0 < entry.left <= 50.0


@pytest.mark.parametrize("error_ms", [-DAY_MS, DAY_MS])
def test_a_reading_of_the_servers_clock_that_is_wrong_extends_no_life(
    store: RedisStore, redis_client: Any, error_ms: int
) -> None:
    """If the server's clock was set a day since it was read, or another server answers: lives get shorter, or stay."""
    other = RedisStore(redis_client, namespace="users")
    store.set("before", 1, 50.0)
    reading = store._clock.reading
    assert reading is not None
    store._clock.reading = Reading(reading.server_ms + error_ms, reading.before, reading.after)
    entry = store.get("before")
    assert entry is None or (entry.left is not None and entry.left <= 50.0)
    store._clock.reading = Reading(reading.server_ms + error_ms, reading.before, reading.after)
    store.set("after", 2, 50.0)
    seen = other.get("after")
    assert seen is None or (seen.left is not None and seen.left <= 50.0)
    store._clock.reading = None
    entry = store.get("before")
    assert entry is not None and entry.left is not None and 45.0 < entry.left <= 50.0


def test_a_value_whose_moment_has_come_is_not_served(redis_client: Any, virtual_clock: VirtualClock) -> None:
    """Even if Redis still has it, for instance because somebody made the key persistent."""
    store = RedisStore(redis_client, namespace="users", clock=virtual_clock)
    store.set("a", 1, 5.0)
    redis_client.persist("users:a")
    virtual_clock.advance(4.0)
    assert store.has("a")
    virtual_clock.advance(1.5)
    assert store.get("a") is None and store.get_many(["a"]) == {} and store.read("a")[0] is None


def test_the_servers_clock_is_asked_every_ten_seconds(
    redis_client: Any, virtual_clock: VirtualClock, mocker: Any
) -> None:
    """A reading serves for ten seconds and is then taken anew; values without an end need none."""
    store = RedisStore(redis_client, namespace="users", clock=virtual_clock)
    ask = mocker.spy(ServerClock, "ask")
    store.set("ever", 1)
    store.get("ever")
    assert ask.call_count == 0
    store.set("a", 1, 500.0)
    for _ in range(50):
        store.get("a")
    virtual_clock.advance(9.0)
    store.get("a")
    assert ask.call_count == 1
    virtual_clock.advance(2.0)
    store.get("a")
    assert ask.call_count == 2


def test_a_clock_that_runs_backwards_is_an_error_and_no_hang(store: RedisStore, mocker: Any) -> None:
    """If the server refuses every stamp, the write gives up after three attempts and says why."""
    future = Reading(int(time.time() * 1000) + DAY_MS, 0.0, 0.0)
    mocker.patch.object(ServerClock, "ask", return_value=future)
    with pytest.raises(StoreError, match="runs backwards"):
        store.set("a", 1, 50.0)
    assert store.get("a") is None
    store.set("a", 1)
    assert store.get("a") == Entry(1)


# --- fences


def test_a_fence_that_was_evicted_refuses(store: RedisStore, redis_client: Any) -> None:
    """A server short of memory may throw fences away; the tokens of before are stale then, and new ones work."""
    _, token = store.read("a")
    for name in redis_client.keys("users!*"):
        redis_client.delete(name)
    assert store.fill("a", Entry("old"), token) is False
    _, token = store.read("a")
    assert store.fill("a", Entry("new"), token) is True


def test_a_write_that_knows_an_older_epoch_is_made_in_the_new_one(store: RedisStore, redis_client: Any) -> None:
    """After another process has cleared the namespace, a set of this one is seen by both."""
    other = RedisStore(redis_client, namespace="users")
    store.set("a", 1)
    other.clear()
    store.set("b", 2)
    assert other.get("b") == Entry(2) == store.get("b") and other.get("a") is None
    assert sorted(store.keys()) == ["b"]


def test_a_lost_state_brings_nothing_back(store: RedisStore, redis_client: Any) -> None:
    """If the server has lost the epoch, all that was written under it is gone, and so is what was cleared before."""
    store.set("a", "before the clear")
    store.clear()
    store.set("b", "after it")
    redis_client.delete("users!!")
    assert store.get("a") is None and store.get("b") is None and list(store.keys()) == []
    store.set("b", "again")
    assert store.get("b") == Entry("again")


def test_values_of_version_1_are_read_until_a_clear(store: RedisStore, redis_client: Any) -> None:
    """What an earlier version has written, without an epoch, is there, counted by a delete, and ends with a clear."""
    golden = json.loads((Path(__file__).parent / "golden" / "envelope_v1.json").read_text())
    old = bytes.fromhex(next(case["envelope"] for case in golden if case["bound"] == "users:a"))
    redis_client.set("users:a", old)
    assert store.get("a") == Entry(None) and list(store.keys()) == ["a"] and store.purge() == 0
    assert store.delete("a") is True
    redis_client.set("users:a", old)
    store.clear()
    assert store.get("a") is None and list(store.keys()) == [] and store.purge() == 1


def test_the_first_read_of_a_namespace_sees_what_is_there(redis_client: Any) -> None:
    """Also where the namespace has no epoch yet: a value of version 1 is read, and a damaged one told of, once."""
    golden = json.loads((Path(__file__).parent / "golden" / "envelope_v1.json").read_text())
    old = bytes.fromhex(next(case["envelope"] for case in golden if case["bound"] == "users:a"))
    redis_client.mset({"users:a": old, "users:b": b"foreign"})
    assert RedisStore(redis_client, namespace="users").read("a")[0] == Entry(None)
    redis_client.delete("users!!")
    store = RedisStore(redis_client, namespace="users")
    assert store.read("b")[0] is None and store.damage.counts == {Reason.FOREIGN: 1}
    redis_client.delete("users!!")
    assert set(store.read_many(["a"])) == {"a"} and store.read_many(["b"])["b"][0] is None and store.damage.total == 2


def test_tags_cost_their_bearers_one_more_command(store: RedisStore, redis_client: Any) -> None:
    """A reader of a value with tags looks whether they still hold; other readers pay nothing."""
    store.set_many({"a": Entry(1, 50.0, tags=("x", "y")), "b": Entry(2, 50.0)})
    other = RedisStore(redis_client, namespace="users")
    assert other.read_many(["a", "b"])["a"][0] is not None
    other.invalidate_tags(["y"])
    assert set(store.read_many(["a", "b"])) == {"a", "b"} and store.get("a") is None and list(store.keys()) == ["b"]
    assert store.purge() == 1 and store.get("b") is not None
    assert redis_client.exists("users:a") == 0


def test_keys_of_one_stripe_only_refuse_each_other(store: RedisStore) -> None:
    """A write of another key of the stripe refuses a fill; it never lets one in."""
    stripe = zlib.crc32(b"a") % 1024
    neighbour = next(f"n{n}" for n in range(100_000) if zlib.crc32(b"n%d" % n) % 1024 == stripe)
    _, token = store.read("a")
    store.set(neighbour, 1)
    assert store.fill("a", Entry("old"), token) is False
    tokens = store.tokens(["a", neighbour])
    both = {key: (Entry("put"), token) for key, token in tokens.items()}
    assert set(store.put_many(both)) == {"a", neighbour}


def test_a_large_put_does_not_overtake_itself(store: RedisStore) -> None:
    """More keys than a batch, many of which share a fence, are all let in; what somebody else has overtaken is not."""
    keys = [f"k{number}" for number in range(1_500)]
    tokens = store.tokens(keys)
    store.delete("k7")
    shared = {key for key in keys if zlib.crc32(key.encode()) % 1024 == zlib.crc32(b"k7") % 1024}
    stored = store.put_many({key: (Entry(key), tokens[key]) for key in keys})
    assert set(stored) == set(keys) - shared and set(store.get_many(keys)) == set(keys) - shared
    assert not store.put_many({key: (Entry("late"), tokens[key]) for key in keys})


def test_the_token_of_a_batch_hit_admits_nothing(store: RedisStore) -> None:
    """A key that a batch read has found needs no fill, and its token lets none in."""
    store.set("a", 1)
    seen = store.read_many(["a", "b"])
    assert store.fill("a", Entry(2), seen["a"][1]) is False and store.get("a") == Entry(1)
    assert store.fill("b", Entry(2), seen["b"][1]) is True


def test_a_token_of_another_store_or_none_admits_nothing(store: RedisStore) -> None:
    """Words that no fence ever held are stale."""
    store.read("a")
    for token in (b"", b"x" * 12):
        assert store.fill("a", Entry(1), token) is False
    assert store.get("a") is None


def test_a_fill_does_not_overtake_other_fills(store: RedisStore) -> None:
    """Two readers that saw the same moment may both fill; they hold the same truth."""
    first, second = store.read("a")[1], store.read("a")[1]
    assert store.fill("a", Entry(1), first) is True
    assert store.fill("a", Entry(1), second) is True


def test_on_a_cluster_a_namespace_in_braces_has_one_slot(private_redis: Any) -> None:
    """Keys and fences of ``{users}`` lie in one slot, so that scripts and batches work; without braces they do not."""
    server = private_redis(**{"cluster-enabled": "yes"})
    client: Any = redis_py.Redis.from_url(server.url)
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    deadline = time.monotonic() + 20
    while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" and time.monotonic() < deadline:
        client.ping()
    cluster: Any = redis_py.RedisCluster.from_url(server.url)
    for either in (client, cluster):
        store = RedisStore(either, namespace="{users}")
        store.set_many({"a": Entry(1, 50.0), "b": Entry(2)})
        assert store.get("b") == Entry(2) and set(store.get_many(["a", "b", "c"])) == {"a", "b"}
        assert store.fill("c", Entry(3), store.read("c")[1]) is True and sorted(store.keys()) == ["a", "b", "c"]
        assert store.delete("a") is True
        store.clear()
        assert list(store.keys()) == []
    with pytest.raises(redis_py.ResponseError):
        RedisStore(client, namespace="users").set_many({"a": Entry(1), "b": Entry(2)})
    cluster.close()
    client.close()
