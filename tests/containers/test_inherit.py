"""Tests of inheritance: what a class replaces is replaced for all that it inherited, however deep it lies."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="assignment"

from __future__ import annotations

from typing import Any

import pytest

from wellwired.containers import Container, providers


class Settings:
    """Settings with an identity."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sql = {"main": f"{name} main", "audit": f"{name} audit"}


class App(Container):
    """Everything that can lead to the settings, in every way that a provider can hold another."""

    settings = providers.Singleton(Settings, "app")
    clock = providers.Singleton(object)
    engine = providers.Resource(dict[str, Any], url=settings.provided.sql["main"])
    sql = providers.Named(settings.provided.sql, lambda key, url: providers.Resource(dict[str, Any], url=url))
    stores = providers.Named(
        {"users": "main"},
        lambda key, name, *, sql: providers.Singleton(dict[str, Any], pool=sql[name]),
        deps={"sql": sql},
    )
    by_list = providers.Factory(dict[str, Any], them=providers.List(engine, providers.Dict(inner=engine)))
    by_attribute = providers.Factory(dict[str, Any], name=settings.provided.name)
    by_member = providers.Factory(dict[str, Any], pool=sql["main"])
    by_item = providers.Factory(dict[str, Any], url=sql.provided["audit"]["url"])
    by_method = providers.Factory(dict[str, Any], upper=settings.provided.name.upper.call())
    by_provider = providers.Factory(dict[str, Any], engine=engine.provider)
    by_callable = providers.Callable(lambda engine: engine, engine)
    by_selector = providers.Selector(settings.provided.name, app=engine, shop=engine, left=engine)
    unrelated = providers.Singleton(dict[str, Any], clock=clock)

    names = (
        "engine", "sql", "stores", "by_list", "by_attribute", "by_member", "by_item", "by_method", "by_provider",
        "by_callable", "by_selector",
    )  # fmt: skip


class Shop(App):
    """Replaces the settings and nothing else."""

    settings = providers.Singleton(Settings, "shop")


def seen(container: Any) -> dict[str, str]:
    """What each provider of the container sees of its settings."""
    result = {name: str(getattr(container, name)()) for name in App.names if name != "by_provider"}
    result["by_provider"] = str(container.by_provider()["engine"]())
    container.stop()
    return result


def test_all_that_was_inherited_uses_the_replacement() -> None:
    """In arguments, lists, dicts, families, members, attributes, items, calls, delegates and selectors."""
    for name, value in seen(Shop()).items():
        assert "shop" in value.lower() and "app" not in value.lower(), name


def test_the_parent_is_untouched() -> None:
    """Its providers, and the containers made of it, are as before."""
    for name, value in seen(App()).items():
        assert "app" in value.lower() and "shop" not in value.lower(), name
    assert App.settings is not Shop.settings


def test_what_does_not_lead_to_the_replacement_is_shared() -> None:
    """Only what has to change is copied."""
    assert Shop.clock is App.clock and Shop.unrelated is App.unrelated
    assert all(getattr(Shop, name) is not getattr(App, name) for name in App.names)


def test_a_class_that_replaces_nothing_shares_everything() -> None:
    """A subclass with new providers only uses the very providers of its base."""

    class More(App):
        more = providers.Factory(dict[str, Any], engine=App.engine)

    assert all(getattr(More, name) is getattr(App, name) for name in (*App.names, "settings"))
    more = More()
    assert more.more()["engine"] is more.engine()
    more.stop()


def test_references_to_the_base_in_the_body_mean_the_class_itself() -> None:
    """`App.engine` in the body of a subclass is the engine that the subclass has in the end."""

    class Own(App):
        settings = providers.Singleton(Settings, "own")
        user = providers.Factory(
            dict[str, Any], engine=App.engine, member=App.sql["audit"], name=App.settings.provided.name
        )
        deep = providers.Singleton(dict[str, Any], user=user)

    own = Own()
    assert own.user()["engine"] is own.engine() and own.engine() == {"url": "own main"}
    assert own.user()["member"] == {"url": "own audit"} and own.user()["name"] == "own"
    assert own.deep()["user"] == own.user()
    own.stop()


