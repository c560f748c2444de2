"""Several writes to Redis in one step: nothing is sent before the commit, and then all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Proxy
from tests.writers.redis_kit import Client, Pipeline, count_up
from wellwired import WriteManager
from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import FunctionHandler, Handler, Registry, after_commit
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import Transacts, capabilities_of
from wellwired.writers._redis_clock import Limit, ServerClocks
from wellwired.writers._redis_unit import RedisUnit
from wellwired.writers.redis import RedisWriter


@pytest.fixture
def writer(redis_client: Client) -> RedisWriter:
    """A writer on an empty Redis."""
    return RedisWriter("redis.cache", redis_client)


@pytest.fixture
def unit(writer: RedisWriter) -> RedisUnit:
    """An open unit."""
    return writer.begin("redis.cache", deadline=Deadline.after(10))


def by(work: Callable[[WriteRequest, Any], Any], **traits: Any) -> Handler:
    """A handler that does this."""
    return FunctionHandler(work, type="test", backend="redis", **traits)


def add(unit: RedisUnit, work: Callable[[WriteRequest, Any], Any] = count_up, **options: Any) -> WriteResult[Any]:
    """One write of a unit."""
    request = WriteRequest("redis.cache", "test", {}, idempotency_key=options.pop("key", None))
    return unit.write(request, handler=by(work, **options))


def by_name(name: str) -> Callable[[WriteRequest, Pipeline], None]:
    """Queues to set a key."""

    def work(_request: WriteRequest, pipeline: Pipeline) -> None:
        pipeline.set(name, 1)

    return work


def inside(unit: RedisUnit, act: Callable[[], object]) -> None:
    """Does it behind a savepoint."""
    with unit.savepoint():
        act()


def failure(act: Callable[..., object], *args: Any, **options: Any) -> WriteError:
    """How it fails."""
    with pytest.raises(WriteError) as caught:
        act(*args, **options)
    return caught.value


class TestCommit:
    """What a commit does."""

    def test_it_is_a_writer_with_transactions(self, writer: RedisWriter) -> None:
        """It has the ability, savepoints included."""
        assert isinstance(writer, Transacts)
        assert capabilities_of(writer).savepoints

    @pytest.mark.parametrize("fenced", [False, True])
    def test_everything_is_applied_at_once(self, unit: RedisUnit, redis_client: Client, fenced: bool) -> None:
        """Nothing is there before the commit, and all of it after; results are what the handlers returned."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> str:
            pipeline.incr("n")
            return "done"

        results = [add(unit, work, fenced=fenced), add(unit, work, fenced=fenced), add(unit, count_up, fenced=fenced)]
        assert redis_client.dbsize() == 0
        assert unit.usable

        unit.commit()

        assert [result.data for result in results] == ["done", "done", None]
        assert redis_client.get("n") == b"3"
        assert not unit.usable
        assert unit.close() == ""

    def test_a_unit_without_writes_commits_nothing(self, unit: RedisUnit, redis_client: Client) -> None:
        """There may be nothing to do."""
        unit.commit()

        assert redis_client.dbsize() == 0

    @pytest.mark.parametrize("end", ["rollback", "close"])
    def test_what_is_not_committed_is_never_sent(self, unit: RedisUnit, redis_client: Client, end: str) -> None:
        """Rolled back or just closed: nothing happens, and nothing can happen any more."""
        add(unit)

        getattr(unit, end)()

        assert redis_client.dbsize() == 0
        assert not unit.usable
        assert failure(unit.commit).reason == "spoilt"
        assert failure(add, unit).reason == "spoilt"

    def test_a_command_that_fails_leaves_a_part(self, unit: RedisUnit, redis_client: Client) -> None:
        """Redis undoes nothing: PARTIAL, as for a single write."""
        redis_client.set("text", "x")
        add(unit)
        add(unit, lambda _r, p: p.lpush("text", 1) and None)

        error = failure(unit.commit)

        assert (error.outcome, error.retry, error.phase) == (Outcome.PARTIAL, Retry.NEVER, Phase.COMMIT)
        assert (error.target, error.type) == ("redis.cache", "transaction")
        assert redis_client.get("n") == b"1"

    def test_a_command_that_redis_does_not_know_discards_all(self, unit: RedisUnit, redis_client: Client) -> None:
        """In a MULTI block nothing of it is applied."""
        add(unit)
        add(unit, lambda _r, p: p.execute_command("NONSENSE") and None)

        assert failure(unit.commit).outcome is Outcome.NOT_APPLIED
        assert redis_client.dbsize() == 0

    def test_no_connection_is_held_while_handlers_run(self, real_redis_url: str) -> None:
        """A unit that thinks for long does not starve others of the pool."""
        client = redis.Redis.from_url(real_redis_url, max_connections=1)
        writer = RedisWriter("redis.cache", client)
        unit = writer.begin("redis.cache", deadline=Deadline.after(10))

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            client.set("other", 1)
            pipeline.incr("n")

        add(unit, work)
        unit.commit()

        assert client.get("n") == b"1"
        client.close()


