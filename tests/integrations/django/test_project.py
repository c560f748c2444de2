"""The container of a Django project: made lazily, started at first use, one for each process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from tests.containers.forking import in_child
from tests.integrations import services
from tests.integrations.django.asking import log, text
from tests.integrations.django.containers import DjangoShop
from tests.integrations.django.shelf import jobs
from wellwired.containers import Container, Provide, inject, providers
from wellwired.errors import WellwiredError, WiringError
from wellwired.integrations.django import _project, container

PLACE = "tests.integrations.django.containers.DjangoShop"
SERVICES = "tests.integrations.services"


def test_nothing_opens_before_the_first_request(client: Client) -> None:
    """Setting Django up, and asking for the container unstarted, opens no pool; the first request does, once."""
    apps.get_app_config("wellwired").ready()
    assert _project._Current.project is None
    assert not container(start=False).started and log() == []
    client.get("/hello")
    client.get("/hello")
    assert log() == ["opened"]


def test_the_container_starts_at_its_first_use() -> None:
    """Outside of requests by asking for it; there is one for the process."""
    assert container().started and log() == ["opened"]
    assert container() is container(start=False)


def test_threads_that_ask_at_once_get_one_container() -> None:
    """One of them starts it, and the others wait."""
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(container())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1
    assert log() == ["opened"]


def test_an_override_before_the_start_opens_nothing_real(client: Client) -> None:
    """A test that replaces a pool never opens it."""
    with container(start=False).overriding({"pool": "fake"}):
        assert text(client.get("/hello")) == "hello from fake"
    assert "opened" not in log()


def test_a_module_that_no_view_imports_is_wired_when_it_is_called() -> None:
    """Tasks and the like are filled in by the project's container, without being listed."""
    assert jobs.greet("you") == "hello from pool you pool"


def test_a_module_that_is_imported_after_the_first_request_is_not_lost(
    client: Client, make_module: Callable[..., ModuleType]
) -> None:
    """Its functions are wired when they are called."""
    client.get("/hello")
    assert make_module("shelf.late", "greeting").find() == "hello from pool"


def test_a_late_module_is_checked_whole(client: Client, make_module: Callable[..., ModuleType]) -> None:
    """A marker in it that leads nowhere is an error at the first call of any of its functions."""
    client.get("/hello")
    with pytest.raises(WiringError, match="nowhere"):
        make_module("shelf.unfound", "nowhere").find()


def test_a_marker_that_leads_nowhere_fails_the_first_request(
    client: Client, make_module: Callable[..., ModuleType]
) -> None:
    """A module that has been imported is checked before a request is served, and again until it is mended."""
    make_module("shelf.astray", "astray")
    for _ in range(2):
        with pytest.raises(WiringError, match="astray"):
            Client().get("/hello")

    class Mended(DjangoShop):
        astray = providers.Object("found")

    with override_settings(WELLWIRED={"CONTAINER": Mended}):
        assert client.get("/hello").status_code == 200


@pytest.fixture
def broken_urls() -> Iterator[str]:
    """A URLconf that has not been imported yet."""
    name = "tests.integrations.django.broken_urls"
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("asked_before", [False, True])
def test_the_views_of_the_urlconf_are_checked_by_the_first_request(broken_urls: str, asked_before: bool) -> None:
    """Also by one to another view, and again where a test replaces the URLconf."""
    if asked_before:
        Client().get("/hello")
    with override_settings(ROOT_URLCONF=broken_urls), pytest.raises(WiringError, match="lost"):
        Client().get("/fine")


def test_a_forgotten_inject_fails_the_first_request(make_module: Callable[..., ModuleType]) -> None:
    """Also in a module where nothing is injected."""

    def bare(greeting: str = Provide["greeting"]) -> str:
        return greeting

    module = make_module("shelf.bare")
    bare.__module__ = module.__name__
    vars(module).update(bare=bare, Provide=Provide)
    with pytest.raises(WiringError, match="not decorated with"):
        Client().get("/hello")


def test_a_module_of_nobodys_is_refused(client: Client) -> None:
    """What is in no app, nor beside the URLconf or the container, has to be listed."""
    client.get("/hello")
    with pytest.raises(WiringError, match="is not wired"):
        services.greet()


@pytest.mark.parametrize(
    "listed", [{"MODULES": [SERVICES]}, {"PACKAGES": ("tests.integrations.django.shelf",), "MODULES": {SERVICES}}]
)
def test_a_module_that_is_listed_is_wired(client: Client, listed: dict[str, Any]) -> None:
    """By a request or by its first call, whichever comes first."""
    with override_settings(WELLWIRED={"CONTAINER": PLACE, **listed}):
        assert services.greet() == "hello from pool"
    with override_settings(WELLWIRED={"CONTAINER": PLACE, **listed}):
        client.get("/hello")
        assert services.greet() == "hello from pool"


def test_a_module_that_another_container_has_is_left_to_it(
    client: Client, make_module: Callable[..., ModuleType]
) -> None:
    """A test module may wire itself to a container of its own."""
    module = make_module("shelf.own", "greeting")
    other = DjangoShop(overrides={"greeting": "mine"})
    other.wire([module])
    assert client.get("/hello").status_code == 200
    assert module.find() == "mine"
    other.unwire()