def test_inheritance_over_several_levels() -> None:
    """Each level replaces something, and the last has it all."""

    class Second(Shop):
        clock = providers.Object("second")

    class Third(Second):
        settings = providers.Singleton(Settings, "third")
        user = providers.Factory(dict[str, Any], a=App.engine, b=Shop.engine, c=Second.engine, d=App.clock)

    third = Third()
    assert third.unrelated() == {"clock": "second"}
    assert third.user() == {key: third.engine() for key in "abc"} | {"d": "second"}
    assert all(third.user()[key] is third.engine() for key in "abc")
    third.stop()
    second = Second()
    assert second.engine() == {"url": "shop main"} and second.unrelated() == {"clock": "second"}
    second.stop()


def test_inside_a_replacement_the_name_means_the_bases_provider() -> None:
    """As with super(): a replacement may wrap what it replaces, and everybody else gets the wrapper."""

    class Traced(App):
        engine = providers.Resource(
            lambda inner, name: {"traced": inner, "by": name}, App.engine, App.settings.provided.name
        )
        settings = providers.Singleton(Settings, "traced")

    traced = Traced()
    assert traced.engine() == {"traced": {"url": "traced main"}, "by": "traced"}
    assert traced.by_callable() is traced.engine()
    assert traced.by_list()["them"][0] is traced.engine()
    traced.stop()

    class Twice(Traced):
        engine = providers.Resource(lambda inner: {"twice": inner}, Traced.engine)

    twice = Twice()
    assert twice.engine() == {"twice": {"traced": {"url": "traced main"}, "by": "traced"}}
    assert twice.by_callable() is twice.engine()
    twice.stop()


def test_a_replacement_through_others_sees_the_base_below_itself() -> None:
    """What leads from a replacement to what it replaces leads to the base's; what it shares with others stays one."""

    class Service(Container):
        clock = providers.Singleton(object)
        pool = providers.Singleton(dict[str, Any], clock=clock)
        repo = providers.Singleton(dict[str, Any], pool=pool)

    class Checked(Service):
        clock = providers.Singleton(object)
        pool = providers.Singleton(dict[str, Any], through=Service.repo, clock=Service.clock)

    checked = Checked()
    inner = checked.pool()["through"]["pool"]
    assert inner == {"clock": checked.clock()} and checked.pool()["clock"] is checked.clock()
    assert checked.repo()["pool"] is checked.pool()


def test_a_replacement_shares_with_others_what_it_does_not_replace() -> None:
    """There is one engine, whether it is reached through a replacement or not."""

    class Wrapped(App):
        settings = providers.Singleton(Settings, "wrapped")
        by_callable = providers.Factory(dict[str, Any], inner=App.by_callable, engine=App.engine)

    wrapped = Wrapped()
    found: Any = wrapped.by_callable()
    assert found["inner"] is wrapped.engine() and found["engine"] is wrapped.engine()
    wrapped.stop()


def test_replacements_that_use_each_other() -> None:
    """Two replacements, one of which uses the other, both end up in all that was inherited."""

    class Both(App):
        engine = providers.Resource(dict[str, Any], url=App.settings.provided.name, clock=App.clock)
        settings = providers.Singleton(Settings, "both")
        clock = providers.Object("tick")

    both = Both()
    assert both.by_callable() == {"url": "both", "clock": "tick"}
    assert both.by_callable() is both.engine()
    both.stop()


def test_a_replaced_family_answers_for_the_members_of_the_old_one() -> None:
    """`App.sql["main"]` becomes the new family's member, with another build and other settings."""

    class Fakes(App):
        sql = providers.Named({"main": "x", "audit": "y"}, lambda key, url: providers.Object({"url": f"fake {url}"}))
        own = providers.Factory(dict[str, Any], pool=sql["main"])

    fakes = Fakes()
    assert fakes.by_member() == {"pool": {"url": "fake x"}}
    assert fakes.stores["users"]() == {"pool": {"url": "fake x"}}
    assert fakes.by_item() == {"url": "fake y"}
    assert Fakes.sql["main"] is not App.sql["main"] and Fakes.sql["main"].family is Fakes.sql
    with fakes.overriding({"sql.main": "override"}):
        assert fakes.by_member() == fakes.own() == {"pool": "override"}