class TestFailure:
    """A write of a unit that fails."""

    def test_it_spoils_the_unit(self, unit: RedisUnit, redis_client: Client) -> None:
        """Nothing of a unit is applied in which a write has failed; going on says why."""
        add(unit)

        def broken(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", 1)
            raise KeyError("colour")

        first = failure(add, unit, broken)

        assert (first.reason, first.outcome) == ("handler", Outcome.NOT_APPLIED)
        assert not unit.usable
        later = failure(unit.commit)
        assert (later.reason, later.__cause__) == ("spoilt", first)
        assert redis_client.dbsize() == 0

    @pytest.mark.parametrize("what", ["key", "client", "watch"])
    def test_what_cannot_be_part_of_it_is_refused(self, unit: RedisUnit, redis_client: Client, what: str) -> None:
        """An idempotency key, a handler of the client, and watched keys: refused with the reason, nothing sent."""
        if what == "key":
            error = failure(add, unit, key="k")
        elif what == "client":
            error = failure(add, unit, lambda _r, c: c.set("a", 1), uses_client=True)
        else:
            error = failure(add, unit, lambda _r, p: p.watch("a") and None)

        assert isinstance(error, InvalidRequestError)
        assert error.reason == "transaction"
        assert redis_client.dbsize() == 0
        assert redis_client.ping()

    def test_a_handler_cannot_send_for_itself(self, unit: RedisUnit, redis_client: Client) -> None:
        """Its pipeline is the writer's here as everywhere."""
        assert failure(add, unit, lambda _r, p: p.set("a", 1).execute()).reason == "handler"
        assert redis_client.dbsize() == 0


class TestSavepoints:
    """Going back means forgetting what was queued."""

    def test_a_block_that_fails_is_forgotten_alone(self, unit: RedisUnit, redis_client: Client) -> None:
        """What came before and after it is committed."""

        def broken(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("broken", 1)
            raise KeyError

        add(unit)
        assert failure(inside, unit, lambda: (add(unit, by_name("inner")), add(unit, broken))).reason == "handler"
        assert unit.usable
        with unit.savepoint():
            add(unit, by_name("kept"))
        unit.commit()

        assert sorted(redis_client.keys()) == [b"kept", b"last", b"n"]

    def test_they_nest(self, unit: RedisUnit, redis_client: Client) -> None:
        """An inner block that is kept goes with the outer one that is not."""

        def outer() -> None:
            inside(unit, lambda: add(unit))
            raise ValueError("outer")

        with pytest.raises(ValueError, match="outer"):
            inside(unit, outer)
        unit.commit()

        assert redis_client.dbsize() == 0

    def test_a_failure_that_was_hidden_fails_its_block(self, unit: RedisUnit, redis_client: Client) -> None:
        """Leaving the block as if nothing had happened does not commit its rest."""

        def hiding() -> None:
            add(unit)
            failure(add, unit, lambda _r, p: p.execute())

        assert failure(inside, unit, hiding).reason == "spoilt"
        assert unit.usable
        unit.commit()
        assert redis_client.dbsize() == 0


class TestTime:
    """The deadline is the unit's."""

    def test_it_does_not_begin_late(self, writer: RedisWriter, virtual_clock: VirtualClock) -> None:
        """After the deadline nothing is opened."""
        deadline = Deadline.after(5, virtual_clock)
        virtual_clock.advance(6)

        assert isinstance(failure(writer.begin, "redis.cache", deadline=deadline), WriteTimeoutError)

    @pytest.mark.parametrize("fenced", [False, True])
    def test_it_does_not_commit_late(
        self, writer: RedisWriter, redis_client: Client, virtual_clock: VirtualClock, fenced: bool
    ) -> None:
        """Nothing is sent after the deadline."""
        unit = writer.begin("redis.cache", deadline=Deadline.after(5, virtual_clock))
        add(unit, fenced=fenced)
        virtual_clock.advance(6)

        error = failure(unit.commit)

        assert isinstance(error, WriteTimeoutError)
        assert error.outcome is Outcome.NOT_APPLIED
        assert redis_client.dbsize() == 0

    def test_a_unit_of_fenced_handlers_is_fenced(
        self, unit: RedisUnit, redis_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Taken up after the deadline it is not done."""
        add(unit, fenced=True)
        add(unit, fenced=True)
        monkeypatch.setattr(ServerClocks, "limit", lambda *_: Limit(1, 3600.0))

        assert isinstance(failure(unit.commit), WriteTimeoutError)
        assert redis_client.dbsize() == 0

    @pytest.mark.redis
    def test_a_frozen_server_never_does_it_later(self, private_redis: Callable[..., PrivateServer]) -> None:
        """What lay in its buffer when the caller gave up does not appear."""
        server = private_redis()
        client = redis.Redis.from_url(server.url)
        writer = RedisWriter("redis.cache", client, commit_grace=0.2)
        warm = writer.begin("redis.cache", deadline=Deadline.after(10))
        add(warm, fenced=True)
        warm.commit()
        unit = writer.begin("redis.cache", deadline=Deadline.after(0.2))
        add(unit, fenced=True)
        server.pause()

        error = failure(unit.commit)
        server.resume()

        assert error.outcome is Outcome.UNKNOWN
        assert client.get("n") == b"1"
        client.close()


@pytest.mark.redis
class TestLost:
    """A commit without an answer."""

    @pytest.fixture
    def proxied(self, real_redis_url: str) -> Iterator[tuple[Proxy, RedisWriter]]:
        """A writer that goes through a proxy."""
        port = urlsplit(real_redis_url).port
        assert port is not None
        with Proxy(port, trigger=b"EXEC") as proxy:
            client = redis.Redis.from_url(real_redis_url.replace(f":{port}", f":{proxy.port}"))
            yield proxy, RedisWriter("redis.cache", client, commit_grace=0.2)
            client.close()

    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_it_is_unknown(self, proxied: tuple[Proxy, RedisWriter], fault: Fault) -> None:
        """Sent and not answered: UNKNOWN for the unit, and the writer goes on."""
        proxy, writer = proxied
        unit = writer.begin("redis.cache", deadline=Deadline.after(10))
        add(unit)
        proxy.arm(fault)

        error = failure(unit.commit)

        assert (error.outcome, error.retry, error.phase) == (Outcome.UNKNOWN, Retry.IF_IDEMPOTENT, Phase.COMMIT)
        again = writer.begin("redis.cache", deadline=Deadline.after(10))
        add(again)
        again.commit()


class TestManager:
    """Through the manager."""

    def test_a_transaction_of_the_manager(self, redis_client: Client) -> None:
        """Its block commits once, runs what is to be done after it, and undoes a nested block that failed."""
        ran: list[str] = []

        def work(request: WriteRequest, pipeline: Pipeline) -> None:
            after_commit(lambda: ran.append(request.payload["key"]))
            pipeline.set(request.payload["key"], 1)
            if request.payload["key"] == "bad":
                raise KeyError

        handler = FunctionHandler(work, type="set", backend="redis", fenced=True)
        manager = WriteManager([RedisWriter("redis.cache", redis_client, handlers=Registry(handler))])

        def nested(tx: Any) -> None:
            with tx.nested():
                tx.write(WriteRequest("redis.cache", "set", {"key": "b"}))
                tx.write(WriteRequest("redis.cache", "set", {"key": "bad"}))

        with manager.transaction("redis.cache") as tx:
            tx.write(WriteRequest("redis.cache", "set", {"key": "a"}))
            assert failure(nested, tx).reason == "handler"
            tx.write(WriteRequest("redis.cache", "set", {"key": "c"}))
            assert redis_client.dbsize() == 0
            assert ran == []

        assert sorted(redis_client.keys()) == [b"a", b"c"]
        assert ran == ["a", "c"]
