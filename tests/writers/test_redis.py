"""The Redis writer, in process and on a real server: what is sent, what is applied, and what is said if not."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from tests.writers.redis_kit import Client, Pipeline, count_up, write
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Phase,
    RegistrationError,
    Retry,
    WriteTimeoutError,
)
from wellwired.handlers import Registry, handler
from wellwired.operations import WriteRequest
from wellwired.testing.clock import VirtualClock
from wellwired.writers import KeepsKeys, Listed, Writer
from wellwired.writers.redis import RedisWriter


@pytest.fixture
def writer(redis_client: Client) -> RedisWriter:
    """A writer on an empty Redis."""
    return RedisWriter("redis.cache", redis_client)


class TestQueued:
    """Handlers that queue on a pipeline."""

    def test_the_queued_commands_are_applied_and_answered(self, writer: RedisWriter, redis_client: Client) -> None:
        """Without a result of the handler's own the data is the list of answers, as the client gives them."""
        result = write(writer, count_up)

        assert (result.success, result.data, result.replayed) == (True, [1, True], False)
        assert redis_client.get("n") == b"1"

    def test_what_the_handler_returns_is_the_data(self, writer: RedisWriter) -> None:
        """A result of the handler's own comes first, falsy or not."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> int:
            pipeline.set("a", 1)
            return 0

        assert write(writer, work).data == 0

    def test_nothing_is_sent_while_the_handler_queues(self, writer: RedisWriter, redis_client: Client) -> None:
        """A handler that fails after queueing has applied nothing."""

        def broken(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", 1)
            raise KeyError("colour")

        with pytest.raises(BackendError, match="KeyError") as caught:
            write(writer, broken)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry) == (
            "handler",
            Outcome.NOT_APPLIED,
            Retry.NEVER,
        )
        assert redis_client.dbsize() == 0

    def test_nothing_queued_is_a_success(self, writer: RedisWriter) -> None:
        """A handler may find that there is nothing to do."""
        assert write(writer, lambda _r, _p: None).data == []

    def test_a_discarded_block_is_not_applied(self, writer: RedisWriter, redis_client: Client) -> None:
        """A command that Redis refuses to queue discards the whole block: not applied, never again."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", 1)
            pipeline.execute_command("NONSENSE")

        with pytest.raises(BackendError) as caught:
            write(writer, work)

        assert (caught.value.outcome, caught.value.retry, caught.value.reason, caught.value.backend_code) == (
            Outcome.NOT_APPLIED,
            Retry.NEVER,
            "statement",
            "ERR",
        )
        assert redis_client.dbsize() == 0

    def test_a_block_with_a_failed_command_is_partial(self, writer: RedisWriter, redis_client: Client) -> None:
        """Redis does not roll back: one bad command among good ones is PARTIAL, and the error says which."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", "secret-value")
            pipeline.lpush("text", "secret-value")

        with pytest.raises(BackendError, match=r"1 of 2 .* number 2 \(LPUSH\)") as caught:
            write(writer, work)

        assert (caught.value.outcome, caught.value.retry, caught.value.backend_code) == (
            Outcome.PARTIAL,
            Retry.NEVER,
            "WRONGTYPE",
        )
        assert "secret-value" not in str(caught.value)
        assert redis_client.get("a") == b"secret-value"

    def test_a_block_in_which_everything_failed_is_not_applied(self, writer: RedisWriter, redis_client: Client) -> None:
        """If no command took effect nothing is partial about it."""
        redis_client.set("text", "x")

        with pytest.raises(BackendError) as caught:
            write(writer, lambda _r, p: p.lpush("text", 1) and None)

        assert (caught.value.outcome, caught.value.reason) == (Outcome.NOT_APPLIED, "data")

    def test_a_value_that_cannot_be_encoded_is_not_sent(self, writer: RedisWriter, redis_client: Client) -> None:
        """redis-py's own complaint about a value is bad data, not applied."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", 1)
            pipeline.set("b", {"not": "a value"})

        with pytest.raises(BackendError) as caught:
            write(writer, work)

        assert (caught.value.outcome, caught.value.reason, caught.value.retry) == (
            Outcome.NOT_APPLIED,
            "data",
            Retry.NEVER,
        )
        assert redis_client.dbsize() == 0

    def test_a_watched_key_that_changed_is_safe_to_retry(self, writer: RedisWriter, redis_client: Client) -> None:
        """A handler may watch, read, and queue; if somebody else was faster the write is not applied, and safe."""
        redis_client.set("n", 1)

        def work(_request: WriteRequest, pipeline: Pipeline, meddle: bool) -> None:
            pipeline.watch("n")
            value = int(pipeline.get("n") or 0)
            if meddle:
                redis_client.set("n", 50)
            pipeline.multi()
            pipeline.set("n", value + 1)

        with pytest.raises(BackendError) as caught:
            write(writer, lambda r, p: work(r, p, True))
        assert (caught.value.outcome, caught.value.retry, caught.value.reason) == (
            Outcome.NOT_APPLIED,
            Retry.SAFE,
            "serialization",
        )

        assert write(writer, lambda r, p: work(r, p, False)).data == [True]
        assert redis_client.get("n") == b"51"

    def test_a_handler_cannot_execute_its_pipeline(self, writer: RedisWriter, redis_client: Client) -> None:
        """The writer sends the commands; a handler that tries is told so, and nothing is applied."""
        with pytest.raises(BackendError, match="must not execute") as caught:
            write(writer, lambda _r, p: p.set("a", 1).execute())

        assert (caught.value.reason, caught.value.outcome) == ("handler", Outcome.NOT_APPLIED)
        assert (caught.value.target, caught.value.type) == ("redis.cache", "test")
        assert redis_client.dbsize() == 0

    def test_a_handler_cannot_lose_its_commands(self, writer: RedisWriter, redis_client: Client) -> None:
        """Closing the pipeline forgets what was queued, which is no success."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            with pipeline:
                pipeline.set("a", 1)

        with pytest.raises(BackendError, match="must not close"):
            write(writer, work)
        assert redis_client.dbsize() == 0

    def test_a_write_error_of_a_handler_passes(self, writer: RedisWriter) -> None:
        """A handler may raise the library's own errors."""

        def picky(_request: WriteRequest, _pipeline: Pipeline) -> None:
            raise InvalidRequestError("too long", reason="length")

        with pytest.raises(InvalidRequestError) as caught:
            write(writer, picky)

        assert (caught.value.target, caught.value.reason) == ("redis.cache", "length")

    def test_an_answer_that_cannot_be_read_is_not_called_unapplied(
        self, writer: RedisWriter, redis_client: Client
    ) -> None:
        """A callback of the client's that fails comes after the commit, so the outcome is UNKNOWN."""

        def broken(_answer: Any, **_options: Any) -> Any:
            raise ValueError

        redis_client.set_response_callback("SET", broken)

        for key in (None, "k"):
            with pytest.raises(BackendError) as caught:
                write(writer, count_up, key=key)
            assert (caught.value.outcome, caught.value.retry) == (Outcome.UNKNOWN, Retry.NEVER)
        assert redis_client.get("n") == b"2"

    def test_connections_go_back_as_they_were(self, writer: RedisWriter, redis_client: Client) -> None:
        """After good and bad writes one connection serves all, with the timeout that it had."""
        redis_client.set("text", "x")
        for work in (
            count_up,
            lambda _r, p: p.lpush("text", 1) and None,
            lambda _r, p: p.execute_command("NO") and None,
        ):
            try:
                write(writer, work, deadline=Deadline.after(2))
            except BackendError:
                continue

        (connection,) = redis_client.connection_pool._available_connections
        sock = connection._sock
        assert not hasattr(sock, "gettimeout") or sock.gettimeout() == connection.socket_timeout


