"""An injected function of any colour gets what it lacks, and nothing that its caller gave is touched."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import weakref
from typing import Annotated, Any

import pytest

from tests.containers.wired import MakeModule, Shop, Users
from wellwired.containers import Container, Provide, inject, providers
from wellwired.containers import wiring as our_wiring
from wellwired.errors import DeclarationError, WiringError


def test_inject_without_a_marker_is_refused() -> None:
    """It is a mistake: a forgotten marker, or a decorator below that returned something else."""
    with pytest.raises(DeclarationError, match="finds no marked parameter"):
        inject(lambda users: users)
    with pytest.raises(DeclarationError, match="decorate its __init__"):
        inject(Users)
    with pytest.raises(DeclarationError, match="finds no marked parameter"):
        inject(functools.partial(Users.find, name="x"))


def test_what_the_caller_gives_is_left_alone(shop: Shop, make_module: MakeModule) -> None:
    """By position or by keyword, None included, wired or not: a unit test passes what it likes."""
    views = make_module("""
        @inject
        def show(name, users=Provide["users"], *, fresh=Provide["fresh"]):
            return name, users, fresh
    """)
    assert views.show(1, 2, fresh=3) == (1, 2, 3)
    assert views.show(1, users=None, fresh=0) == (1, None, 0)
    shop.wire([views])
    assert views.show(1, 2, fresh=None) == (1, 2, None)
    assert views.show(name=1, users=Provide["users"], fresh=1)[1] is shop.users()


def test_an_unwired_function_says_so(shop: Shop, make_module: MakeModule) -> None:
    """Before wiring, and after unwiring, a call is an error that names function, parameter and remedy."""
    views = make_module("""
        @inject
        def show(users=Provide["users"]):
            return users
    """)
    with pytest.raises(
        WiringError, match=rf"{views.__name__}.show\(users=Provide\['users'\]\).*is not wired.*wire\(\["
    ):
        views.show()
    with shop.wire([views]):
        assert views.show() is shop.users()
    with pytest.raises(WiringError, match="is not wired"):
        views.show()


def test_every_colour_of_function(shop: Shop, make_module: MakeModule) -> None:
    """Functions, generators, coroutines and asynchronous generators keep their colour and get their arguments."""
    views = make_module("""
        @inject
        async def coroutine(name, users=Provide["users"]):
            return users

        @inject
        def generator(users=Provide["users"]):
            sent = yield users
            yield sent
            return "end"

        @inject
        async def stream(users=Provide["users"]):
            try:
                yield users
                yield 2
            finally:
                closed.append(1)

        closed = []
    """)
    shop.wire([views])
    assert inspect.iscoroutinefunction(views.coroutine)
    assert inspect.isgeneratorfunction(views.generator)
    assert inspect.isasyncgenfunction(views.stream)

    running = views.generator()
    assert next(running) is shop.users()
    assert running.send("hello") == "hello"
    with pytest.raises(StopIteration, match="end"):
        next(running)

    async def collect() -> list[Any]:
        found = [await views.coroutine("x"), await views.coroutine("x", users=1)]
        stream = views.stream()
        found.append(await anext(stream))
        await stream.aclose()
        assert views.closed == [1]
        return found

    assert asyncio.run(collect()) == [shop.users(), 1, shop.users()]


def test_an_asynchronous_function_awaits_what_is_asynchronous(make_module: MakeModule) -> None:
    """A coroutine provider is awaited for a coroutine function; an awaitable that the caller gives is not touched."""

    async def fetch() -> int:
        return 7

    class Async(Container):
        """Provides a coroutine."""

        fetched = providers.Coroutine(fetch)

    views = make_module("""
        @inject
        async def show(value=Provide["fetched"]):
            return value
    """)

    async def run() -> list[Any]:
        given = asyncio.get_running_loop().create_future()
        return [await views.show(), await views.show(given) is given]

    with Async().wire([views]):
        assert asyncio.run(run()) == [7, True]

    plain = make_module("""
        @inject
        def show(value=Provide["fetched"]): ...
    """)
    with pytest.raises(WiringError, match="gives a coroutine, which only an async function awaits"):
        Async().wire([plain])


def test_methods_of_every_kind(shop: Shop, make_module: MakeModule) -> None:
    """Methods, constructors, class methods and static ones, with the decorators in either order, and nested classes."""
    views = make_module("""
        class View:
            @inject
            def __init__(self, users=Provide["users"]):
                self.users = users

            @inject
            def get(self, request, users=Provide["users"]):
                return users

            @classmethod
            @inject
            def made(cls, users=Provide["users"]):
                return users

            @inject
            @classmethod
            def above(cls, users=Provide["users"]):
                return cls, users

            @staticmethod
            @inject
            def static(users=Provide["users"]):
                return users

            class Inner:
                @inject
                def get(self, users=Provide["users"]):
                    return users

        class Child(View):
            pass
    """)
    shop.wire([views])
    users = shop.users()
    child = views.Child()
    assert [child.users, child.get(1), child.made(), child.static(), views.View.Inner().get()] == [users] * 5
    assert child.above() == (views.Child, users)


def test_the_shapes_of_views(shop: Shop, make_module: MakeModule) -> None:
    """A class-based view as Django makes one, and routes as Flask registers them, call the injected function."""
    views = make_module("""
        import functools

        routes = {}

        def route(path):
            def register(function):
                routes[path] = function
                return function
            return register

        def require_get(function):
            @functools.wraps(function)
            def wrapper(request, *args, **kwargs):
                assert request == "GET"
                return function(request, *args, **kwargs)
            return wrapper

        class View:
            @classmethod
            def as_view(cls):
                def view(request, *args, **kwargs):
                    return getattr(cls(), request.lower())(request, *args, **kwargs)
                view.__dict__.update(cls.get.__dict__)
                return view

            @inject
            def get(self, request, pk, users=Provide["users"]):
                return pk, users

        class_view = View.as_view()

        @route("/")
        @inject
        def index(users=Provide["users"]):
            return users

        @require_get
        @inject
        def below(request, users=Provide["users"]):
            return users

        @inject
        @require_get
        def above(request, users=Provide["users"]):
            return users
    """)
    shop.wire([views])
    users = shop.users()
    assert views.class_view("GET", 7) == (7, users)
    assert views.routes["/"]() is users
    assert views.below("GET") is users
    assert views.above("GET") is users


def test_a_dropped_function_leaves_nothing_behind(shop: Shop, make_module: MakeModule) -> None:
    """A thousand closures of a factory are a thousand closures only as long as somebody holds them."""
    views = make_module("""
        def create():
            @inject
            def show(users=Provide["users"]):
                return users
            return show
    """)
    shop.wire([views])
    gc.collect()
    before = len(our_wiring._sites)
    kept = weakref.ref(views.create())
    for _ in range(1000):
        views.create()
    gc.collect()
    assert kept() is None
    assert len(our_wiring._sites) == before


def test_typed_use(shop: Shop) -> None:
    """A marker fits any parameter, as a default and inside Annotated."""

    def show(users: Users = Provide["users"], hinted: Annotated[Users | None, Provide["users"]] = None) -> Users:
        return users

    assert list(inspect.signature(inject(show)).parameters) == ["users", "hinted"]
