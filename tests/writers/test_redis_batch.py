"""Many writes to Redis in few packets: an answer for each, and no item that is half done or fails for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Proxy
from tests.writers.redis_kit import Client, Pipeline, Telling
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    ErrorCode,
    InvalidRequestError,
    Outcome,
    Retry,
    WriteError,
    WriteTimeoutError,
)
from wellwired.handlers import FunctionHandler, after_commit
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import WritesMany, capabilities_of
from wellwired.writers import _redis_batch as redis_batch
from wellwired.writers import _redis_items as redis_items
from wellwired.writers._redis_clock import Limit, ServerClocks
from wellwired.writers.redis import RedisWriter

Answer = WriteResult[Any] | WriteError


def put(request: WriteRequest, pipeline: Pipeline) -> None:
    """Two commands that belong together; neither is harmless when done twice."""
    pipeline.incr(f"count:{request.payload['key']}")
    pipeline.rpush(request.payload["key"], request.payload["value"])


def batch(
    writer: RedisWriter,
    payloads: Sequence[Any],
    work: Callable[[WriteRequest, Any], Any] = put,
    *,
    keys: Sequence[str | None] | None = None,
    deadline: Deadline | None = None,
    atomic: bool = False,
    **traits: Any,
) -> list[Answer]:
    """One attempt at many."""
    keys = keys or [None] * len(payloads)
    requests = [
        WriteRequest(writer.name, "test", payload, idempotency_key=key)
        for payload, key in zip(payloads, keys, strict=True)
    ]
    handler = FunctionHandler(work, type="test", backend="redis", **traits)
    return writer.write_batch(requests, handler=handler, deadline=deadline or Deadline.after(30), atomic=atomic)


def items(count: int) -> list[dict[str, Any]]:
    """As many payloads, each for a key of its own."""
    return [{"key": f"k{at}", "value": f"v{at}"} for at in range(count)]


def outcomes(answers: Sequence[Answer]) -> list[str]:
    """Of each answer, what became of the data."""
    return [str(answer.outcome) if isinstance(answer, WriteError) else "APPLIED" for answer in answers]


@pytest.fixture
def writer(redis_client: Client) -> RedisWriter:
    """A writer on an empty Redis."""
    return RedisWriter("redis.cache", redis_client)


@pytest.fixture(params=["block", "fenced", "keyed"])
def way(request: pytest.FixtureRequest) -> str:
    """How the items are sent: as MULTI blocks, fenced, or with idempotency keys."""
    return str(request.param)


def by(way: str, count: int) -> dict[str, Any]:
    """The arguments of `batch` that have items sent that way."""
    return {"fenced": way == "fenced", "keys": [f"key{at}" for at in range(count)] if way == "keyed" else None}


class TestAnswers:
    """An answer for each item, at its position."""

    def test_it_is_a_writer_of_many(self, writer: RedisWriter) -> None:
        """It has the ability, and says what it can promise."""
        assert isinstance(writer, WritesMany)
        said = capabilities_of(writer)
        assert (said.batches, said.atomic, said.idempotency, said.resolves_unknown) == (True, False, True, True)

    def test_each_has_its_own_answers(self, writer: RedisWriter, redis_client: Client, way: str) -> None:
        """Every item is applied once, and its data is the answers to its commands."""
        answers = batch(writer, items(5), **by(way, 5))

        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == [[1, 1]] * 5
        assert [redis_client.get(f"count:k{at}") for at in range(5)] == [b"1"] * 5

    def test_what_a_handler_returns_is_the_data(self, writer: RedisWriter, way: str) -> None:
        """A result of the handler's own comes first, falsy or not."""

        def work(request: WriteRequest, pipeline: Pipeline) -> int:
            pipeline.incr("n")
            return int(request.payload)

        answers = batch(writer, [0, 1, 2], work, **by(way, 3))

        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == [0, 1, 2]

    def test_many_chunks_are_one_batch(
        self, writer: RedisWriter, redis_client: Client, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bounds of number and size divide a batch, and change nothing of its answers."""
        monkeypatch.setattr(redis_batch, "_MOST_ITEMS", 7)
        monkeypatch.setattr(redis_batch, "MOST_BYTES", 60)
        monkeypatch.setattr(redis_items, "MOST_BYTES", 60)
        monkeypatch.setattr(redis_items, "_MOST_TOGETHER", 4)

        answers = batch(writer, items(50), **by(way, 50))

        assert outcomes(answers) == ["APPLIED"] * 50
        assert [redis_client.lrange(f"k{at}", 0, -1) for at in range(50)] == [[f"v{at}".encode()] for at in range(50)]

    def test_nothing_to_do_is_nothing(self, writer: RedisWriter, way: str) -> None:
        """An empty batch, and items that queue nothing."""
        assert batch(writer, []) == []
        answers = batch(writer, [1, 2], lambda _r, _p: None, **by(way, 2))
        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == [[], []]

    def test_an_atomic_batch_is_refused(self, writer: RedisWriter, redis_client: Client) -> None:
        """Redis undoes nothing, so all-or-nothing is not promised, and nothing is sent."""
        answers = batch(writer, items(2), atomic=True)

        assert all(isinstance(answer, InvalidRequestError) and answer.reason == "atomic" for answer in answers)
        assert redis_client.dbsize() == 0

    def test_a_handler_of_the_client_is_called_for_each(self, writer: RedisWriter) -> None:
        """What cannot queue is done one by one, with the same answers."""

        def work(request: WriteRequest, client: Client) -> Any:
            return client.incrby("n", request.payload)

        answers = batch(writer, [1, "x", 2], work, uses_client=True)

        assert outcomes(answers) == ["APPLIED", "NOT_APPLIED", "APPLIED"]
        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == [1, 3]

    def test_a_watching_item_has_a_block_of_its_own(self, writer: RedisWriter, redis_client: Client) -> None:
        """Watched keys need a connection to themselves; the other items are sent as ever."""

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            if request.payload == "watch":
                pipeline.watch("n")
                redis_client.incr("n")
                pipeline.multi()
            pipeline.incr("m")

        answers = batch(writer, [1, "watch", 1], work)

        assert outcomes(answers) == ["APPLIED", "NOT_APPLIED", "APPLIED"]
        assert redis_client.get("m") == b"2"
        assert isinstance(answers[1], WriteError)
        assert answers[1].reason == "serialization"

    def test_a_server_that_forgot_the_scripts_learns_them(
        self, writer: RedisWriter, redis_client: Client, way: str
    ) -> None:
        """Every batch brings along what it needs."""
        for _ in range(2):
            redis_client.script_flush()
            assert outcomes(batch(writer, items(3), **by(way, 3))) == ["APPLIED"] * 3

    def test_callbacks_run_for_what_was_applied(self, writer: RedisWriter, redis_client: Client, way: str) -> None:
        """After the commits, in order, and never for an item that failed; what fails is a warning of its item."""
        redis_client.set("bad", "x")
        ran: list[Any] = []

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.rpush(request.payload, 1)
            after_commit(lambda: ran.append((request.payload, redis_client.exists(request.payload))))
            if request.payload == "c":
                after_commit(lambda: ran.append(1 / 0))

        answers = batch(writer, ["a", "bad", "c"], work, **by(way, 3))

        assert ran == [("a", 1), ("c", 1)]
        assert outcomes(answers) == ["APPLIED", "NOT_APPLIED", "APPLIED"]
        assert isinstance(answers[2], WriteResult)
        assert "ZeroDivisionError" in answers[2].warnings[0]


class TestBadItems:
    """One item's fault is its own."""

    @pytest.mark.parametrize("bad", ["handler", "value", "type", "statement"])
    def test_a_bad_item_fails_alone(self, writer: RedisWriter, redis_client: Client, way: str, bad: str) -> None:
        """A handler that raises, a value without a form, a key of another type, a command that does not exist."""
        redis_client.set("text", "x")

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            if request.payload["key"] != "k2":
                put(request, pipeline)
            elif bad == "handler":
                raise KeyError("colour")
            elif bad == "value":
                pipeline.set("a", {"not": "a value"})
            elif bad == "type":
                pipeline.lpush("text", 1)
            else:
                pipeline.execute_command("NONSENSE")

        answers = batch(writer, items(5), work, **by(way, 5))

        assert outcomes(answers) == ["APPLIED", "APPLIED", "NOT_APPLIED", "APPLIED", "APPLIED"]
        error = answers[2]
        assert isinstance(error, WriteError)
        assert (error.retry, error.target, error.type) == (Retry.NEVER, "redis.cache", "test")
        assert [redis_client.get(f"count:k{at}") for at in (0, 1, 3, 4)] == [b"1"] * 4

    def test_a_half_done_item_is_partial_alone(self, writer: RedisWriter, redis_client: Client, way: str) -> None:
        """One of its commands failed after another took effect; its neighbours are whole."""
        redis_client.set("k1", "text")

        answers = batch(writer, items(3), **by(way, 3))

        assert outcomes(answers) == ["APPLIED", "PARTIAL", "APPLIED"]

    def test_a_discarded_block_applies_nothing_of_its_item(self, writer: RedisWriter, redis_client: Client) -> None:
        """Redis refuses a command when it is queued: the item is not applied, and the connection stays in step."""

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            put(request, pipeline)
            if request.payload["key"] == "k1":
                pipeline.execute_command("NONSENSE")

        answers = batch(writer, items(3), work)

        assert outcomes(answers) == ["APPLIED", "NOT_APPLIED", "APPLIED"]
        assert redis_client.exists("count:k1") == 0
        assert isinstance(answers[1], WriteError)
        assert answers[1].backend_code == "ERR"

    def test_errors_are_objects_of_their_own(self, writer: RedisWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """What ends several items is told to each by an error that belongs to it alone."""
        monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 3600.0))

        answers = batch(writer, items(3), fenced=True)

        assert len({id(answer) for answer in answers}) == 3


