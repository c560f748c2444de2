"""Exchanges in Redis: what they cost, what lies under a name and is not there, and answers that are lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from pytest_mock import MockerFixture
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.stores.test_redis import only_memory, only_real, shorten_lives
from wellwired.errors import LayerError, StoreError
from wellwired.stores import MISSING, DelegatedStore, Layer
from wellwired.stores._life import Reading
from wellwired.stores._redis_clock import ServerClock
from wellwired.stores.damage import Reason
from wellwired.stores.protocols import Entry
from wellwired.stores.redis import RedisStore


@pytest.fixture
def store(redis_client: Any) -> RedisStore:
    """A Redis store in an empty Redis."""
    return RedisStore(redis_client, namespace="users")


def layered(store: RedisStore) -> Any:
    """The store as the primary of a delegated store."""
    return DelegatedStore([Layer(store, primary=True)])


def plus_one(value: Any) -> Any:
    """Counts."""
    return 1 if value is MISSING else value + 1


# --- what it costs


@only_real
def test_what_changes_cost(store: RedisStore, redis_client: Any, mocker: MockerFixture) -> None:
    """Once warm an update is two round trips, an add one, a touch two, its end one; tags cost one or two more."""
    users = layered(store)
    for warm in range(2):
        users.update("n", plus_one, ttl=60.0)
        users.add(f"warm {warm}", 1)
        users.touch(f"warm {warm}", 0)
    users.set("tagged", 1, tags=["t"])
    assert store.get("tagged") is not None
    connection = redis_client.connection_pool.get_connection()
    redis_client.connection_pool.release(connection)
    sent = mocker.spy(type(connection), "send_packed_command")

    def cost(call: Callable[[], object]) -> int:
        sent.reset_mock()
        call()
        # The server's own count would include what other connections have it do.
        assert {id(each.args[0]) for each in sent.call_args_list} == {id(connection)}
        return len(sent.call_args_list)

    calls: dict[str, tuple[Callable[[], object], int]] = {
        "update": (lambda: users.update("n", plus_one), 2),
        "update of nothing": (lambda: users.update("m", plus_one), 2),
        "update that leaves all": (lambda: users.update("n", lambda value: MISSING), 1),
        "add": (lambda: users.add("a", 1, ttl=60.0), 1),
        "add in vain": (lambda: users.add("a", 2), 1),
        "touch": (lambda: users.touch("a", 90.0), 2),
        "touch of nothing": (lambda: users.touch("nothing", 90.0), 1),
        "touch that ends it": (lambda: users.touch("a", 0), 1),
        "add of a tagged one in vain": (lambda: users.add("tagged", 1), 2),
        "touch of a tagged one": (lambda: users.touch("tagged", 90.0), 4),
    }
    assert {name: cost(call) for name, (call, _) in calls.items()} == {
        name: price for name, (_, price) in calls.items()
    }


def test_updates_of_one_stripe_do_not_disturb_each_other(store: RedisStore) -> None:
    """Keys share fences, and no exchange fails for what another key of its fence went through."""
    keys = [f"k{number}" for number in range(2000)]
    fence = store._names.fence(b"k0")
    neighbour = next(key for key in keys[1:] if store._names.fence(key.encode()) == fence)
    _, token = store.witness("k0")
    store.set(neighbour, 1)
    assert store.swap("k0", Entry(1), token) is True


# --- what lies there and is not there


def test_what_cannot_be_read_is_nothing(store: RedisStore, redis_client: Any) -> None:
    """Damaged, foreign and of another type: it is told of, and is exchanged or added over like nothing."""
    store.set("damaged", 1)
    good = redis_client.get("users:damaged")
    plants: dict[str, Callable[[str], object]] = {
        "damaged": lambda name: redis_client.set(name, good[:-1] + b"?"),
        "foreign": lambda name: redis_client.set(name, b"plain text"),
        "list": lambda name: redis_client.rpush(name, b"1"),
        "empty": lambda name: redis_client.set(name, b""),
    }
    for key, plant in plants.items():
        for verb in ("add", "update"):
            redis_client.delete(f"users:{key}")
            plant(f"users:{key}")
            assert store.get(key) is None
            assert getattr(layered(store), verb)(key, 1 if verb == "add" else plus_one) == 1
            assert store.get(key) == Entry(1), (key, verb)
    assert store.damage.counts[Reason.FOREIGN] > 0


def test_what_a_clear_has_left_is_nothing(store: RedisStore, redis_client: Any) -> None:
    """Its bytes still lie there; they are added over, and exchanged by who saw that they are nothing."""
    store.set("a", 1)
    store.set("b", 1)
    store.clear()
    assert redis_client.exists("users:a", "users:b") == 2
    assert store.add("a", Entry(2)) is True and store.get("a") == Entry(2)
    entry, token = store.witness("b")
    assert entry is None
    store.set("b", 3)
    assert store.swap("b", Entry(4), token) is False and store.get("b") == Entry(3)


def test_what_ended_between_look_and_exchange_is_nothing_any_more(store: RedisStore, redis_client: Any) -> None:
    """The server looks at its own clock, though the same bytes still lie there for their stale life."""
    store.set_many({"a": Entry(1, 10.0, 500.0)})
    _, token = store.witness("a")
    shorten_lives(redis_client, 11.0)
    lies = redis_client.get("users:a")
    assert lies is not None and store.swap("a", Entry(2), token) is False
    assert store.swap("a", Entry(2), token._replace(envelope=lies)) is False  # the very bytes, and they have ended
    assert store.add("a", Entry(3)) is True and store.get("a") == Entry(3)


@only_memory
def test_a_server_that_loses_its_state_makes_exchanges_fail(store: RedisStore, redis_client: Any) -> None:
    """A server short of memory may evict even that; nobody is let in by what was known before."""
    store.set("a", 1)
    _, token = store.witness("a")
    redis_client.delete("users!!")
    assert store.swap("a", Entry(2), token) is False
    assert layered(store).update("a", plus_one) == 1


# --- the server's clock


def test_a_clock_that_was_set_back_is_read_again(store: RedisStore) -> None:
    """An exchange or add sealed by an old reading is packed anew; one whose clock runs on backwards is an error."""
    store.set("a", 1, 60.0)
    reading = store._clock.reading
    assert reading is not None
    ahead = Reading(reading.server_ms + 3_600_000, reading.before, reading.after)
    _, token = store.witness("a")
    store._clock.reading = ahead
    assert store.swap("a", Entry(2, 60.0), token) is True
    store._clock.reading = ahead
    assert store.add("b", Entry(2, 60.0)) is True
    for key in ("a", "b"):
        entry = store.get(key)
        assert entry is not None and entry.value == 2 and entry.left is not None and 55.0 < entry.left <= 60.0


def test_a_clock_that_goes_on_backwards_is_an_error(store: RedisStore, mocker: MockerFixture) -> None:
    """After three attempts; nothing was stored."""
    store.set("a", 1)
    _, token = store.witness("a")
    mocker.patch.object(ServerClock, "earliest", return_value=10**14)
    with pytest.raises(StoreError, match="runs backwards"):
        store.swap("a", Entry(2, 60.0), token)
    with pytest.raises(StoreError, match="runs backwards"):
        store.add("b", Entry(2, 60.0))
    assert store.get("a") == Entry(1) and store.get("b") is None


# --- answers that are lost


class Losing:
    """Has a connection lose the answer to the next scripts that it is asked to run."""

    def __init__(self, mocker: MockerFixture, client: Any, times: int) -> None:
        self.left, self.sent = times, 0
        kind = type(client.connection_pool.make_connection())
        self.send, self.read = kind.send_packed_command, kind.read_response
        self.script = False
        mocker.patch.object(kind, "send_packed_command", self._send_by(self))
        mocker.patch.object(kind, "read_response", self._read_by(self))

    @staticmethod
    def _send_by(losing: Losing) -> Any:
        def send(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
            parts = command if isinstance(command, list | tuple) else (command,)
            losing.script = any(b"EVALSHA" in bytes(part) for part in parts)
            losing.sent += losing.script
            return losing.send(connection, command, *args, **kwargs)

        return send

    @staticmethod
    def _read_by(losing: Losing) -> Any:
        def read(connection: Any, *args: Any, **kwargs: Any) -> Any:
            answer = losing.read(connection, *args, **kwargs)
            if losing.script and losing.left:
                losing.left -= 1
                connection.disconnect()
                raise redis_py.ConnectionError("the answer was lost")
            return answer

        return read


@only_real
@pytest.mark.parametrize("tried_again", [False, True], ids=["plain client", "client with retries"])
def test_an_exchange_is_not_sent_twice(redis_url: str, mocker: MockerFixture, tried_again: bool) -> None:
    """A client that repeats commands does not repeat these: a lost answer is an error, and the count is not doubled."""
    retry = Retry(NoBackoff(), 3) if tried_again else None
    client = redis_py.Redis.from_url(redis_url, retry=retry)
    users = layered(RedisStore(client, namespace="users"))
    assert [users.update("n", plus_one) for _ in range(2)] == [1, 2]
    losing = Losing(mocker, client, times=1)
    with pytest.raises(LayerError) as caught:
        users.update("n", plus_one)
    assert isinstance(caught.value.__cause__, redis_py.ConnectionError) and losing.sent == 1
    assert users.get("n") == 3 and users.update("n", plus_one) == 4
    losing.left = 1
    with pytest.raises(LayerError):
        users.add("a", 1)
    assert users.get("a") == 1 and users.add("a", 2) is False
    client.close()


class Repeating(redis_py.Redis):
    """A client of a class of its own, which sends a command again whose answer it has lost."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Sends it, and once more."""
        send: Any = super().execute_command
        try:
            return send(*args, **options)
        except redis_py.ConnectionError:
            return send(*args, **options)


