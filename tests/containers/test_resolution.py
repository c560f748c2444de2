"""Markers lead to the provider of the wired container, whatever they name it by, and to no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers.wired import MakeModule, Shop, Users
from wellwired.containers import Container, providers, scope
from wellwired.errors import SettingsError, WiringError


def test_every_way_to_name_a_provider(shop: Shop, make_module: MakeModule) -> None:
    """Ids of members, nested and dotted ones, handles, reached values, and providers of the class itself."""
    views = make_module("""
        @inject
        def everything(
            main=Provide["sql.main"], dotted=Provide["sql.read.replica"], nested=Provide["core.clock"],
            handle=Provide["users.provider"], reached=Provide["users.provided.find"], own=Provide["<container>"],
            declared=Provide[Shop.users], member=Provide[Shop.sql["main"]], inner=Provide[Shop.core.clock],
            passed=Provide[Shop.users.provider], item=Provide[Shop.settings.provided["page"]], whole=Provide[Shop],
            theirs=Provider["users"], modified=Provide["settings", provided()["page"]], family=Provide["sql"],
        ):
            return locals()
    """)
    shop.wire([views])
    got = views.everything()
    assert got.pop("reached") == shop.users().find
    assert got == {
        "main": "pool main",
        "dotted": "pool read.replica",
        "nested": "tick",
        "handle": shop.users,
        "own": shop,
        "declared": shop.users(),
        "member": "pool main",
        "inner": "tick",
        "passed": shop.users,
        "item": 20,
        "whole": shop,
        "theirs": shop.users,
        "modified": 20,
        "family": {"main": "pool main", "read.replica": "pool read.replica"},
    }
    shop.stop()


def test_a_subclass_is_found_by_what_it_inherits(make_module: MakeModule) -> None:
    """A marker that names a provider of a base class gets what the subclass has in its place."""

    class Better(Shop):
        """Replaces a provider."""

        users = providers.Object("better")  # type: ignore[assignment]

    views = make_module("""
        @inject
        def show(users=Provide[Shop.users], by_id=Provide["users"]):
            return users, by_id
    """)
    with Better().wire([views]):
        assert views.show() == ("better", "better")


def test_a_provider_of_another_container_leads_nowhere(shop: Shop, make_module: MakeModule) -> None:
    """Neither a provider nor the container of a stranger is taken for ours."""

    class Other(Container):
        """A stranger."""

        users = providers.Object(1)

    views = make_module(
        """
        @inject
        def show(users=Provide[Other.users], reached=Provide[Other.users.provided.x], whole=Provide[Other]): ...
        """,
        Other=Other,
    )
    with pytest.raises(WiringError) as caught:
        shop.wire([views])
    assert len(caught.value.markers) == 3


def test_overrides_are_seen_at_each_call(shop: Shop, make_module: MakeModule) -> None:
    """Members, nested providers and whole families: what is bound is the provider, not its object."""
    views = make_module("""
        @inject
        def show(users=Provide["users"], main=Provide["sql.main"], clock=Provide[Shop.core.clock], all=Provide["sql"]):
            return users, main, clock, sorted(all)
    """)
    shop.wire([views])
    before = views.show()
    with shop.overriding({"users": 1, "sql.main": 2, "core.clock": 3}):
        assert views.show()[:3] == (1, 2, 3)
    with shop.overriding({"settings": {"sql": {"main": 1, "extra": 2}}}):
        assert views.show()[3] == ["extra", "main"]
    assert views.show() == before
    shop.stop()


def test_scoped_objects_are_those_of_the_callers_scope(shop: Shop, make_module: MakeModule) -> None:
    """The object is that of the scope in which the call is made."""
    views = make_module("""
        @inject
        def show(request=Provide["request"], again=Provide["request"]):
            return request, again
    """)
    shop.wire([views])
    with scope():
        first = views.show()
    with scope():
        second = views.show()
    assert first[0] is first[1]
    assert first[0] is not second[0]


def test_settings_that_cannot_be_read_do_not_stop_the_wiring(make_module: MakeModule) -> None:
    """A management command without environment can be wired: names of members are trusted, and judged by check()."""

    def broken() -> Any:
        raise SettingsError(["SHOP__SQL__MAIN__URL is required but not set"])

    class Broken(Shop):
        """Without its environment."""

        settings = providers.Singleton(broken)

    views = make_module("""
        @inject
        def show(users=Provide["users"], main=Provide["sql.main"]): ...
        @inject
        def plain(users=Provide["users"]):
            return users
    """)
    with Broken().wire([views]):
        assert isinstance(views.plain(), Users)
        with pytest.raises(SettingsError):
            views.show()