def test_a_changed_setting_makes_another_container(client: Client) -> None:
    """A test that replaces the setting gets what it says, from a container that is stopped at its end."""
    first = container()
    with override_settings(WELLWIRED={"CONTAINER": "tests.integrations.shop:Shop"}):
        assert not first.started and first.log()[-1] == "closed"
        second = container()
        assert second is not first and second.title == "Shop"
        assert text(client.get("/hello")) == "hello from pool"
    assert not second.started
    assert container() is first and first.log()[-1] == "opened"


def test_replaced_settings_may_be_replaced_again(client: Client) -> None:
    """Each container comes back when its setting does, whether it had been made or not."""
    with override_settings(WELLWIRED={"CONTAINER": DjangoShop}):
        second = container()
        with override_settings(WELLWIRED=None):
            assert client.get("/hello").status_code == 500
        assert container() is second
        assert jobs.greet("you") == "hello from pool you pool"
    assert container() is not second


def test_other_settings_leave_the_container_alone(client: Client) -> None:
    """Replacing them costs nothing; another URLconf is looked at for what it brings."""
    first = container()
    with override_settings(DEBUG=True):
        assert container() is first
    with override_settings(ROOT_URLCONF="tests.integrations.django.other_urls"):
        assert text(client.get("/other")) == "other hello from pool"
    assert container() is first


def test_a_start_that_fails_is_tried_again(client: Client) -> None:
    """A request that finds the container broken fails; when it is mended the next one is served."""
    tries = iter([ConnectionError("no pool today")])

    def late() -> str:
        for error in tries:
            raise error
        return "late"

    class Late(DjangoShop):
        pool = providers.Resource(late)

    with override_settings(WELLWIRED={"CONTAINER": Late}):
        assert client.get("/hello").status_code == 500
        assert text(client.get("/hello")) == "hello from late"


def test_a_stopped_container_is_started_by_its_next_use(client: Client) -> None:
    """By a request, or by a function that is called."""
    jobs.greet("you")
    container().stop()
    assert client.get("/hello").status_code == 200
    container().stop()
    assert jobs.greet("you") == "hello from pool you pool"
    assert container(start=False).started and log() == ["opened", "closed"] * 2 + ["opened"]


@pytest.mark.parametrize("source", [PLACE, PLACE.replace(".DjangoShop", ":DjangoShop"), DjangoShop, DjangoShop()])
def test_a_container_can_be_named_in_many_ways(source: Any) -> None:
    """By its place, as a class, or as an instance."""
    with override_settings(WELLWIRED={"CONTAINER": source}):
        assert container().title == "DjangoShop"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (None, r"is missing; add WELLWIRED = \{"),
        ("shop.containers.Shop", "is a str and not a dict"),
        ({}, "names no container"),
        ({"CONTAINER": 3}, "is a int and not the place"),
        ({"CONTAINER": int}, "does not inherit wellwired.Container"),
        ({"CONTAINER": Container, "MODULE": []}, "unknown key 'MODULE'; did you mean 'MODULES'"),
        ({"CONTAINER": Container, "debug": True}, "unknown key 'debug'; it may have CONTAINER"),
        ({"CONTAINER": Container, "MODULES": "shop.views"}, "is not a list of dotted names"),
        ({"CONTAINER": Container, "PACKAGES": [services]}, "is not a list of dotted names"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: Any, why: str) -> None:
    """With a word about what to write, as an error that Django's users know."""
    with override_settings(WELLWIRED=setting), pytest.raises(ImproperlyConfigured, match=why) as raised:
        container(start=False)
    assert isinstance(raised.value, WellwiredError)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("shop", "module.Class"),
        ("tests.integrations.shop.Shopp", "has no 'Shopp'"),
        ("tests.integrations.shop.Visit", "no c"),
    ],
)
def test_a_place_without_a_container_is_refused(place: str, why: str) -> None:
    """With a word about what was looked for."""
    with override_settings(WELLWIRED={"CONTAINER": place}), pytest.raises(WellwiredError, match=why):
        container(start=False)


def test_each_process_starts_for_itself(client: Client) -> None:
    """A worker that was forked from a started project opens its own pool, and leaves the parent's alone."""
    client.get("/hello")

    def child() -> list[str]:
        Client().get("/hello")
        return log()

    assert in_child(child).count("opened") == 2
    assert log() == ["opened"]


def test_a_project_that_was_only_loaded_opens_in_the_child(client: Client) -> None:
    """As under gunicorn with --preload: the parent has set Django up and opened nothing."""

    def child() -> list[str]:
        Client().get("/hello")
        return log()

    assert container(start=False) is not None
    assert in_child(child) == ["opened"]
    assert log() == []


@pytest.fixture
def make_module() -> Iterator[Callable[..., ModuleType]]:
    """Makes a module of the test app, with a function that marks some ids."""
    made: list[str] = []

    def make(name: str, *ids: str) -> ModuleType:
        name = f"tests.integrations.django.{name}"
        module = sys.modules[name] = ModuleType(name)
        made.append(name)
        for id in ids:

            def find(found: Any = Provide[id]) -> Any:
                return found

            find.__module__ = name
            vars(module)["find"] = inject(find)
        return module

    yield make
    for name in made:
        del sys.modules[name]
