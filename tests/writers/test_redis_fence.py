"""The deadline's fence inside Redis: what was sent in time and taken up too late is not done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Proxy
from tests.writers.redis_kit import Client, Pipeline, count_up, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, ErrorCode, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Handler
from wellwired.handlers.payload import validate_payload
from wellwired.handlers.redis import delete_keys, hash_set, increment, set_value, stream_add
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers._redis_clock import Limit, ServerClocks
from wellwired.writers.redis import RedisWriter


@pytest.fixture
def writer(redis_client: Client) -> RedisWriter:
    """A writer on an empty Redis."""
    return RedisWriter("redis.cache", redis_client)


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the next scripts be told a deadline that the server has passed already."""
    monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 3600.0))


def failure(writer: RedisWriter, work: Callable[[WriteRequest, Any], Any], **options: Any) -> WriteError:
    """How a write fails."""
    with pytest.raises(WriteError) as caught:
        write(writer, work, **options)
    return caught.value


class TestExpired:
    """A server that comes to a write after its deadline."""

    @pytest.mark.parametrize("key", [None, "k"])
    def test_it_does_nothing_and_the_write_is_a_timeout(
        self, writer: RedisWriter, redis_client: Client, monkeypatch: pytest.MonkeyPatch, key: str | None
    ) -> None:
        """TIMEOUT and not applied, and neither the data nor a key's record is there."""
        late(monkeypatch)

        error = failure(writer, count_up, key=key, fenced=True)

        assert isinstance(error, WriteTimeoutError)
        assert (error.outcome, error.retry, error.phase) == (Outcome.NOT_APPLIED, Retry.SAFE, Phase.EXECUTE)
        assert redis_client.dbsize() == 0

    def test_a_done_write_is_replayed_after_any_deadline(
        self, writer: RedisWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was applied in time is reported as applied, however late somebody asks."""
        write(writer, count_up, key="k")
        late(monkeypatch)

        assert write(writer, count_up, key="k").replayed

    def test_a_deadline_that_never_comes_is_no_fence(self, writer: RedisWriter, virtual_clock: VirtualClock) -> None:
        """Without a deadline nothing expires."""
        assert write(writer, count_up, fenced=True, deadline=Deadline.never(virtual_clock)).data == [1, True]

    def test_a_clock_that_was_set_is_no_timeout(
        self, writer: RedisWriter, redis_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If time is left by our clock, the server's was set: not applied, and safe to send again at once."""
        monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 0.001))

        error = failure(writer, count_up, fenced=True)

        assert (error.code, error.reason, error.outcome, error.retry) == (
            ErrorCode.BACKEND,
            "clock",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
        )
        assert redis_client.dbsize() == 0

    def test_only_what_asks_for_it_is_fenced(self, redis_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """A handler that does not ask has a MULTI block, and so has every one where the fence is off."""
        late(monkeypatch)

        assert write(RedisWriter("redis.cache", redis_client), count_up).success
        assert write(RedisWriter("redis.cache", redis_client, fence=False), count_up, fenced=True).success


class TestFenced:
    """What a fenced write does like any other."""

    def test_the_answers_are_those_of_the_client(self, writer: RedisWriter, redis_client: Client) -> None:
        """Scores, hashes, sets, times and nothing come back as from MULTI."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.zadd("z", {"a": 1.5})
            pipeline.zincrby("z", 2, "a")
            pipeline.zrange("z", 0, -1, withscores=True)
            pipeline.hset("h", mapping={"f": "1"})
            pipeline.hgetall("h")
            pipeline.hincrbyfloat("h", "g", 1.5)
            pipeline.sadd("s", "m")
            pipeline.smembers("s")
            pipeline.get("none")
            pipeline.lrange("none", 0, -1)
            pipeline.expire("h", 100)
            pipeline.set("none", 1, nx=True)
            pipeline.set("none", 1, nx=True)
            pipeline.incrby("big", 2**50)

        plain = write(writer, work).data
        redis_client.flushdb()
        fenced = write(writer, work, fenced=True).data
        redis_client.flushdb()
        keyed = write(writer, work, key="k").data

        assert fenced == plain == keyed
        assert write(writer, work, key="k").data == plain

    def test_a_callback_of_the_applications_is_used(self, writer: RedisWriter, redis_client: Client) -> None:
        """What the application has its client do with an answer is done with a script's as well."""
        redis_client.set_response_callback("SET", lambda answer, **_: f"it said {answer.decode()}")

        assert write(writer, count_up, fenced=True).data == [1, "it said OK"]

    def test_a_first_command_that_fails_applies_nothing(self, writer: RedisWriter, redis_client: Client) -> None:
        """Nothing follows it, so the write is not half done; MULTI would have done the rest."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.hset("text", "f", 1)
            pipeline.pexpire("text", 1000)

        for key in (None, "k"):
            error = failure(writer, work, key=key, fenced=True)
            assert (error.outcome, error.backend_code) == (Outcome.NOT_APPLIED, "WRONGTYPE")
        assert redis_client.ttl("text") == -1
        assert redis_client.keys() == [b"text"]

    def test_a_later_command_that_fails_is_partial(self, writer: RedisWriter, redis_client: Client) -> None:
        """As with MULTI: the others are applied, and the error says which failed."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.incr("n")
            pipeline.lpush("text", 1)
            pipeline.incr("n")

        error = failure(writer, work, fenced=True)

        assert error.outcome is Outcome.PARTIAL
        assert "1 of 3 commands failed, the first of them number 2 (LPUSH)" in str(error)
        assert redis_client.get("n") == b"2"

    def test_a_command_of_too_many_words_goes_another_way(self, writer: RedisWriter, redis_client: Client) -> None:
        """Lua holds some 8,000 values: such a write has a MULTI block, and with a key it is refused before anything."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.incr("n")
            pipeline.rpush("list", *range(9_000))

        assert write(writer, work, fenced=True).data == [1, 9_000]
        error = failure(writer, work, key="k")
        assert (error.code, error.outcome) == (ErrorCode.INVALID_REQUEST, Outcome.NOT_APPLIED)
        assert redis_client.get("n") == b"1"

    def test_a_watching_handler_has_a_block(self, writer: RedisWriter, redis_client: Client) -> None:
        """What a watched key guards needs MULTI, fence or not."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.watch("n")
            redis_client.set("n", 5)
            pipeline.multi()
            pipeline.incr("n")

        assert failure(writer, work, fenced=True).reason == "serialization"

    def test_nothing_queued_sends_nothing(self, writer: RedisWriter) -> None:
        """A handler may find that there is nothing to do."""
        assert write(writer, lambda _r, _p: None, fenced=True).data == []

    def test_a_forgotten_script_is_sent_again(self, writer: RedisWriter, redis_client: Client) -> None:
        """A server that was restarted or flushed its scripts gets them in full, within the same attempt."""
        for _ in range(2):
            for key in (None, "k"):
                write(writer, count_up, key=key, fenced=True)
                redis_client.script_flush()

        assert redis_client.get("n") == b"3"

    @pytest.mark.parametrize(
        ("made", "payload", "data"),
        [
            (set_value, {"key": "a", "value": "x", "ttl": 60}, [True]),
            (delete_keys, {"keys": ["a", "b"]}, [0]),
            (hash_set, {"key": "h", "fields": {"a": 1, "b": 2}, "ttl": 60}, [2, True]),
            (increment, {"key": "n", "by": 3, "ttl": 60}, [3, True]),
            (stream_add, {"key": "s", "fields": {"a": 1}}, []),
        ],
    )
    def test_the_ready_made_handlers_are_fenced(
        self,
        writer: RedisWriter,
        monkeypatch: pytest.MonkeyPatch,
        made: Callable[..., Handler],
        payload: dict[str, Any],
        data: list[Any],
    ) -> None:
        """They ask for the fence, and answer as they did without it."""
        handler = made(type="t")
        request = validate_payload(handler, WriteRequest("redis.cache", "t", payload))

        answers = writer.write(request, handler=handler, deadline=Deadline.after(10)).data
        assert answers == data or made is stream_add
        late(monkeypatch)
        with pytest.raises(WriteTimeoutError):
            writer.write(request, handler=handler, deadline=Deadline.after(10))


@pytest.mark.redis
class TestFrozen:
    """A real server that takes commands, freezes, and goes on later."""

    @pytest.fixture
    def server(self, private_redis: Callable[..., PrivateServer]) -> PrivateServer:
        """A server of the test's own."""
        return private_redis()

    @pytest.fixture
    def client(self, server: PrivateServer) -> Iterator[Client]:
        """A client of it."""
        client = redis.Redis.from_url(server.url)
        yield client
        client.close()

    @pytest.mark.parametrize("key", [None, "k"])
    def test_what_lay_in_its_buffer_never_appears(self, server: PrivateServer, client: Client, key: str | None) -> None:
        """Sent, frozen, given up by the caller, resumed: the value is not there then, and never will be."""
        writer = RedisWriter("redis.cache", client, commit_grace=0.2)
        # With another key: a server that did not know the script would have to be sent it again.
        assert write(writer, count_up, key=key and "other", fenced=True).data == [1, True]
        client.delete(*client.keys("wellwired:key:*"), "")
        server.pause()

        error = failure(writer, count_up, key=key, fenced=True, deadline=Deadline.after(0.2))
        server.resume()

        assert error.outcome is Outcome.UNKNOWN
        assert ("before the deadline or never" in str(error)) or key
        # The server has read what lay there before it answers this.
        assert client.get("n") == b"1"
        assert client.keys("wellwired:key:*") == []
        assert write(writer, count_up, key=key, fenced=True).data == [2, True]

    def test_without_the_fence_it_does(self, server: PrivateServer, client: Client) -> None:
        """The control: a plain MULTI block that was given up is applied when the server goes on."""
        writer = RedisWriter("redis.cache", client, commit_grace=0.2, fence=False)
        write(writer, count_up, fenced=True)
        server.pause()

        error = failure(writer, count_up, fenced=True, deadline=Deadline.after(0.2))
        server.resume()

        assert error.outcome is Outcome.UNKNOWN
        assert client.get("n") == b"2"

    def test_a_server_that_goes_on_within_the_grace_says_so(self, server: PrivateServer, client: Client) -> None:
        """If it wakes while the caller still waits, the answer is "too late": TIMEOUT, not applied."""
        writer = RedisWriter("redis.cache", client, commit_grace=30)
        write(writer, count_up, fenced=True)
        server.pause()
        deadline = Deadline.after(0.3)
        waking = threading.Timer(0.8, server.resume)
        waking.start()

        error = failure(writer, count_up, fenced=True, deadline=deadline)
        waking.join()

        assert isinstance(error, WriteTimeoutError)
        assert error.outcome is Outcome.NOT_APPLIED
        assert client.get("n") == b"1"

    def test_one_that_goes_on_in_time_has_done_it(self, server: PrivateServer, client: Client) -> None:
        """The fence refuses nothing that is taken up before the deadline."""
        writer = RedisWriter("redis.cache", client)
        write(writer, count_up, fenced=True)
        server.pause()
        waking = threading.Timer(0.3, server.resume)
        waking.start()

        result: WriteResult[Any] = write(writer, count_up, fenced=True, deadline=Deadline.after(30))
        waking.join()

        assert result.data == [2, True]


@pytest.mark.redis
class TestLostAnswer:
    """An answer that is lost on its way, and what the key's record tells."""

    @pytest.fixture
    def client(self, real_redis_url: str) -> Iterator[Client]:
        """A client that goes straight to the server."""
        client = redis.Redis.from_url(real_redis_url)
        yield client
        client.close()

    @pytest.fixture
    def proxied(self, real_redis_url: str) -> Iterator[tuple[Proxy, RedisWriter]]:
        """A writer that goes through a proxy, with its script known to the server."""
        port = urlsplit(real_redis_url).port
        assert port is not None
        with Proxy(port, trigger=b"EVALSHA") as proxy:
            client = redis.Redis.from_url(real_redis_url.replace(f":{port}", f":{proxy.port}"))
            writer = RedisWriter("redis.cache", client, commit_grace=20)
            write(writer, lambda _r, p: p.set("warm", 1) and None, key="warm")
            write(writer, lambda _r, p: p.set("warm", 1) and None, fenced=True)
            yield proxy, writer
            client.close()

    def test_a_done_write_is_found(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """The record is there, so the write succeeded: its result, and no second effect."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_ANSWER)

        result = write(writer, count_up, key="k")

        assert (result.data, result.replayed) == ([1, True], False)
        assert client.get("n") == b"1"

    def test_one_that_may_still_come_stays_unknown(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """Before the deadline a missing record proves nothing: the request may be on its way."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_REQUEST)

        error = failure(writer, count_up, key="k")

        assert (error.outcome, error.retry) == (Outcome.UNKNOWN, Retry.IF_IDEMPOTENT)
        assert client.get("n") is None

    def test_one_that_never_came_is_a_timeout_after_the_deadline(
        self, client: Client, proxied: tuple[Proxy, RedisWriter]
    ) -> None:
        """After the deadline a missing record proves that nothing was applied, and that nothing will be."""
        proxy, writer = proxied
        # Nothing comes back within the client's patience, which ends after the deadline and before the grace.
        writer._client.connection_pool.connection_kwargs["socket_timeout"] = 1.0
        writer._client.connection_pool.disconnect()
        writer._client.connection_pool.reset()
        proxy.arm(Fault.SILENCE)

        error = failure(writer, count_up, key="k", deadline=Deadline.after(0.5))

        assert isinstance(error, WriteTimeoutError)
        assert error.outcome is Outcome.NOT_APPLIED
        assert client.get("n") is None

    def test_a_write_without_a_key_stays_unknown(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """Without a record nobody can tell."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_ANSWER)

        error = failure(writer, count_up, fenced=True)

        assert (error.outcome, error.reason) == (Outcome.UNKNOWN, "commit_unknown")
        assert client.get("n") == b"1"

    def test_a_partial_write_is_found_partial(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """What the record tells is judged like the lost answer would have been."""
        proxy, writer = proxied
        client.set("text", "x")
        proxy.arm(Fault.LOSE_ANSWER)

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.incr("n")
            pipeline.lpush("text", 1)

        error = failure(writer, work, key="k")

        assert isinstance(error, BackendError)
        assert error.outcome is Outcome.PARTIAL
