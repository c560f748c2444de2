"""The worked examples, through the write manager and their writers."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from wellwired.errors import InvalidRequestError
from wellwired.handlers import Registry, traits
from wellwired.handlers.examples import cache_set, user_profile_update, user_profiles
from wellwired.operations import WriteRequest
from wellwired.writers import WriteManager
from wellwired.writers.redis import RedisWriter
from wellwired.writers.sql import SQLWriter

ADA = {"user_id": "u1", "name": "Ada", "email": "ada@example.org"}


@pytest.fixture
def profiles(sql_engine: sa.Engine) -> WriteManager:
    """A manager with the profiles' database."""
    user_profiles.metadata.create_all(sql_engine)
    return WriteManager([SQLWriter("sql.main", sql_engine, handlers=Registry(user_profile_update))])


def update(manager: WriteManager, **changes: Any) -> Any:
    """Sends one profile update."""
    return manager.write(WriteRequest("sql.main", "user_profile_update", {**ADA, **changes}))


class TestUserProfileUpdate:
    """A profile in a table."""

    def test_a_profile_is_made_and_changed(self, profiles: WriteManager, sql_engine: sa.Engine) -> None:
        """One row per user, with the last update's values and the time that the database keeps."""
        first = update(profiles)
        update(profiles, name="Ada L. 🙂")

        assert first.data == {"user_id": "u1"}
        with sql_engine.connect() as connection:
            (row,) = connection.execute(sa.select(user_profiles)).all()
        assert (row.name, row.email) == ("Ada L. 🙂", "ada@example.org")
        assert row.updated_at is not None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("user_id", ""),
            ("user_id", 7),
            ("user_id", "x" * 65),
            ("name", ""),
            ("name", None),
            ("email", "nobody"),
            ("email", "a b@example.org"),
            ("email", "a@b"),
            ("email", "a@example.org\n"),
            ("colour", "red"),
        ],
    )
    def test_a_payload_that_is_not_right_is_refused(self, profiles: WriteManager, field: str, value: Any) -> None:
        """The field is named; nothing is written."""
        with pytest.raises(InvalidRequestError, match=field):
            update(profiles, **{field: value})

    def test_it_may_be_sent_again(self) -> None:
        """It says so, and the manager relies on it."""
        assert traits(user_profile_update).idempotent
        assert traits(user_profile_update).backend == "sql"


class TestCacheSet:
    """A value in a cache."""

    def test_a_value_is_kept_for_a_while(self, redis_client: Any) -> None:
        """For ever, unless the payload says for how long."""
        manager = WriteManager([RedisWriter("redis.cache", redis_client, handlers=Registry(cache_set))])
        for payload in ({"key": "a", "value": {"x": 1}}, {"key": "b", "value": "y", "ttl": 5}):
            manager.write(WriteRequest("redis.cache", "cache_set", payload))

        assert (redis_client.get("a"), redis_client.get("b")) == (b'{"x":1}', b"y")
        assert redis_client.ttl("a") == -1
        assert 0 < redis_client.ttl("b") <= 5