def test_a_family_may_be_replaced_by_a_provider_of_a_mapping() -> None:
    """Whatever provides a mapping can take the place of a family."""

    class Plain(App):
        sql = providers.Dict(main=providers.Object("plain"), audit=providers.Object({"url": "a"}))

    plain = Plain()
    assert plain.by_member() == {"pool": "plain"} and plain.by_item() == {"url": "a"}


def test_a_resource_of_a_replaced_family_is_not_opened() -> None:
    """What a subclass replaced is no part of its containers any more."""
    opened: list[str] = []

    class Base(Container):
        sql = providers.Named({"main": "real"}, lambda key, url: providers.Resource(opened.append, url))
        user = providers.Factory(dict[str, Any], pool=sql["main"])

    class Fake(Base):
        sql = providers.Named({"main": "fake"}, lambda key, url: providers.Object(url))

    with Fake() as fake:
        assert fake.user() == {"pool": "fake"} and opened == []


def test_mixins_are_rewired_together() -> None:
    """In a diamond each side's replacement is seen by what came from the other side and from above."""

    class Left(App):
        settings = providers.Singleton(Settings, "left")

    class Right(App):
        clock = providers.Object("right")
        wall = providers.Factory(dict[str, Any], clock=App.clock, engine=App.engine)

    class Both(Left, Right):
        pass

    both = Both()
    assert both.unrelated() == {"clock": "right"}
    assert both.wall() == {"clock": "right", "engine": {"url": "left main"}}
    assert both.wall()["engine"] is both.engine()
    assert all("left" in value.lower() for value in seen(Both()).values())
    both.stop()


def test_the_container_itself_is_that_of_the_instance() -> None:
    """A provider that asks for its container gets the instance, inherited or not; its name is inherited too."""

    class Base(Container):
        this: providers.Self[Any] = providers.Self()
        user = providers.Factory(dict[str, Any], container=this)

    class Sub(Base):
        more = providers.Factory(dict[str, Any], container=Base.this)

    for cls in (Base, Sub):
        container: Any = cls()
        assert container.user()["container"] is container and container.this() is container
    sub = Sub()
    assert sub.more()["container"] is sub


def test_inheritance_keeps_the_order_of_declaration() -> None:
    """Inherited ones first, a replacement in the place of what it replaces."""

    class Last(App):
        more = providers.Object(1)
        clock = providers.Object(2)

    assert list(Last.providers) == [*App.providers, "more"]
    assert list(Last.cls_providers) == ["more", "clock"]
    assert set(Last.inherited_providers) == set(App.providers) - {"clock"}


def test_declarations_of_resources_survive_the_copy() -> None:
    """How a resource is closed, pinged and renewed is inherited with it."""
    closed: list[Any] = []

    class Base(Container):
        name = providers.Object("base")
        pool = providers.Resource(dict[str, Any], name=name).closed_by(closed.append).renewed_by(print)
        pool.pinged_by(print, timeout=1)

    class Sub(Base):
        name = providers.Object("sub")

    assert (Sub.pool.pinger, Sub.pool.ping_timeout, Sub.pool.renewer) == (print, 1, print)
    with Sub():
        pass
    assert closed == [{"name": "sub"}]


def test_a_ring_made_by_replacements_is_left_to_the_check() -> None:
    """Two replacements that each wrap the other's base do not hang the making of the class."""

    class Base(Container):
        one = providers.Singleton(dict[str, Any], name="one")
        two = providers.Singleton(dict[str, Any], name="two")

    class Ring(Base):
        one = providers.Singleton(dict[str, Any], other=Base.two)
        two = providers.Singleton(dict[str, Any], other=Base.one)

    ring = Ring()
    assert "name" in str(ring.one()) or "name" in str(ring.two())


@pytest.mark.parametrize("name", ["settings", "engine", "sql"])
def test_constructor_replacements_reach_everything_too(name: str) -> None:
    """For one instance, what a subclass does for all of its own."""
    value: Any = {"settings": Settings("fake"), "engine": "fake", "sql": {"main": "fake", "audit": {"url": "fake"}}}[
        name
    ]
    app = App(**{name: value})
    inside = app.by_member() if name != "engine" else app.by_list()
    assert "fake" in str(inside)
    app.stop()