class TestDirect:
    """Handlers that use the client."""

    def test_it_is_given_a_client_and_its_result_is_the_data(self, writer: RedisWriter, redis_client: Client) -> None:
        """Commands are sent as they are called, and may depend on each other."""

        def work(_request: WriteRequest, client: Client) -> Any:
            client.set("a", 5)
            return client.incr("a")

        assert write(writer, work, uses_client=True).data == 6
        assert redis_client.get("a") == b"6"

    def test_a_failure_after_an_applied_command_is_partial(self, writer: RedisWriter, redis_client: Client) -> None:
        """What was sent before the failure stays, and is not hidden."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, client: Client) -> None:
            client.set("a", 5)
            client.lpush("text", 1)

        with pytest.raises(BackendError) as caught:
            write(writer, work, uses_client=True)

        assert (caught.value.outcome, caught.value.retry, caught.value.phase) == (
            Outcome.PARTIAL,
            Retry.NEVER,
            Phase.COMMIT,
        )

    def test_a_first_command_that_is_refused_applies_nothing(self, writer: RedisWriter, redis_client: Client) -> None:
        """Reads before it change nothing."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, client: Client) -> None:
            client.get("text")
            client.lpush("text", 1)

        with pytest.raises(BackendError) as caught:
            write(writer, work, uses_client=True)

        assert (caught.value.outcome, caught.value.reason) == (Outcome.NOT_APPLIED, "data")

    def test_a_fault_of_the_handler_after_an_applied_command_is_partial(self, writer: RedisWriter) -> None:
        """The handler's own exceptions hide no effects either."""

        def work(_request: WriteRequest, client: Client) -> None:
            client.set("a", 5)
            raise ValueError

        with pytest.raises(BackendError) as caught:
            write(writer, work, uses_client=True)

        assert (caught.value.outcome, caught.value.reason, caught.value.retry) == (
            Outcome.PARTIAL,
            "handler",
            Retry.NEVER,
        )

    def test_a_deadline_between_two_commands_is_partial_and_no_timeout(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock
    ) -> None:
        """TIMEOUT means not applied, so a write of which a part was applied is none."""

        def work(_request: WriteRequest, client: Client) -> None:
            client.set("a", 5)
            virtual_clock.advance(6)
            client.set("b", 5)

        with pytest.raises(BackendError) as caught:
            write(writer, work, uses_client=True, deadline=Deadline.after(5, virtual_clock))

        assert (caught.value.outcome, caught.value.retry) == (Outcome.PARTIAL, Retry.IF_IDEMPOTENT)
        assert redis_client.keys() == [b"a"]

    def test_pipelines_and_scripts_of_the_client_are_noted_too(self, writer: RedisWriter, redis_client: Client) -> None:
        """Whatever the client makes uses the write's own connections."""

        def work(_request: WriteRequest, client: Client) -> None:
            client.pipeline(transaction=False).set("a", 1).set("b", 2).execute()
            raise ValueError

        with pytest.raises(BackendError) as caught:
            write(writer, work, uses_client=True)

        assert caught.value.outcome is Outcome.PARTIAL
        assert sorted(redis_client.keys()) == [b"a", b"b"]

    def test_a_connection_that_the_handler_keeps_is_taken_from_it(self, redis_client: Client) -> None:
        """A subscription that a handler leaves open does not leak a connection."""
        writer = RedisWriter("redis.cache", redis_client)
        redis_client.connection_pool.max_connections = 1
        kept = []

        def work(_request: WriteRequest, client: Client) -> None:
            subscription = client.pubsub()
            subscription.subscribe("news")
            kept.append(subscription)

        write(writer, work, uses_client=True)

        assert redis_client.ping()
        assert write(writer, count_up).success
        kept.clear()

    def test_what_outlives_its_write_has_no_connection(self, real_redis_url: str) -> None:
        """A watching pipeline that is collected later says nothing on a connection that somebody else has by then."""
        client = redis.Redis.from_url(real_redis_url)
        writer = RedisWriter("redis.cache", client)
        kept: list[Any] = []

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            kept.append(pipeline)
            pipeline.watch("a")
            raise ValueError

        with pytest.raises(BackendError):
            write(writer, work)
        connection: Any = client.connection_pool.get_connection()
        sent: list[Any] = []
        connection.send_packed_command = lambda *words, **_: sent.append(words)
        kept.pop().reset()

        assert sent == []
        assert connection._sock is not None
        del connection.send_packed_command
        client.connection_pool.release(connection)
        client.close()

    def test_the_applications_client_is_left_alone(self, writer: RedisWriter, redis_client: Client) -> None:
        """The writer's stand-in shares nothing that closing it could break."""
        pool = redis_client.connection_pool

        write(writer, lambda _r, client: client.close(), uses_client=True)

        assert redis_client.connection_pool is pool
        assert redis_client.ping()


