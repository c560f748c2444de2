"""A module with a mark that nothing would ever fill in is refused, with the place and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers.wired import MakeModule, Shop, listed
from wellwired.containers import providers
from wellwired.errors import WiringError


def test_inject_above_a_registering_decorator_is_refused(shop: Shop, make_module: MakeModule) -> None:
    """The framework would call the bare function with the marker; whoever holds it is told."""
    views = make_module("""
        import weakref

        routes, objects, weak = {}, [], []

        class Route:
            def __init__(self, endpoint):
                self.endpoint = endpoint

        def in_dict(function):
            routes["/"] = function
            return function

        def in_object(function):
            objects.append(Route(function))
            return function

        def in_weak_reference(function):
            weak.append(weakref.ref(function))
            return function

        @inject
        @in_dict
        def first(users=Provide["users"]): ...

        @inject
        @in_object
        def second(users=Provide["users"]): ...

        @inject
        @in_weak_reference
        def third(users=Provide["users"]): ...

        @inject
        def fine(users=Provide["users"]): ...
    """)
    with pytest.raises(WiringError) as caught:
        shop.wire([views])
    text = listed(caught)
    assert len(caught.value.markers) == 3
    assert f"{views.__name__}.first: a dict holds it from before @inject" in text
    assert f"{views.__name__}.second: a Route holds it" in text
    assert f"{views.__name__}.third: a weak reference holds it" in text
    assert "put @inject below the decorator that registers it" in text


def test_flask_routes_in_the_wrong_and_the_right_order(shop: Shop, make_module: MakeModule) -> None:
    """With the real framework: the wrong order is refused, the right one serves."""
    flask = pytest.importorskip("flask")
    wrong = make_module(
        """
        @inject
        @app.get("/")
        def index(users=Provide["users"]):
            return users.find("ada")
        """,
        app=flask.Flask("wrong"),
    )
    with pytest.raises(WiringError, match=r"index: a dict holds it from before @inject"):
        shop.wire([wrong])
    right = make_module(
        """
        from flask import request

        @app.get("/")
        @inject
        def index(users=Provide["users"]):
            return users.find("ada")
        """,
        app=flask.Flask("right"),
    )
    shop.wire([right])
    assert right.app.test_client().get("/").text == "found ada"


def test_a_bare_function_under_a_name_of_its_own_is_fine(shop: Shop, make_module: MakeModule) -> None:
    """Whoever calls inject by hand may keep what it was made from in the module."""
    views = make_module("""
        def _show(users=Provide["users"]):
            return users

        show = inject(_show)
    """)
    shop.wire([views])
    assert views.show() is shop.users()


def test_a_traceback_that_was_shown_holds_nothing(shop: Shop, make_module: MakeModule) -> None:
    """pytest and debuggers read the locals of a failure's frames, which Python 3.11 and 3.12 then keep as dicts."""
    views = make_module("""
        @inject
        def fails(users=Provide["users"]):
            raise LookupError("on purpose")
    """)
    shop.wire([views])
    with pytest.raises(LookupError) as caught:
        views.fails()
    assert any("function" in entry.frame.f_locals for entry in caught.traceback)
    shop.unwire()
    shop.wire([views])


def test_a_marked_function_without_inject_is_refused(shop: Shop, make_module: MakeModule) -> None:
    """Functions, methods and what is below another decorator are found, but not those of other modules."""
    views = make_module("""
        import functools

        def show(name, users=Provide["users"]): ...

        def logged(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(*args)
            return wrapper

        @logged
        def wrapped(users: Annotated[Users, Provide["users"]]): ...

        def unreadable(users: Annotated[OnlyForTypeCheckers, Provide["users"]]): ...

        class View:
            def get(self, users=Provide["users"]): ...

            @classmethod
            def made(cls, users=Provide["users"]): ...

            @property
            def fine(self):
                return 1
    """)
    other = make_module("from_elsewhere = imported", imported=views.show)
    with pytest.raises(WiringError) as caught:
        shop.wire([views])
    assert len(caught.value.markers) == 5
    place = f"{views.__name__}.show(users=Provide['users'])"
    assert f"{place}: it is not decorated with @wellwired.containers.inject" in listed(caught)
    for name in ("wrapped(", "View.get(", "View.made(", "unreadable: the annotation of 'users'"):
        assert name in listed(caught)
    shop.wire([other])


def test_inject_of_dependency_injector_itself_is_refused(shop: Shop, make_module: MakeModule) -> None:
    """Its functions would stay unbound, for it is not its wiring that binds here."""
    views = make_module("""
        from dependency_injector import wiring

        @wiring.inject
        def show(users=wiring.Provide["users"]): ...
    """)
    with pytest.raises(WiringError, match=r"not decorated with @wellwired\.containers\.inject"):
        shop.wire([views])


def test_markers_in_attributes_are_refused(shop: Shop, make_module: MakeModule) -> None:
    """Of modules and classes, as values and as annotations: they would be filled in once and miss every override."""
    views = make_module("""
        users = Provide["users"]
        typed: Annotated[Users, Provide["users"]]

        class View:
            service = Provide["users"]
            hinted: Annotated[Users, Provide["users"]]
            plain: Annotated[int, 1] = 1
    """)
    with pytest.raises(WiringError) as caught:
        shop.wire([views])
    assert [line.partition(":")[0] for line in caught.value.markers] == [
        f"{views.__name__}.users",
        f"{views.__name__}.typed",
        f"{views.__name__}.View.service",
        f"{views.__name__}.View.hinted",
    ]
    assert "mark a parameter instead" in listed(caught)


def test_proxies_and_mocks_in_a_module_are_left_alone(shop: Shop, make_module: MakeModule) -> None:
    """A member that lies about its class, or raises when it is looked at, is not looked at."""

    def raising(*args: Any) -> Any:
        raise RuntimeError("working outside of a request")

    # As Flask's `request` is outside a request.
    proxy = type("Proxy", (), {"__class__": property(raising), "__getattr__": raising})

    views = make_module(
        """
        @inject
        def show(users=Provide["users"]):
            return users
        """,
        request=proxy(),
        one=providers,
    )
    shop.wire([views])
    assert views.show() is shop.users()
