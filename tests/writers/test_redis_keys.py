"""Idempotency keys in Redis: the queued commands run once, and their answers are kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from tests.writers.redis_kit import Client, Pipeline, count_up, write
from tests.writers.sql_kit import running
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
)
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.redis import RedisWriter


@pytest.fixture
def writer(redis_client: Client) -> RedisWriter:
    """A writer on an empty Redis."""
    return RedisWriter("redis.cache", redis_client)


class TestKeys:
    """Idempotency keys."""

    def test_the_second_sending_replays_the_answers(self, writer: RedisWriter, redis_client: Client) -> None:
        """The same key and payload again: the same answers, marked as replayed, and no second effect."""
        first = write(writer, count_up, {"a": 1}, key="k")
        second = write(writer, count_up, {"a": 1}, key="k")

        assert (first.data, first.replayed) == ([1, True], False)
        assert (second.data, second.replayed) == ([1, True], True)
        assert redis_client.get("n") == b"1"

    def test_a_result_of_the_handlers_own_is_stored(self, writer: RedisWriter) -> None:
        """What the first run returned is replayed, whatever a second run would return."""
        results = iter(["first", "second"])

        def work(_request: WriteRequest, pipeline: Pipeline) -> str:
            pipeline.incr("n")
            return next(results)

        assert write(writer, work, key="k").data == "first"
        assert write(writer, work, key="k").data == "first"

    def test_another_payload_with_the_same_key_is_refused(self, writer: RedisWriter, redis_client: Client) -> None:
        """A key that was used for something else is INVALID_REQUEST."""
        write(writer, count_up, {"a": 1}, key="k")

        with pytest.raises(InvalidRequestError, match="another payload"):
            write(writer, count_up, {"a": 2}, key="k")

        assert redis_client.get("n") == b"1"

    def test_every_kind_of_answer_comes_back_the_same(self, writer: RedisWriter, redis_client: Client) -> None:
        """Numbers, texts, bytes, nothing, lists and words survive the way through the script, replayed or not."""
        redis_client.rpush("list", b"a;b", b"\x00\xff\r\n", "")
        redis_client.hset("hash", "f", "v")

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.set("a", "1")
            pipeline.get("none")
            pipeline.lrange("list", 0, -1)
            pipeline.incrby("big", 2**50)
            pipeline.delete("hash", "nothing")
            pipeline.incr("minus", -5)
            pipeline.lrange("nothing", 0, -1)

        plain = write(writer, work).data
        redis_client.delete("big", "minus")
        redis_client.hset("hash", "f", "v")
        once = write(writer, work, key="k").data

        assert once == plain == [True, None, [b"a;b", b"\x00\xff\r\n", b""], 2**50, 1, -5, []]
        assert write(writer, work, key="k").data == once

    def test_answers_of_an_earlier_handler_are_replayed_as_they_are(self, writer: RedisWriter) -> None:
        """If the handler has changed since, what was stored is still the truth about what was done."""
        write(writer, count_up, key="k")

        again = write(writer, lambda _r, p: p.delete("n") and None, key="k")

        assert (again.replayed, again.data) == (True, [1, b"OK"])

    def test_a_partial_write_stays_partial(self, writer: RedisWriter, redis_client: Client) -> None:
        """What took effect is not done again: sending it again reports the same part."""
        redis_client.set("text", "x")

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.incr("n")
            pipeline.lpush("text", 1)

        for _ in range(2):
            with pytest.raises(BackendError) as caught:
                write(writer, work, key="k")
            assert caught.value.outcome is Outcome.PARTIAL

        assert redis_client.get("n") == b"1"

    def test_a_write_that_failed_as_a_whole_leaves_its_key_free(
        self, writer: RedisWriter, redis_client: Client
    ) -> None:
        """Nothing was applied, so the same key may be tried again."""
        redis_client.set("n", "x")
        with pytest.raises(BackendError) as caught:
            write(writer, lambda _r, p: p.incr("n") and None, key="k")
        assert caught.value.outcome is Outcome.NOT_APPLIED
        redis_client.delete("n")

        assert write(writer, lambda _r, p: p.incr("n") and None, key="k").data == [1]

    def test_many_threads_with_one_key_are_one_write(self, writer: RedisWriter, redis_client: Client) -> None:
        """Sent by eight threads at once it is done once, and each thread gets the same answers."""
        start = threading.Barrier(8)

        def send() -> WriteResult[Any]:
            start.wait(10)
            return write(writer, count_up, key="k")

        with running(*[send] * 8) as results:
            pass

        assert [result.data for result in results] == [[1, True]] * 8
        assert sum(not result.replayed for result in results) == 1
        assert redis_client.get("n") == b"1"

    def test_a_key_is_forgotten_after_its_time(self, redis_client: Client) -> None:
        """The record has a time to live."""
        writer = RedisWriter("redis.cache", redis_client, key_ttl=100)
        write(writer, count_up, key="k")

        (name,) = redis_client.keys("wellwired:key:*")
        assert 95 < redis_client.ttl(name) <= 100

    def test_a_handler_that_uses_the_client_needs_no_key_or_cannot_have_one(self, writer: RedisWriter) -> None:
        """If doing it twice is harmless the key changes nothing; else it is refused with the reason."""

        def work(_request: WriteRequest, client: Client) -> None:
            client.set("a", 1)

        assert write(writer, work, key="k", uses_client=True, idempotent=True).success
        with pytest.raises(InvalidRequestError, match="uses the client") as caught:
            write(writer, work, key="k", uses_client=True)
        assert caught.value.outcome is Outcome.NOT_APPLIED

    def test_a_handler_that_watches_cannot_have_one(self, writer: RedisWriter) -> None:
        """What a watched key guards cannot be decided inside a script."""

        def work(_request: WriteRequest, pipeline: Pipeline) -> None:
            pipeline.watch("a")
            pipeline.multi()
            pipeline.set("a", 1)

        with pytest.raises(InvalidRequestError, match="watches"):
            write(writer, work, key="k")

    def test_a_client_that_decodes_gets_texts(self, real_redis_url: str) -> None:
        """With decode_responses the answers are texts, from the script as from anywhere."""
        client = redis.Redis.from_url(real_redis_url, decode_responses=True)
        writer = RedisWriter("redis.cache", client)
        client.rpush("list", "ü")

        assert write(writer, lambda _r, p: p.lrange("list", 0, -1) and None, key="k").data == [["ü"]]
        assert write(writer, lambda _r, p: p.lrange("list", 0, -1) and None, key="k").data == [["ü"]]
        client.close()
