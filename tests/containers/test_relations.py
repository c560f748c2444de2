"""Tests of the two readings of who needs whom."""

from __future__ import annotations

from typing import Any

from wellwired.containers import Container, providers
from wellwired.containers._relations import Relations, declared, effective, families


class Core(Container):
    """A container to be nested."""

    clock = providers.Singleton(object)


class App(Container):
    """A family, its users, and what stands in for things."""

    settings = providers.Singleton(dict[str, Any])
    sql = providers.Named(
        providers.Callable(lambda it: {"main": 1, "audit": 2}, settings), lambda *_: providers.Resource(dict[str, Any])
    )
    main_user = providers.Singleton(dict[str, Any], pool=sql["main"])
    audit_user = providers.Singleton(dict[str, Any], pool=sql["audit"])
    every_user = providers.Singleton(dict[str, Any], pools=sql)
    core = providers.Container(Core)
    choice = providers.Selector(
        providers.Object("left"), left=providers.Resource(dict[str, Any]), right=providers.Resource(dict[str, Any])
    )


def names(app: Container, found: object) -> set[str]:
    """The ids among some providers."""
    ids = {provider: id for id, provider in app.ids().items()}
    return {ids[one] for one in found if one in ids}  # type: ignore[attr-defined]


def expanded() -> App:
    """A container whose families are known."""
    app = App()
    app.expand()
    return app


def test_members_of_a_family_have_users_of_their_own() -> None:
    """What depends on one member does not depend on its siblings, but whoever takes the family takes all."""
    app = expanded()
    relations = Relations(app.roots())
    assert names(app, relations.dependents([app.sql["main"]])) == {"sql", "main_user", "every_user"}
    assert names(app, relations.dependents([app.sql["audit"]])) == {"sql", "audit_user", "every_user"}


def test_of_a_whole_family_the_users_of_its_members_depend() -> None:
    """Overriding the family concerns all of them."""
    app = expanded()
    found = names(app, Relations(app.roots()).dependents([app.sql]))
    assert found >= {"main_user", "audit_user", "every_user"}


def test_everything_of_a_family_depends_on_the_settings() -> None:
    """Its members' providers too, which have no argument that says so."""
    app = expanded()
    relations = Relations(app.roots())
    users = relations.dependents([app.settings])
    assert names(app, users) == {"sql", "sql.main", "sql.audit", "main_user", "audit_user", "every_user"}
    assert app.sql["main"].target in users
    assert relations.fed_by([app.settings]) == [app.sql] and relations.fed_by([app.core.clock]) == []


def test_an_expanded_provider_is_remembered_by_its_member() -> None:
    """Which lasts when the family is expanded again."""
    app = expanded()
    relations = Relations(app.roots())
    target = app.sql["main"].target
    assert target is not None
    assert relations.lasting(target) is app.sql["main"]
    assert relations.lasting(app.main_user) is app.main_user


def test_effective_follows_what_stands_in() -> None:
    """A call of an overridden provider uses only its stand-in, yet what it was made of is still declared."""
    app = expanded()
    fake = providers.Object("fake")
    with app.main_user.override(fake):
        assert effective(app.main_user) == (fake,)
        assert set(declared(app.main_user)) == {app.sql["main"], fake}
    assert effective(app.main_user) == (app.sql["main"],)


def test_a_member_of_an_overridden_family_uses_the_family() -> None:
    """And its real provider is not opened for it."""
    app = expanded()
    member = app.sql["main"]
    assert app.sql not in effective(member)
    with app.sql.override({"main": "fake"}):
        assert effective(member) == (app.sql,)
        assert member.target in declared(member)


def test_branches_of_a_selector_are_not_needed_until_chosen() -> None:
    """They are declared, so they are closed; they are not effective, so they are not opened."""
    app = expanded()
    branches = set(app.choice.providers.values())
    assert branches <= set(declared(app.choice)) and not branches & set(effective(app.choice))


def test_a_nested_container_is_what_is_in_it() -> None:
    """Overridden or not."""
    app = expanded()
    assert app.core.clock in effective(app.core)
    app.core.override(Core())
    assert app.core.clock in effective(app.core)


def test_families_are_told_from_the_rest() -> None:
    """Only families."""
    app = expanded()
    assert families(app.roots()) == [app.sql]
