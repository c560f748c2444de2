"""The Redis writer on a real server that fails, and over a way that breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from tests.servers import PrivateServer
from tests.servers.private import free_port
from tests.writers.proxy import Fault, Proxy
from tests.writers.redis_kit import Client, Pipeline, count_up, write
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    Outcome,
    Phase,
    Retry,
)
from wellwired.operations import WriteRequest
from wellwired.writers.redis import RedisWriter


@pytest.mark.redis
class TestFaults:
    """A real server, and a way to it that breaks."""

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
        with Proxy(port, trigger=b"EXEC") as proxy:
            client = redis.Redis.from_url(real_redis_url.replace(f":{port}", f":{proxy.port}"))
            yield proxy, RedisWriter("redis.cache", client, commit_grace=0.2)
            client.close()

    @pytest.mark.parametrize(("fault", "applied"), [(Fault.LOSE_ANSWER, b"1"), (Fault.LOSE_REQUEST, None)])
    def test_an_answer_that_is_lost_is_unknown(
        self, client: Client, proxied: tuple[Proxy, RedisWriter], fault: Fault, applied: bytes | None
    ) -> None:
        """EXEC was sent and nothing came back: UNKNOWN, whether it was applied or not; and sent only once."""
        proxy, writer = proxied
        proxy.arm(fault)

        with pytest.raises(BackendError) as caught:
            write(writer, count_up)

        assert (caught.value.outcome, caught.value.retry, caught.value.phase, caught.value.reason) == (
            Outcome.UNKNOWN,
            Retry.IF_IDEMPOTENT,
            Phase.COMMIT,
            "commit_unknown",
        )
        assert client.get("n") == applied
        assert write(writer, count_up).success

    def test_a_silent_server_is_unknown_after_deadline_and_grace(self, proxied: tuple[Proxy, RedisWriter]) -> None:
        """An answer is waited for until the grace after the deadline, and never called a TIMEOUT."""
        proxy, writer = proxied
        proxy.arm(Fault.SILENCE)

        deadline = Deadline.after(0.1)
        with pytest.raises(BackendError) as caught:
            write(writer, count_up, deadline=deadline)

        assert 0.19 < Deadline.after(0).at - deadline.at < 1.5
        assert caught.value.outcome is Outcome.UNKNOWN

    def test_a_client_that_learns_to_retry_later_sends_once_all_the_same(
        self, client: Client, proxied: tuple[Proxy, RedisWriter]
    ) -> None:
        """Retries that are switched on after the writer was made do not reach its commands."""
        proxy, writer = proxied
        write(writer, count_up)
        writer._client.set_retry(RedisRetry(NoBackoff(), 3))
        proxy.arm(Fault.LOSE_ANSWER)

        with pytest.raises(BackendError) as caught:
            write(writer, count_up)

        assert caught.value.outcome is Outcome.UNKNOWN
        assert client.get("n") == b"2"

    def test_a_silent_server_in_a_direct_write_is_unknown(self, proxied: tuple[Proxy, RedisWriter]) -> None:
        """The same for a single command of a handler that uses the client."""
        proxy, writer = proxied
        proxy._trigger = b"INCR"
        proxy.arm(Fault.SILENCE)

        with pytest.raises(BackendError) as caught:
            write(writer, lambda _r, c: c.incr("n"), deadline=Deadline.after(0.1), uses_client=True)

        assert (caught.value.outcome, caught.value.retry) == (Outcome.UNKNOWN, Retry.IF_IDEMPOTENT)

    def test_a_lost_request_with_a_key_can_be_sent_again(
        self, client: Client, proxied: tuple[Proxy, RedisWriter]
    ) -> None:
        """Sending it again ends with one effect and the right answers."""
        proxy, writer = proxied
        proxy._trigger = b"EVAL"
        proxy.arm(Fault.LOSE_REQUEST)
        with pytest.raises(BackendError) as caught:
            write(writer, count_up, key="k")
        assert caught.value.outcome is Outcome.UNKNOWN

        again = write(writer, count_up, key="k")

        assert (again.data, again.replayed) == ([1, True], False)
        assert client.get("n") == b"1"

    def test_a_lost_answer_while_watching_is_unknown(self, client: Client, proxied: tuple[Proxy, RedisWriter]) -> None:
        """redis-py calls that a changed key; it is told apart by the connection."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_ANSWER)

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.watch("n")
            pipeline.multi()
            pipeline.incr("n")

        with pytest.raises(BackendError) as caught:
            write(writer, work)

        assert caught.value.outcome is Outcome.UNKNOWN
        assert client.get("n") == b"1"

    def test_a_server_that_nobody_runs_is_unreachable(self) -> None:
        """A refused connection is not applied and safe to retry."""
        client = redis.Redis.from_url(f"redis://127.0.0.1:{free_port()}/0")

        with pytest.raises(BackendError) as caught:
            write(RedisWriter("redis.cache", client), count_up)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry, caught.value.phase) == (
            "connection",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
            Phase.CHECKOUT,
        )

    def test_a_connection_that_the_server_closed_is_replaced_without_a_word(self, client: Client) -> None:
        """Idle connections that the server has killed do not fail the next write."""
        writer = RedisWriter("redis.cache", client)
        write(writer, count_up)
        killer = redis.Redis.from_url(_url(client))
        killer.client_kill_filter(_type="normal", skipme=True)
        killer.close()

        assert write(writer, count_up).data == [2, True]

    def test_a_server_without_memory_is_capacity(self, private_redis: Callable[..., PrivateServer]) -> None:
        """OOM is not applied and to be retried slowly, with a key and without."""
        server = private_redis(maxmemory="1mb")
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client)

        for key in (None, "k"):
            with pytest.raises(BackendError) as caught:
                write(writer, lambda _r, p: p.set("a", "x") and None, key=key)
            assert (caught.value.reason, caught.value.outcome, caught.value.retry, caught.value.backend_code) == (
                "capacity",
                Outcome.NOT_APPLIED,
                Retry.SAFE,
                "OOM",
            )
        client.close()

    def test_a_read_only_server_is_left(self, private_redis: Callable[..., PrivateServer]) -> None:
        """After a failover the old primary refuses: not applied, safe, and the connection to it is dropped."""
        server = private_redis()
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client)
        write(writer, count_up)
        client.replicaof("127.0.0.1", "1")
        connection = client.connection_pool.get_connection()
        client.connection_pool.release(connection)

        with pytest.raises(BackendError) as caught:
            write(writer, count_up)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry) == (
            "read_only",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
        )
        assert connection._sock is None
        client.close()

    def test_a_frozen_server_costs_no_more_than_deadline_and_grace(
        self, private_redis: Callable[..., PrivateServer]
    ) -> None:
        """A server that takes commands and answers none leaves the write open, in bounded time."""
        server = private_redis()
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client, commit_grace=0.2)
        write(writer, count_up)
        server.pause()

        deadline = Deadline.after(0.1)
        with pytest.raises(BackendError) as caught:
            write(writer, count_up, deadline=deadline)

        assert Deadline.after(0).at - deadline.at < 1.5
        assert caught.value.outcome is Outcome.UNKNOWN
        server.resume()
        assert client.get("n") == b"2"
        client.close()


def _url(client: Client) -> str:
    given = client.connection_pool.connection_kwargs
    return f"redis://{given['host']}:{given['port']}/{given['db']}"
