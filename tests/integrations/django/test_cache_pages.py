"""Sessions, the page cache and template fragments on a store of the container, over whole requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import AsyncClient, Client, override_settings

from tests.integrations.django.test_cache import chosen
from wellwired.integrations.django import container

SITE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "wellwired.integrations.django.middleware.request_scope",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
LAYERS = ["memory!", pytest.param("memory:60,redis.cache!", marks=pytest.mark.redis)]


@pytest.fixture(params=LAYERS)
def site(
    request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A project whose pages and sessions are in one store."""
    if "redis" in request.param:
        monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", fresh_redis("redis"))
    monkeypatch.setenv("WELLWIRED__STORES__CACHE__LAYERS", request.param)
    with override_settings(
        **chosen(),
        INSTALLED_APPS=["django.contrib.sessions", "wellwired.integrations.django"],
        ROOT_URLCONF="tests.integrations.django.cached.urls",
        MIDDLEWARE=SITE,
        TEMPLATES=TEMPLATES,
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        CACHE_MIDDLEWARE_SECONDS=120,
    ):
        yield


@pytest.fixture
def sessions_table() -> Iterator[None]:
    """The table of sessions, for those that are in a database as well."""
    with connection.schema_editor() as editor:
        editor.create_model(Session)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Session)


def keys() -> list[str]:
    """What the store has."""
    return list(container().stores["cache"]().keys())


@pytest.mark.usefixtures("site")
class TestPages:
    """The page cache."""

    def test_a_page_is_made_once(self, client: Client) -> None:
        """By the middleware of the whole site, headers included, for each query apart."""
        first = client.get("/number")
        again = client.get("/number")
        assert again.content == first.content and again.headers["X-Made"] == "here"
        assert client.get("/number?page=2").content != first.content
        assert "max-age=120" in again.headers["Cache-Control"]

    def test_a_view_is_cached_for_itself(self, client: Client) -> None:
        """With its own time, in the store as in the answer."""
        first = client.get("/for-a-minute")
        assert client.get("/for-a-minute").content == first.content
        assert "max-age=60" in first.headers["Cache-Control"]

    def test_what_varies_is_kept_apart(self, client: Client) -> None:
        """One page for each region."""
        north = client.get("/regional", headers={"x-region": "north"}).content
        south = client.get("/regional", headers={"x-region": "south"}).content
        assert north != south
        assert client.get("/regional", headers={"x-region": "north"}).content == north

    def test_a_fragment_is_cached_by_what_it_is_about(self, client: Client) -> None:
        """A part of a page, for each value apart."""
        first = client.get("/fragment/ada?1").content
        assert client.get("/fragment/ada?2").content == first
        assert client.get("/fragment/bob?3").content != first

    def test_clearing_the_cache_makes_pages_anew(self, client: Client) -> None:
        """Nothing of them is left in any layer."""
        first = client.get("/number").content
        assert keys()
        caches["default"].clear()
        assert keys() == []
        assert client.get("/number").content != first


@pytest.mark.usefixtures("site")
class TestSessions:
    """Sessions in a store."""

    def visit(self, client: Client) -> Any:
        """How often the client was there."""
        return client.get("/visits").json()["visits"]

    def test_a_session_goes_on(self, client: Client) -> None:
        """From request to request; another client has another."""
        assert [self.visit(client) for _ in range(3)] == [1, 2, 3]
        assert self.visit(Client()) == 1

    def test_the_end_of_a_session_leaves_nothing(self, client: Client) -> None:
        """Its key is worth nothing any more, in any layer."""
        self.visit(client)
        key = client.cookies["sessionid"].value
        assert any(key in each for each in keys())
        client.get("/leave")
        assert not any(key in each for each in keys())
        client.cookies["sessionid"] = key
        assert self.visit(client) == 1

    def test_a_new_key_keeps_what_is_in_it(self, client: Client) -> None:
        """As at a login; the old one is gone."""
        self.visit(client)
        old = client.cookies["sessionid"].value
        client.get("/renew")
        assert self.visit(client) == 2 and client.cookies["sessionid"].value != old
        assert not any(old in each for each in keys())

    def test_asynchronous_views_have_the_same_session(self, client: Client) -> None:
        """By the twins of the cache."""
        self.visit(client)

        async def visit() -> list[Any]:
            same = AsyncClient()
            same.cookies["sessionid"] = client.cookies["sessionid"].value
            return [(await same.get("/avisits")).json()["visits"] for _ in range(2)]

        assert asyncio.run(visit()) == [2, 3] and self.visit(client) == 4

    @pytest.mark.usefixtures("sessions_table")
    def test_a_session_in_a_database_too_is_read_from_the_cache(
        self, client: Client, django_assert_queries: Callable[[], list[Any]]
    ) -> None:
        """And from the database when the cache has lost it."""
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cached_db"):
            assert self.visit(client) == 1
            assert Session.objects.count() == 1 and any("cached_db" in key for key in keys())
            reads = django_assert_queries()
            assert self.visit(client) == 2
            assert not [query for query in reads if query.startswith("SELECT") and "session_data" in query]
            caches["default"].clear()
            assert self.visit(client) == 3
            client.get("/leave")
            assert Session.objects.count() == 0 and keys() == []


@pytest.fixture
def django_assert_queries() -> Iterator[Callable[[], list[Any]]]:
    """Lists the statements that the database is sent from a moment on."""
    statements: list[Any] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    def begin() -> list[Any]:
        statements.clear()
        return statements

    with connection.execute_wrapper(note):
        yield begin
