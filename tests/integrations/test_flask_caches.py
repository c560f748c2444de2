"""Flask-Caching and Flask-Session on stores of an application's container, over whole requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from cachelib.serializers import JSONSerializer
from flask import Flask, render_template_string, request, session
from flask_caching import Cache
from flask_session import Session

from wellwired import Application
from wellwired.errors import StateError
from wellwired.integrations.cachelib import StoreCache
from wellwired.integrations.flask import Wellwired, container_of

TYPES = ["wellwired.integrations.cachelib.StoreCache", "wellwired.integrations.flask_caching.store_cache"]
LAYERS = ["memory!", pytest.param("memory:60,redis.cache!", marks=pytest.mark.redis)]

every_type = pytest.mark.parametrize("kind", TYPES, ids=["cachelib", "flask_caching"])


@pytest.fixture(autouse=True, params=LAYERS)
def stores(request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores of these layers."""
    if "redis" in request.param:
        monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", fresh_redis("redis"))
    monkeypatch.setenv("WELLWIRED__STORES__PAGES__LAYERS", request.param)
    monkeypatch.setenv("WELLWIRED__STORES__SESSIONS__LAYERS", request.param)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., Flask]:
    """Makes applications, each with a container of its own, stopped at the end."""

    def made(*extensions: Callable[[Flask], object], **config: Any) -> Flask:
        app = Flask("pages")
        app.config.update({"SECRET_KEY": "only for tests", "TESTING": True, **config})
        for extension in extensions:
            extension(app)
        request.addfinalizer(lambda: container_of(app, start=False).stop())
        return app

    return made


def wired(app: Flask) -> None:
    """Gives an application a container."""
    Wellwired(app, container=Application)


def keys(app: Flask, store: str = "pages") -> list[str]:
    """What a store of an application has."""
    return sorted(container_of(app).stores[store]().keys())


def behind(cache: Cache) -> StoreCache:
    """Ours behind Flask-Caching's."""
    found: Any = cache.cache
    assert isinstance(found, StoreCache)
    return found


