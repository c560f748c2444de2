"""A module is wired all or not at all, to one container at a time, for as long as that one runs."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers as di_containers

from tests.containers.wired import HEADER, MakeModule, Shop, listed
from wellwired.containers import Container
from wellwired.containers import wiring as our_wiring
from wellwired.errors import DeclarationError, StateError, WiringError


def test_a_parameter_is_filled_in(shop: Shop, make_module: MakeModule) -> None:
    """What is named by an id comes as the provider gives it, next to what the caller gives."""
    views = make_module("""
        @inject
        def show(name, users: Users = Provide["users"]):
            return users.find(name), users
    """)
    shop.wire([views])
    assert views.show("ada") == ("found ada", shop.users())


def test_every_unresolved_marker_is_listed_and_nothing_is_wired(shop: Shop, make_module: MakeModule) -> None:
    """One error for all modules, each marker with function, parameter and what is near; the good stay unwired."""
    good = make_module("""
        @inject
        def fine(users=Provide["users"]): ...
    """)
    bad = make_module("""
        @inject
        def first(users=Provide["usrs"], db=Provide["sql.mian"]): ...

        class View:
            @inject
            def get(self, clock=Provide["core.clok"], method=Provide["start"], reached=Provide["nope.provided.x"]): ...

        @inject
        def odd(value=Provide[Users], foreign=Provide[Shop.users.provided], closed=Closing[Provide["request"]]): ...
    """)
    with pytest.raises(WiringError) as caught:
        shop.wire([good, bad])
    text = listed(caught)
    assert len(caught.value.markers) == 7
    for part in (
        f"{bad.__name__}.first(users=Provide['usrs']): no 'usrs' in Shop; did you mean 'users'?",
        f"{bad.__name__}.first(db=Provide['sql.mian']): no 'mian' in sql; did you mean 'main'?",
        f"{bad.__name__}.View.get(clock=Provide['core.clok'])",
        f"{bad.__name__}.View.get(method=Provide['start']): no 'start' in Shop",
        f"{bad.__name__}.View.get(reached=Provide['nope.provided.x'])",
        f"{bad.__name__}.odd(value=",
        "Closing would close a shared resource",
    ):
        assert part in text
    with pytest.raises(WiringError, match="is not wired"):
        good.fine()
    assert pickle.loads(pickle.dumps(caught.value)).markers == caught.value.markers


def test_a_failed_wiring_leaves_the_last_one_as_it_was(shop: Shop, make_module: MakeModule) -> None:
    """A module that was wired stays wired when wiring it again, with another, fails."""
    views = make_module("""
        @inject
        def show(users=Provide["users"]):
            return users
    """)
    bad = make_module("""
        @inject
        def show(users=Provide["usrs"]): ...
    """)
    shop.wire([views])
    with pytest.raises(WiringError):
        shop.wire([views, bad])
    assert views.show() is shop.users()


def test_one_module_has_one_container_at_a_time(shop: Shop, make_module: MakeModule) -> None:
    """A second container is refused, until the first is unwired, stopped or gone."""
    views = make_module("""
        @inject
        def show(own=Provide["<container>"]):
            return own
    """)
    shop.wire([views])
    second = Shop()
    with pytest.raises(StateError, match=rf"{views.__name__} is wired to another Shop.*overrides"):
        second.wire([views])
    assert views.show() is shop
    shop.unwire()
    second.wire([views])
    assert views.show() is second
    second.stop()
    third = Shop()
    third.wire([views])
    assert views.show() is third


def test_a_container_that_is_gone_gives_way() -> None:
    """Wiring keeps no handle on a container beyond what its functions are bound to."""
    wiring = our_wiring.Wiring(Shop(), ["somewhere"])
    gc.collect()
    assert wiring.container is None


def test_wiring_again_is_harmless(shop: Shop, make_module: MakeModule) -> None:
    """The same container may wire a module twice; an old handle then unwires nothing of the new wiring."""
    views = make_module("""
        @inject
        def show(users=Provide["users"]):
            return users
    """)
    first = shop.wire([views])
    second = shop.wire([views])
    first.unwire()
    assert views.show() is shop.users()
    second.unwire()
    with pytest.raises(WiringError):
        views.show()


def test_a_stopped_container_refuses_and_a_restarted_one_serves(shop: Shop, make_module: MakeModule) -> None:
    """Between stop and start nobody can open a pool that nobody would close; unwire() is for good."""
    views = make_module("""
        @inject
        def show(main=Provide["sql.main"]):
            return main
    """)
    shop.wire([views])
    with shop:
        assert views.show() == "pool main"
    shop.stop()
    with pytest.raises(WiringError, match="is not wired"):
        views.show()
    with shop:
        assert views.show() == "pool main"
    shop.start()
    shop.unwire()
    shop.stop()
    shop.start()
    with pytest.raises(WiringError, match="is not wired"):
        views.show()
    shop.stop()


def test_a_function_made_after_the_wiring_is_bound_at_once(shop: Shop, make_module: MakeModule) -> None:
    """Views inside an application factory work whenever the factory is called, and a typo in one is an error there."""
    views = make_module("""
        def create(id):
            @inject
            def show(users=Provide[id]):
                return users
            return show
    """)
    early = views.create("users")
    shop.wire([views])
    assert early() is shop.users()
    assert views.create("users")() is shop.users()
    with pytest.raises(WiringError, match="did you mean 'users'"):
        views.create("usrs")


def test_modules_by_name_and_packages(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_module: MakeModule
) -> None:
    """A module may be named, relatively too, alone or in a list; a package brings everything in it."""
    package = tmp_path / "wired_package"
    (package / "inner").mkdir(parents=True)
    source = HEADER + '@inject\ndef show(users=Provide["users"]):\n    return users\n'
    for name in ("__init__.py", "views.py", "inner/__init__.py", "inner/api.py"):
        (package / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with shop.wire("wired_package.views") as wiring:
        assert wiring.modules == ("wired_package.views",)
    with shop.wire([".views"], from_package="wired_package"):
        assert sys.modules["wired_package.views"].show() is shop.users()
    with shop.wire(packages=["wired_package"]) as wiring:
        assert sorted(wiring.modules) == [
            "wired_package",
            "wired_package.inner",
            "wired_package.inner.api",
            "wired_package.views",
        ]
        assert sys.modules["wired_package.inner.api"].show() is shop.users()
    with pytest.raises(ModuleNotFoundError):
        shop.wire(["wired_package.typo"])
    for name in [name for name in sys.modules if name.startswith("wired_package")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_wiring_configuration_is_refused() -> None:
    """It would wire each instance as it is made, and the second one would be refused its module."""

    class Configured(Container):
        """Declares its modules."""

        wiring_config = di_containers.WiringConfiguration(modules=["sys"])

    with pytest.raises(DeclarationError, match="leave it out"):
        Configured()


def test_racing_calls_and_wirings_see_all_or_nothing(shop: Shop, make_module: MakeModule) -> None:
    """While one thread wires and unwires, calls in others get every argument or the error, never a marker."""
    views = make_module("""
        @inject
        def show(a=Provide["users"], b=Provide["users"], c=Provide["users"]):
            return a, b, c
    """)
    done = threading.Event()
    wrong: list[Any] = []

    def call() -> None:
        while not done.is_set():
            try:
                got = views.show()
            except WiringError:
                continue
            if got != (shop.users(),) * 3:
                wrong.append(got)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(50):
        with shop.wire([views]):
            pass
    done.set()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_containers_that_share_a_module_serve_their_own_calls(shop: Shop, make_module: MakeModule) -> None:
    """Each call is filled in by the container that serves it; one that nobody serves is refused."""
    views = make_module("""
        @inject
        def show(own=Provide["<container>"]):
            return own
    """)
    shop.wire([views], shared=True)
    assert views.show() is shop
    second = Shop()
    second.wire([views], shared=True)
    with pytest.raises(WiringError, match=r"2 containers share .*none of them serves this call"):
        views.show()
    with shop.serving():
        assert views.show() is shop
        with second.serving():
            assert views.show() is second
    second.stop()
    assert views.show() is shop
    third = Shop()
    third.wire([views], shared=True)
    with second.serving(), pytest.raises(WiringError, match="none of them serves"):
        views.show()
    second.start()
    with second.serving():
        assert views.show() is second
    second.stop()


def test_sharing_takes_both(shop: Shop, make_module: MakeModule) -> None:
    """A module that one container has to itself is not shared by another, nor the other way round."""
    views = make_module("""
        @inject
        def show(own=Provide["<container>"]):
            return own
    """)
    second = Shop()
    shop.wire([views])
    with pytest.raises(StateError, match="wired to another Shop"):
        second.wire([views], shared=True)
    shop.unwire()
    second.wire([views], shared=True)
    with pytest.raises(StateError, match="wired to another Shop"):
        shop.wire([views])