class TestDeadline:
    """TIMEOUT means not sent."""

    def test_commands_are_not_sent_late(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock
    ) -> None:
        """A handler that used up the time has applied nothing."""

        def slow(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", 1)
            virtual_clock.advance(6)

        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, slow, deadline=Deadline.after(5, virtual_clock))

        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert redis_client.dbsize() == 0

    def test_a_watch_that_becomes_late_is_left_at_once(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock
    ) -> None:
        """Between watching and sending the deadline counts as well, and the connection is not left watching."""

        def slow(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.watch("a")
            pipeline.multi()
            pipeline.set("a", 1)
            virtual_clock.advance(6)

        with pytest.raises(WriteTimeoutError):
            write(writer, slow, deadline=Deadline.after(5, virtual_clock))

        assert redis_client.dbsize() == 0
        assert write(writer, count_up).success

    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_full_pool_is_waited_for_no_longer_than_the_deadline(
        self, redis_client: Client, real_redis_url: str, blocking: bool
    ) -> None:
        """With every connection in use, by writes or by others, the write gives up at its deadline."""
        kind = redis.BlockingConnectionPool if blocking else redis.ConnectionPool
        client = redis.Redis(connection_pool=kind.from_url(real_redis_url, max_connections=1))
        writer = RedisWriter("redis.cache", client)
        taken = client.connection_pool.get_connection()

        deadline = Deadline.after(0.1)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, count_up, deadline=deadline)

        assert Deadline.after(0).at - deadline.at < 1
        assert (caught.value.reason, caught.value.phase) == ("pool", Phase.CHECKOUT)
        client.connection_pool.release(taken)
        assert write(writer, count_up).success
        client.close()