@every_type
class TestFlaskCaching:
    """Caches of views and functions."""

    @pytest.mark.parametrize("wired_first", [True, False])
    def test_either_extension_may_come_first(self, make: Any, kind: str, wired_first: bool) -> None:
        """Nothing starts until the cache is used."""
        cache, numbers = Cache(), count(1)
        order = [wired, cache.init_app] if wired_first else [cache.init_app, wired]
        app: Flask = make(*order, CACHE_TYPE=kind, CACHE_STORE="stores.pages", CACHE_DEFAULT_TIMEOUT=77)

        @app.get("/number")
        @cache.cached()
        def number() -> str:
            return str(next(numbers))

        assert not container_of(app, start=False).started
        client = app.test_client()
        assert [client.get("/number").text for _ in range(3)] == ["1"] * 3
        assert keys(app) == ["view//number"]
        entry = container_of(app).stores["pages"]().layers[-1].store.get("view//number")
        assert entry is not None and entry.left == pytest.approx(77, abs=2)
        with app.app_context():
            cache.clear()
        assert client.get("/number").text == "2"

    def test_views_are_cached_by_what_they_were_asked(self, make: Any, kind: str) -> None:
        """With their own timeouts and prefixes, headers and codes included; a None is one when it is asked for."""
        cache, numbers = Cache(), count(1)
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages")

        @app.get("/query")
        @cache.cached(timeout=50, query_string=True)
        def query() -> Any:
            return f"{request.args['q']} {next(numbers)}", 203, {"X-Made": "here"}

        @cache.cached(key_prefix="nothing", cache_none=True)
        def nothing() -> None:
            next(numbers)

        client = app.test_client()
        first, other, again = client.get("/query?q=a"), client.get("/query?q=b"), client.get("/query?q=a")
        assert (first.text, other.text, again.text) == ("a 1", "b 2", "a 1")
        assert again.status_code == 203 and again.headers["X-Made"] == "here"
        with app.test_request_context():
            assert nothing() is None and nothing() is None
        assert next(numbers) == 4

    def test_functions_remember_their_arguments(self, make: Any, kind: str) -> None:
        """Until they are told to forget one call, a whole function, or a method of one object."""
        cache, numbers = Cache(), count(1)
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages")

        @cache.memoize(50)
        def add(a: int, b: int = 0) -> tuple[int, int]:
            return a + b, next(numbers)

        class Shelf:
            def __init__(self, name: str) -> None:
                self.name = name

            def __repr__(self) -> str:
                return f"Shelf({self.name})"

            @cache.memoize()
            def books(self) -> int:
                return next(numbers)

        with app.app_context():
            first, other = add(1, 2), add(2)
            assert add(1, b=2) == first and add(2) == other and first != other
            cache.delete_memoized(add, 1, 2)
            assert add(1, 2) != first and add(2) == other
            cache.delete_memoized(add)
            assert add(2) != other
            one, two = Shelf("one"), Shelf("two")
            books = [one.books(), two.books()]
            cache.delete_memoized(one.books)
            assert [one.books() == books[0], two.books() == books[1]] == [False, True]

    def test_parts_of_templates_are_cached(self, make: Any, kind: str) -> None:
        """By Flask-Caching's own tag."""
        cache, numbers = Cache(), count(1)
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages")
        text = "{% cache 60, 'part' %}{{ number() }}{% endcache %}"

        @app.get("/part")
        def part() -> str:
            return render_template_string(text, number=lambda: next(numbers))

        client = app.test_client()
        assert [client.get("/part").text for _ in range(2)] == ["1", "1"]

    def test_the_cache_itself_is_handed_on(self, make: Any, kind: str) -> None:
        """Every method of Flask-Caching's."""
        cache = Cache()
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages")
        with app.app_context():
            assert cache.set("a", 1) and cache.add("b", 2, timeout=0) and not cache.add("a", 3)
            assert cache.set_many({"c": 3}) == ["c"] and cache.get_many("a", "c", "d") == [1, 3, None]
            assert cache.get_dict("b") == {"b": 2} and cache.has("b") and cache.cache.inc("a") == 2
            assert cache.delete("a") and cache.delete_many("b", "d") == ["b", "d"]
            assert cache.unlink("c") == ["c"] and cache.get("c") is None
            assert behind(cache).store is container_of(app).stores["pages"]()

    def test_two_applications_have_two_caches(self, make: Any, kind: str) -> None:
        """One extension, one module of views, two containers."""
        cache = Cache(config={"CACHE_STORE": "stores.pages"})
        config = {"CACHE_TYPE": kind, "CACHE_STORE": "stores.pages"}
        one, other = make(wired, cache.init_app, **config), make(wired, cache.init_app, **config)
        with one.app_context():
            cache.set("key", "one")
        with other.app_context():
            assert behind(cache).store is container_of(other).stores["pages"]()
        with one.app_context():
            assert behind(cache).store is container_of(one).stores["pages"]() and cache.get("key") == "one"

    def test_a_serializer_is_used(self, make: Any, kind: str) -> None:
        """CACHE_SERIALIZER takes the place of pickle."""
        cache = Cache()
        app: Flask = make(
            wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages", CACHE_SERIALIZER=JSONSerializer
        )
        with app.app_context():
            cache.set("key", [1])
            assert cache.get("key") == [1] and behind(cache).store.get("key") == b"[1]"

    def test_a_test_puts_another_store_in_its_place(self, make: Any, kind: str) -> None:
        """By its id, before or after the cache was used."""
        cache = Cache()
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=kind, CACHE_STORE="stores.pages")
        with app.app_context():
            cache.set("key", "real")
            with container_of(app).overriding({"stores.pages": container_of(app).stores["sessions"]()}):
                assert cache.get("key") is None
            assert cache.get("key") == "real"