class TestKeys:
    """Items with idempotency keys."""

    def test_each_takes_effect_once(self, writer: RedisWriter, redis_client: Client) -> None:
        """Sent again, alone or in a batch, with new items between: old ones are replayed and new ones done."""
        keys = ["a", None, "c"]
        batch(writer, items(3), keys=keys)

        answers = batch(writer, items(4), keys=[*keys, "d"])

        replayed = [answer.replayed for answer in answers if isinstance(answer, WriteResult)]
        assert replayed == [True, False, True, False]
        assert [redis_client.get(f"count:k{at}") for at in range(4)] == [b"1", b"2", b"1", b"1"]

    def test_a_reused_key_is_its_items_fault(self, writer: RedisWriter) -> None:
        """The same key with another payload is INVALID_REQUEST for that item."""
        batch(writer, items(1), keys=["a"])

        answers = batch(writer, items(3), keys=["x", "a", "y"])

        assert outcomes(answers) == ["APPLIED", "NOT_APPLIED", "APPLIED"]
        assert isinstance(answers[1], InvalidRequestError)


class TestTogether:
    """Handlers that do many at once."""

    def test_many_are_one_block(self, writer: RedisWriter, redis_client: Client) -> None:
        """`handle_many` queues for all of them, and its data is by position."""
        calls: list[int] = []

        def many(requests: Sequence[WriteRequest], pipeline: Pipeline) -> list[Any]:
            calls.append(len(requests))
            pipeline.mset({request.payload["key"]: request.payload["value"] for request in requests})
            return [request.payload["value"] for request in requests]

        for fenced in (False, True):
            answers = batch(writer, items(3), many=many, fenced=fenced)
            assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == ["v0", "v1", "v2"]
        assert calls == [3, 3]
        assert redis_client.mget("k0", "k1", "k2") == [b"v0", b"v1", b"v2"]

    @pytest.mark.parametrize("fault", ["raises", "refused", "number"])
    def test_a_bad_one_among_them_fails_alone(self, writer: RedisWriter, redis_client: Client, fault: str) -> None:
        """What ends all of them without an effect has them done one by one."""
        redis_client.set("k1", "text")

        def many(requests: Sequence[WriteRequest], pipeline: Pipeline) -> list[Any]:
            if fault == "raises":
                raise ValueError
            if fault == "refused":
                pipeline.execute_command("NONSENSE")
            return [] if fault == "number" else [None] * len(requests)

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.rpush(request.payload["key"], 1)

        assert outcomes(batch(writer, items(3), work, many=many)) == ["APPLIED", "NOT_APPLIED", "APPLIED"]

    def test_a_part_of_them_is_partial_for_all(self, writer: RedisWriter, redis_client: Client) -> None:
        """If the one block is half done, nobody can say which of them it was."""
        redis_client.set("k1", "text")

        def many(requests: Sequence[WriteRequest], pipeline: Pipeline) -> list[Any]:
            for request in requests:
                pipeline.rpush(request.payload["key"], 1)
            return [None] * len(requests)

        assert outcomes(batch(writer, items(3), many=many)) == ["PARTIAL"] * 3

    def test_keys_have_them_done_one_by_one(self, writer: RedisWriter) -> None:
        """A key belongs to one write."""

        def many(_requests: Sequence[WriteRequest], _pipeline: Pipeline) -> list[Any]:
            raise AssertionError

        assert outcomes(batch(writer, items(2), many=many, keys=["a", "b"])) == ["APPLIED", "APPLIED"]


