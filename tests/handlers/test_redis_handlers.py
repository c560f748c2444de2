"""The ready-made handlers for Redis, in process and on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from wellwired.errors import InvalidRequestError
from wellwired.handlers import Registry, traits, validate_payload
from wellwired.handlers import redis as ready
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest


def do(handler: Handler, client: Any, payload: dict[str, Any]) -> list[Any]:
    """What a writer would do with a payload: the answers to the queued commands."""
    request = WriteRequest("redis.cache", handler.type, payload)
    pipeline = client.pipeline(transaction=True)
    assert handler.handle(validate_payload(handler, request), pipeline) is None
    answers: list[Any] = pipeline.execute()
    return answers


set_value = ready.set_value(type="set_value")
delete_keys = ready.delete_keys(type="delete_keys")
hash_set = ready.hash_set(type="hash_set")
increment = ready.increment(type="increment")
stream_add = ready.stream_add(type="stream_add")


class TestSetValue:
    """One key, one value."""

    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            ("text", b"text"),
            (b"\x00\xff", b"\x00\xff"),
            (5, b"5"),
            (1.5, b"1.5"),
            ("", b""),
            ({"a": [1, None]}, b'{"a":[1,null]}'),
            ([], b"[]"),
            (True, b"true"),
            (None, b"null"),
        ],
    )
    def test_values_are_stored_as_they_are_or_as_json(self, redis_client: Any, value: Any, stored: bytes) -> None:
        """Texts, bytes and numbers stay; everything else is JSON."""
        assert do(set_value, redis_client, {"key": "k", "value": value}) == [True]

        assert redis_client.get("k") == stored
        assert redis_client.ttl("k") == -1

    def test_a_time_to_live_belongs_to_the_value(self, redis_client: Any) -> None:
        """Fractions of a second count; a value without one takes the old value's away."""
        do(set_value, redis_client, {"key": "k", "value": 1, "ttl": 2.5})
        assert 2400 < redis_client.pttl("k") <= 2500
        do(set_value, redis_client, {"key": "k", "value": 1, "ttl": 0.0001})
        do(set_value, redis_client, {"key": "k", "value": 2})

        assert redis_client.ttl("k") == -1

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "5"])
    def test_a_time_that_is_none_is_refused(self, redis_client: Any, ttl: Any) -> None:
        """A time to live is a positive, finite number of seconds."""
        with pytest.raises(InvalidRequestError, match="ttl"):
            do(set_value, redis_client, {"key": "k", "value": 1, "ttl": ttl})

    def test_a_value_without_json_form_is_refused(self, redis_client: Any) -> None:
        """What cannot be stored is named by its class, and nothing is sent."""
        with pytest.raises(InvalidRequestError, match="type object has no JSON form"):
            do(set_value, redis_client, {"key": "k", "value": object()})

        assert redis_client.dbsize() == 0


class TestDeleteKeys:
    """Keys that go."""

    def test_it_deletes_what_is_there(self, redis_client: Any) -> None:
        """The answer says how many there were."""
        redis_client.mset({"a": 1, "b": 2, "c": 3})

        assert do(delete_keys, redis_client, {"keys": ["a", "b", "none"]}) == [2]
        assert redis_client.keys() == [b"c"]

    def test_nothing_to_delete_is_refused(self, redis_client: Any) -> None:
        """An empty list is a mistake of the caller's."""
        with pytest.raises(InvalidRequestError):
            do(delete_keys, redis_client, {"keys": []})


class TestHashSet:
    """Fields of a hash."""

    def test_it_sets_the_given_fields(self, redis_client: Any) -> None:
        """Other fields stay; values are stored as everywhere; the hash's life is left alone."""
        redis_client.hset("h", mapping={"old": 1, "a": 1})
        redis_client.expire("h", 50)

        do(hash_set, redis_client, {"key": "h", "fields": {"a": 2, "b": {"x": 1}}})

        assert redis_client.hgetall("h") == {b"old": b"1", b"a": b"2", b"b": b'{"x":1}'}
        assert 0 < redis_client.ttl("h") <= 50

    def test_it_sets_the_life_of_the_hash(self, redis_client: Any) -> None:
        """With a time to live the whole hash goes at its end."""
        assert do(hash_set, redis_client, {"key": "h", "fields": {"a": 1}, "ttl": 10}) == [1, True]
        assert 9_000 < redis_client.pttl("h") <= 10_000


class TestIncrement:
    """A counter."""

    def test_it_counts(self, redis_client: Any) -> None:
        """By one, by more, or down; the answer is the new count."""
        assert do(increment, redis_client, {"key": "n"}) == [1]
        assert do(increment, redis_client, {"key": "n", "by": 5}) == [6]
        assert do(increment, redis_client, {"key": "n", "by": -2, "ttl": 20}) == [4, True]
        assert 0 < redis_client.ttl("n") <= 20

    def test_it_counts_whole_numbers_only(self, redis_client: Any) -> None:
        """A fraction is refused before anything is sent."""
        with pytest.raises(InvalidRequestError, match="by"):
            do(increment, redis_client, {"key": "n", "by": 1.5})


class TestStreamAdd:
    """Entries of a stream."""

    def test_it_appends_entries(self, redis_client: Any) -> None:
        """The answer is the entry's id."""
        (identity,) = do(stream_add, redis_client, {"key": "s", "fields": {"a": 1, "b": None}})

        assert redis_client.xrange("s") == [(identity, {b"a": b"1", b"b": b"null"})]

    def test_it_keeps_about_as_many_as_asked(self, redis_client: Any) -> None:
        """The oldest go, in the server's own steps."""
        for number in range(400):
            do(stream_add, redis_client, {"key": "s", "fields": {"n": number}, "max_length": 10})

        assert redis_client.xlen("s") < 400


class TestDeclaration:
    """What the handlers say about themselves."""

    def test_their_types_and_traits(self) -> None:
        """All are for Redis; counting and appending are not idempotent."""
        made = [set_value, delete_keys, hash_set, increment, stream_add]

        assert [traits(handler).idempotent for handler in made] == [True, True, True, False, False]
        assert {traits(handler).backend for handler in made} == {"redis"}
        assert len(Registry(*made).types("redis")) == 5

    @pytest.mark.parametrize("handler", [set_value, delete_keys, hash_set, increment, stream_add])
    def test_unknown_and_missing_fields_are_refused(self, handler: Any, redis_client: Any) -> None:
        """A misspelt field is an error, not a silence."""
        with pytest.raises(InvalidRequestError):
            do(handler, redis_client, {})
        with pytest.raises(InvalidRequestError):
            do(handler, redis_client, {"key": "k", "keys": ["k"], "value": 1, "fields": {"a": 1}, "tll": 5})