class TestIdentity:
    """What a writer says about itself, and what it refuses to work with."""

    def test_it_is_a_writer_that_lists_and_keeps_keys(self, redis_client: Client) -> None:
        """It has the abilities that the manager looks for, and finds the handlers for this backend."""

        @handler("a", backend="redis")
        def first(_request: WriteRequest, _pipeline: Any) -> None: ...

        @handler("b", backend="sql")
        def second(_request: WriteRequest, _connection: Any) -> None: ...

        writer = RedisWriter("redis.cache", redis_client, handlers=Registry(first), targets=["cache"])
        writer.register_handler(second)

        assert isinstance(writer, Writer)
        assert isinstance(writer, Listed)
        assert isinstance(writer, KeepsKeys)
        assert writer.keeps_keys
        assert writer.targets == ("redis.cache", "cache")
        assert writer.supports("cache")
        assert not writer.supports("redis.other")
        assert writer.find_handler("a") is first
        assert writer.find_handler("b") is None
        assert writer.types() == ("a",)
        assert repr(writer) == "RedisWriter('redis.cache')"

    def test_a_client_that_retries_by_itself_is_refused(self) -> None:
        """Ten hidden retries could apply a write eleven times: the error says how to make the client."""
        with pytest.raises(RegistrationError, match="NoBackoff"):
            RedisWriter("redis.cache", redis.Redis(retry=RedisRetry(NoBackoff(), 3)))
        with pytest.raises(RegistrationError, match="up to 10 times"):
            RedisWriter("redis.cache", redis.Redis())

        RedisWriter("redis.cache", redis.Redis(retry=RedisRetry(NoBackoff(), 0)))

    def test_what_is_no_client_is_refused(self) -> None:
        """A cluster's client has no single pool."""
        with pytest.raises(RegistrationError, match="cluster"):
            RedisWriter("redis.cache", object())  # type: ignore[arg-type]