class TestTime:
    """Deadlines."""

    def test_what_was_not_sent_in_time_is_a_timeout(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock, way: str
    ) -> None:
        """A handler that uses up the time has applied nothing."""

        def slow(request: WriteRequest, pipeline: Pipeline) -> None:
            put(request, pipeline)
            virtual_clock.advance(3)

        answers = batch(writer, items(3), slow, deadline=Deadline.after(5, virtual_clock), **by(way, 3))

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers)
        assert outcomes(answers) == ["NOT_APPLIED"] * 3
        assert redis_client.dbsize() == 0

    def test_a_deadline_between_two_chunks_leaves_what_was_sent(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Chunks that were answered are applied; those that were not sent are a TIMEOUT."""
        monkeypatch.setattr(redis_batch, "_MOST_ITEMS", 2)
        taken = redis_batch.RedisBatch._read

        def slow(*args: Any) -> None:
            taken(*args)
            virtual_clock.advance(2)

        monkeypatch.setattr(redis_batch.RedisBatch, "_read", slow)

        answers = batch(writer, items(6), deadline=Deadline.after(7, virtual_clock))

        assert outcomes(answers) == ["APPLIED"] * 4 + ["NOT_APPLIED"] * 2
        assert isinstance(answers[-1], WriteTimeoutError)
        assert redis_client.exists(*[f"k{at}" for at in range(6)]) == 4

    @pytest.mark.parametrize("way", ["fenced", "keyed"])
    def test_what_is_taken_up_too_late_is_a_timeout(
        self, writer: RedisWriter, redis_client: Client, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The fence is in the scripts of a batch as well."""
        monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 3600.0))

        answers = batch(writer, items(3), **by(way, 3))

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers)
        assert redis_client.dbsize() == 0

    def test_no_connection_in_time_is_a_timeout_of_all(self, real_redis_url: str) -> None:
        """A pool that stays empty: nothing is sent."""
        client = redis.Redis.from_url(real_redis_url, max_connections=1)
        writer = RedisWriter("redis.cache", client)
        taken = client.connection_pool.get_connection()

        answers = batch(writer, items(2), deadline=Deadline.after(0.05))

        client.connection_pool.release(taken)
        assert [(answer.code, answer.reason) for answer in answers if isinstance(answer, WriteError)] == [
            (ErrorCode.TIMEOUT, "pool")
        ] * 2
        assert outcomes(batch(writer, items(2))) == ["APPLIED"] * 2
        client.close()


