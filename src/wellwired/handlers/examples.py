"""Two worked examples of handlers: a profile in a table, a value in a cache.

`user_profile_update` shows a handler for a table with a payload model of its own, and `cache_set` one for Redis. Read
them beside your own; a deployment may also use them as they are.
"""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec
import sqlalchemy as sa

from wellwired.handlers.redis import set_value
from wellwired.handlers.sql import upsert

__all__ = ["UserProfileUpdate", "cache_set", "user_profile_update", "user_profiles"]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


user_profiles = sa.Table(
    "user_profiles",
    sa.MetaData(),
    sa.Column("user_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False, default=_now, onupdate=_now),
)


class UserProfileUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of ``user_profile_update``.

    Args:
        user_id: whose profile.
        name: how they want to be called.
        email: an address with one ``@`` and a dot behind it; more cannot be known without writing to it.
    """

    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    email: Annotated[str, msgspec.Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+\Z")]


user_profile_update = upsert(user_profiles, type="user_profile_update", payload=UserProfileUpdate)

cache_set = set_value(type="cache_set")