@only_real
def test_what_is_sent_twice_all_the_same_is_done_once(redis_url: str, mocker: MockerFixture) -> None:
    """Where a client cannot be kept from it, the script knows its own word and says that it was done."""
    client = Repeating.from_url(redis_url, retry=None)
    users = layered(RedisStore(client, namespace="users"))
    assert users.update("n", plus_one) == 1 and users.add("warm", 1)
    losing = Losing(mocker, client, times=1)
    assert users.update("n", plus_one) == 2 and losing.sent == 2
    losing.left = 1
    assert users.add("a", 1) is True and users.get("a") == 1 and users.get("n") == 2
    client.close()


@only_real
def test_a_lease_whose_grant_was_lost_is_granted_again(redis_url: str, mocker: MockerFixture) -> None:
    """A client with retries asks again by itself, and must not be told to wait for what it holds."""
    client = redis_py.Redis.from_url(redis_url, retry=Retry(NoBackoff(), 3))
    cache = RedisStore(client, namespace="users")
    assert cache.lease("warm", 30.0)[0]
    losing = Losing(mocker, client, times=1)
    granted, entry, token = cache.lease("a", 30.0)
    assert (granted, entry, losing.sent) == (True, None, 2) and cache.lease("a", 30.0)[0] is False
    losing.left = 1
    assert [granted for granted, _, _ in cache.lease_many(["a", "b", "c"], 30.0).values()] == [False, True, True]
    cache.release("a", token)
    assert cache.lease("a", 30.0)[0] is True
    client.close()