@pytest.mark.redis
class TestFaults:
    """A way to the server that breaks."""

    @pytest.fixture
    def client(self, real_redis_url: str) -> Iterator[Client]:
        """A client that goes straight to the server."""
        client = redis.Redis.from_url(real_redis_url)
        yield client
        client.close()

    @pytest.fixture
    def proxied(self, real_redis_url: str) -> Iterator[tuple[Proxy, RedisWriter]]:
        """A writer that goes through a proxy."""
        port = urlsplit(real_redis_url).port
        assert port is not None
        with Proxy(port) as proxy:
            client = redis.Redis.from_url(real_redis_url.replace(f":{port}", f":{proxy.port}"))
            yield proxy, RedisWriter("redis.cache", client, commit_grace=10)
            client.close()

    @pytest.mark.parametrize("way", ["block", "fenced"])
    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_what_was_sent_and_not_answered_is_unknown(
        self,
        client: Client,
        proxied: tuple[Proxy, RedisWriter],
        monkeypatch: pytest.MonkeyPatch,
        way: str,
        fault: Fault,
    ) -> None:
        """Of three chunks the second is lost: applied, unknown, and not applied, each as it is."""
        monkeypatch.setattr(redis_batch, "_MOST_ITEMS", 2)
        monkeypatch.setattr(redis_items, "_MOST_TOGETHER", 2)
        proxy, writer = proxied
        proxy._trigger = b"count:k2"
        proxy.arm(fault)

        answers = batch(writer, items(6), **by(way, 6))

        assert outcomes(answers) == ["APPLIED"] * 2 + ["UNKNOWN"] * 2 + ["NOT_APPLIED"] * 2
        assert [answer.retry for answer in answers if isinstance(answer, WriteError)] == [
            *[Retry.IF_IDEMPOTENT] * 2,
            *[Retry.SAFE] * 2,
        ]
        assert client.exists("count:k2", "count:k3") == (2 if fault is Fault.LOSE_ANSWER else 0)
        assert client.exists("count:k4", "count:k5") == 0

    @pytest.mark.parametrize("commands", [1, 2])
    def test_an_answer_that_breaks_the_connection_leaves_the_rest_unknown(self, commands: int) -> None:
        """redis-py breaks it over LOADING: that item is refused, and what came behind it can be sent again by key."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            for _ in range(commands):
                pipeline.incr("n")

        with (
            closing(Telling(lambda _words: b"-LOADING told\r\n")) as server,
            redis.Redis.from_url(f"redis://127.0.0.1:{server.port}") as client,
        ):
            answers = batch(RedisWriter("redis.cache", client), [1, 2, 3], work)

        assert [
            (answer.outcome, answer.reason, answer.retry) for answer in answers if isinstance(answer, WriteError)
        ] == [
            (Outcome.NOT_APPLIED, "not_ready", Retry.SAFE),
            *[(Outcome.UNKNOWN, "commit_unknown", Retry.IF_IDEMPOTENT)] * 2,
        ]

    def test_keys_tell_what_became_of_a_lost_answer(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """The answers are lost, the records are there: each item is a success with its own data."""
        proxy, writer = proxied
        proxy._trigger = b"count:k2"
        proxy.arm(Fault.LOSE_ANSWER)

        answers = batch(writer, items(4), keys=["a", "b", "c", "d"])

        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == [[1, 1]] * 4
        assert not any(answer.replayed for answer in answers if isinstance(answer, WriteResult))
        assert [client.get(f"count:k{at}") for at in range(4)] == [b"1"] * 4

    def test_keyed_items_whose_request_was_lost_can_be_sent_again(
        self, client: Client, proxied: tuple[Proxy, RedisWriter]
    ) -> None:
        """They stay unknown while they may still come; sent again, each takes effect once."""
        proxy, writer = proxied
        proxy._trigger = b"count:k2"
        proxy.arm(Fault.LOSE_REQUEST)
        keys = ["a", "b", "c", "d"]

        assert outcomes(batch(writer, items(4), keys=keys)) == ["UNKNOWN"] * 4
        assert outcomes(batch(writer, items(4), keys=keys)) == ["APPLIED"] * 4

        assert [client.get(f"count:k{at}") for at in range(4)] == [b"1"] * 4

    def test_a_server_that_nobody_runs_applies_nothing(self, private_redis: Callable[..., PrivateServer]) -> None:
        """Nothing was sent, so everything is safe to retry; and after a restart the same writer works."""
        server = private_redis(save="", appendonly="yes", appendfsync="always")
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client)
        assert outcomes(batch(writer, items(2), fenced=True)) == ["APPLIED"] * 2
        server.kill()

        answers = batch(writer, items(3), fenced=True)
        server.start()

        assert [(answer.outcome, answer.retry) for answer in answers if isinstance(answer, BackendError)] == [
            (Outcome.NOT_APPLIED, Retry.SAFE)
        ] * 3
        assert outcomes(batch(writer, items(2), fenced=True)) == ["APPLIED"] * 2
        assert client.get("count:k0") == b"2"
        client.close()

    def test_a_server_killed_in_the_middle_is_told_as_it_was(
        self, private_redis: Callable[..., PrivateServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between two chunks: what was answered is there after a restart, the rest is as the answers say."""
        monkeypatch.setattr(redis_batch, "_MOST_ITEMS", 10)
        server = private_redis(save="", appendonly="yes", appendfsync="always")
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client)
        read, seen = redis_batch.RedisBatch._read, []

        def killing(*args: Any) -> None:
            read(*args)
            seen.append(1)
            if len(seen) == 20:
                server.kill()

        monkeypatch.setattr(redis_batch.RedisBatch, "_read", killing)
        answers = batch(writer, items(50))
        monkeypatch.undo()
        server.start()

        there = [client.exists(f"k{at}") for at in range(50)]
        for answer, exists in zip(answers, there, strict=True):
            if isinstance(answer, WriteResult):
                assert exists
            elif answer.outcome is Outcome.NOT_APPLIED:
                assert not exists
        assert outcomes(answers)[:20] == ["APPLIED"] * 20
        assert "APPLIED" not in outcomes(answers)[20:]
        assert outcomes(answers)[30:] == ["NOT_APPLIED"] * 20
        client.close()

    def test_a_frozen_server_is_waited_for_no_longer_than_the_grace(
        self, private_redis: Callable[..., PrivateServer]
    ) -> None:
        """Fenced items that lay in its buffer never appear."""
        server = private_redis()
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client, commit_grace=0.2)
        batch(writer, items(1), fenced=True)
        server.pause()

        answers = batch(writer, items(3), fenced=True, deadline=Deadline.after(0.2))
        server.resume()

        assert outcomes(answers) == ["UNKNOWN"] * 3
        assert client.get("count:k0") == b"1"
        assert client.exists("count:k1") == 0
        client.close()