class TestFactory:
    """What Flask-Caching's way to make caches brings."""

    def test_it_works_outside_of_a_context(self, make: Any) -> None:
        """As Flask-Caching's own caches do, since it is told whose it is."""
        cache = Cache()
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=TYPES[1], CACHE_STORE="stores.pages")
        assert cache.set("key", 1) and cache.get("key") == 1 and keys(app) == ["key"]

    def test_a_prefix_of_ones_own_is_kept(self, make: Any) -> None:
        """And cleared alone; the usual one is left out, because a store has its namespace."""
        cache, other = Cache(config={"CACHE_KEY_PREFIX": "shop/"}), Cache()
        app: Flask = make(wired, cache.init_app, other.init_app, CACHE_TYPE=TYPES[1], CACHE_STORE="stores.pages")
        with app.app_context():
            cache.set("key", 1)
            other.set("key", 2)
            assert keys(app) == ["key", "shop/key"]
            cache.clear()
        assert keys(app) == ["key"]

    def test_options_are_handed_on(self, make: Any) -> None:
        """CACHE_OPTIONS may name the store as well."""
        cache = Cache(config={"CACHE_TYPE": TYPES[1], "CACHE_OPTIONS": {"store": "stores.sessions"}})
        app: Flask = make(wired, cache.init_app, CACHE_DEFAULT_TIMEOUT=timedelta(minutes=1))
        cache.set("key", 1)
        assert keys(app, "sessions") == ["key"] and cache.cache.default_timeout == 60

    def test_a_store_has_to_be_named(self, make: Any) -> None:
        """At once, where the application is known; else at the first use."""
        with pytest.raises(StateError, match=r"CACHE_STORE, such as \"stores\.pages\""):
            make(wired, Cache().init_app, CACHE_TYPE=TYPES[1])
        cache = Cache()
        app: Flask = make(wired, cache.init_app, CACHE_TYPE=TYPES[0])
        with app.app_context(), pytest.raises(StateError, match="CACHE_STORE"):
            cache.get("key")


class TestFlaskSession:
    """Sessions of Flask-Session."""

    @pytest.fixture
    def app(self, make: Any) -> Flask:
        """An application that counts visits."""
        sessions = StoreCache("stores.sessions")
        app: Flask = make(
            wired, Session, SESSION_TYPE="cachelib", SESSION_CACHELIB=sessions, PERMANENT_SESSION_LIFETIME=3600
        )

        @app.get("/visits")
        def visits() -> str:
            session["visits"] = session.get("visits", 0) + 1
            session["seen"] = [*session.get("seen", []), {"at": session["visits"]}]
            return str(session["visits"])

        @app.get("/leave")
        def leave() -> str:
            session.clear()
            return "bye"

        return app

    def test_a_session_goes_on(self, app: Flask) -> None:
        """From request to request; another client has another."""
        assert not container_of(app, start=False).started
        client = app.test_client()
        assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]
        assert app.test_client().get("/visits").text == "1"
        lies = keys(app, "sessions")
        assert len(lies) == 2 and all(key.startswith("session:") for key in lies)
        entry = container_of(app).stores["sessions"]().layers[-1].store.get(lies[0])
        assert entry is not None and entry.left == pytest.approx(3600, abs=5)

    def test_the_end_of_a_session_leaves_nothing(self, app: Flask) -> None:
        """Its cookie is worth nothing any more."""
        client = app.test_client()
        client.get("/visits")
        cookie = client.get_cookie("session")
        assert cookie is not None
        client.get("/leave")
        # An empty session of Flask-Session's keeps whether it is permanent, and nothing of the visitor.
        client.set_cookie("session", cookie.value)
        assert client.get("/visits").text == "1"

    def test_two_applications_have_their_own_sessions(self, make: Any) -> None:
        """Also with one cache object in the settings of both."""
        sessions = StoreCache("stores.sessions")
        config = {"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": sessions}
        one, other = make(wired, Session, **config), make(wired, Session, **config)
        for app in (one, other, one):
            with app.app_context():
                assert sessions.store is container_of(app).stores["sessions"]()
