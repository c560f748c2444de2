"""The picture of a container as it stands."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers as di_containers
from dependency_injector import providers as di

from wellwired.containers import Container, providers
from wellwired.containers._graph import Edge, Lifetime, Link, Node
from wellwired.containers._survey import Survey


class Engine:
    """Stands for a pool."""


class Service:
    """Needs whatever it is given."""

    def __init__(self, *needs: Any, **named: Any) -> None:
        self.needs, self.named = needs, named

    @classmethod
    def made(cls) -> Service:
        """Makes one."""
        return cls()


def session(engine: Engine) -> Iterator[Service]:
    """Lives for a scope."""
    yield Service(engine)


class Core(Container):
    """To be nested."""

    clock = providers.Dependency(instance_of=Engine)
    log = providers.Singleton(Service, clock)


class Shop(Container):
    """One of everything."""

    settings = providers.Singleton(lambda: {"sql": {"main": 1, "audit": 2}})
    sql = providers.Named(settings.provided["sql"], lambda key, config: providers.Resource(Engine))
    session = providers.Scoped(session, sql["main"])
    users = providers.Singleton(
        Service, sql["main"], settings.provided["page"], providers.Factory(Service, session.provider)
    )
    core = providers.Container(Core, clock=providers.Object(Engine()))
    report = providers.Factory(Service, users, log=core.log)
    same = report


class Mistaken(Shop):
    """Needs a member that the settings do not have."""

    mistake = providers.Factory(Service, Shop.sql["typo"])


@pytest.fixture
def shop() -> Shop:
    """A container that has read its settings."""
    made = Shop()
    made.expand()
    return made


def test_ids_kinds_and_lifetimes(shop: Shop) -> None:
    """Families are followed by their members by name, nested providers have dotted ids, and no __self__ is shown."""
    assert [(n.id, n.kind, n.lifetime) for n in shop.graph()] == [
        ("settings", "singleton", Lifetime.CONTAINER),
        ("sql", "family", Lifetime.CALL),
        ("sql.audit", "resource", Lifetime.CONTAINER),
        ("sql.main", "resource", Lifetime.CONTAINER),
        ("session", "scoped", Lifetime.SCOPE),
        ("users", "singleton", Lifetime.CONTAINER),
        ("core.clock", "dependency", Lifetime.CONTAINER),
        ("core.log", "singleton", Lifetime.CONTAINER),
        ("report", "factory", Lifetime.CALL),
        ("same", "alias", Lifetime.CALL),
    ]


def test_what_is_made_is_named_and_never_shown(shop: Shop) -> None:
    """A node tells the qualified name of a class or function, and of a constant the type."""
    graph = shop.graph()
    assert graph["users"].detail == f"{__name__}.Service"
    assert graph["session"].detail == f"{__name__}.session"
    assert graph["core.clock"].detail == f"{__name__}.Engine"

    class Secret(Container):
        """Holds a password."""

        password = providers.Object("hunter2")

    assert Secret().graph()["password"] == Node("password", "object", Lifetime.CONTAINER, detail="str")


def test_what_a_partial_makes_is_what_is_inside_it() -> None:
    """A partial is told by the class or function that it calls."""

    class Partly(Container):
        """A partial of a partial."""

        user = providers.Factory(functools.partial(functools.partial(Service, 1), 2))

    assert Partly().graph()["user"].detail == f"{__name__}.Service"


def test_what_a_class_method_makes_is_told_by_its_class() -> None:
    """`ShopSettings.load` is not told as the `Settings.load` that it inherited."""

    class Child(Service):
        """Inherits what makes it."""

    class Made(Container):
        """A class method, and one that was inherited."""

        own = providers.Singleton(Service.made)
        inherited = providers.Singleton(Child.made)

    graph, here = Made().graph(), Child.__qualname__
    assert graph["own"].detail == f"{__name__}.Service.made"
    assert graph["inherited"].detail == f"{__name__}.{here}.made"


def test_unnamed_providers_are_folded_into_who_holds_them(shop: Shop) -> None:
    """An anonymous factory, and reaching into an object, are edges of the named provider around them."""
    assert shop.graph().needs("users") == ("sql.main", "settings", "session")
    assert Edge("users", "session", Link.HANDLE) in shop.graph().edges
    assert shop.graph().needs("report") == ("users", "core.log")
    assert shop.graph().needed_by("users") == ("report",)


def test_what_a_handed_over_factory_needs_is_a_handle_too() -> None:
    """Whatever is behind an unnamed provider that is handed over is needed later, and not to build the holder."""

    class Later(Container):
        """One handle to something unnamed."""

        pool = providers.Singleton(Engine)
        user = providers.Singleton(Service, providers.Factory(Service, pool).provider)

    assert Later().graph().edges == (Edge("user", "pool", Link.HANDLE),)


def test_needed_and_handed_over_is_needed() -> None:
    """Two uses of one provider are one edge, the stronger."""

    class Twice(Container):
        """Uses one provider in both ways."""

        pool = providers.Singleton(Engine)
        user = providers.Singleton(Service, pool.provider, pool)

    assert Twice().graph().edges == (Edge("user", "pool"),)


def test_an_alias_leads_to_the_first_name(shop: Shop) -> None:
    """One provider under two names is one node and a pointer to it."""
    assert shop.graph().needs("same") == ("report",)


def test_members_are_known_after_the_settings_are_read() -> None:
    """Before, only what somebody needs is there, late-bound; afterwards all of the family, as what it is."""
    shop = Mistaken()
    before = shop.graph()
    assert "sql.audit" not in before
    assert before["sql.typo"].kind == "late-bound"
    assert before["sql.main"].kind == "late-bound"
    assert before.needs("users") == ("sql.main", "settings", "session")
    shop.expand()
    assert shop.graph()["sql.main"].kind == "resource"
    assert shop.graph()["sql.typo"].kind == "missing"
    assert Edge("sql", "sql.audit", Link.MEMBER) in shop.graph().edges


def test_drawing_reads_and_opens_nothing() -> None:
    """A picture can be drawn where the settings are missing and the servers are down."""

    def fail(*args: Any) -> Any:
        raise AssertionError("built")

    class Careful(Container):
        """Everything fails."""

        settings = providers.Singleton(fail)
        sql: providers.Named[Any] = providers.Named(settings.provided["sql"], fail)
        pool = providers.Resource(fail)
        user = providers.Singleton(Service, sql["main"], pool)

    assert Careful().graph().needs("user") == ("sql.main", "pool")


def test_what_is_overridden_is_marked_and_leads_to_what_stands_in(shop: Shop) -> None:
    """During an override the picture shows the fake and its needs, not those of what it replaces; then as before."""
    before = shop.graph()
    with shop.overriding({"sql.main": 1, "users": providers.Factory(Service, shop.settings)}):
        during = shop.graph()
    assert during["sql.main"] == Node("sql.main", "resource", Lifetime.CONTAINER, overridden=True, detail="int")
    assert during["users"].overridden
    assert during["users"].lifetime is Lifetime.CALL
    assert during.needs("users") == ("settings",)
    assert shop.graph() == before


def test_a_replaced_family_overrides_its_members(shop: Shop) -> None:
    """Whoever replaces the dict of a family replaces what its members give."""
    with shop.overriding({"sql": {"main": 1}}):
        graph = shop.graph()
    assert graph["sql"].overridden
    assert graph["sql.main"].overridden


def test_a_supplied_dependency_is_not_overridden(shop: Shop) -> None:
    """A declared dependency is made to be supplied; only a second supply replaces something."""
    assert not shop.graph()["core.clock"].overridden
    with shop.overriding({"core.clock": Engine()}):
        assert shop.graph()["core.clock"].overridden


def test_two_pictures_of_one_class_are_equal() -> None:
    """The order is that of declaration, in every instance and every process."""
    assert Shop().graph() == Shop().graph()


def test_a_picture_holds_nothing_of_the_container(shop: Shop) -> None:
    """It survives pickling, which no provider would."""
    graph = shop.graph()
    assert pickle.loads(pickle.dumps(graph)) == graph


def test_a_node_is_found_by_its_id(shop: Shop) -> None:
    """A graph is looked up like a mapping, and says so if there is no such id."""
    assert shop.graph()["users"].kind == "singleton"
    with pytest.raises(KeyError, match="typo"):
        shop.graph()["typo"]


def test_the_class_of_a_container_has_a_picture() -> None:
    """What is declared can be drawn without making an instance."""
    graph = Survey(Shop).graph()
    assert graph.name == "Shop"
    assert graph.needs("users") == ("sql.main", "settings", "session")


def test_wiring_adds_no_node(shop: Shop) -> None:
    """What wiring leaves in the providers of a container is no provider of its author's."""
    with shop.wire([]):
        assert "__self__" not in shop.graph()
    shop.providers["__self__"] = shop.__self__
    assert "__self__" not in shop.graph()


def test_containers_of_dependency_injector_are_drawn_too() -> None:
    """Every kind of provider of theirs has its place."""

    class Plain(di_containers.DeclarativeContainer):
        """Without anything of ours."""

        config = di.Configuration()
        one = di.ThreadLocalSingleton(Service, config.url)
        two = di.ContextLocalSingleton(Service)
        resource = di.Resource(Engine)
        local = di.ContextLocalResource(Engine)
        either = di.Selector(config.kind, first=one, second=two)
        both = di.Aggregate(one=one)
        listed = di.List(one, di.Dict(two=two))
        user = di.Callable(Service, both, either, listed, resource.provided.dialect)

    graph = Survey(Plain()).graph()
    lifetimes = {node.id: node.lifetime for node in graph if node.lifetime is not Lifetime.CALL}
    assert lifetimes == {
        "config": Lifetime.CONTAINER,
        "one": Lifetime.THREAD,
        "two": Lifetime.CONTEXT,
        "resource": Lifetime.CONTAINER,
        "local": Lifetime.CONTEXT,
    }
    assert graph.needs("either") == ("one", "two")
    assert graph.needs("listed") == ("one", "two")
    assert graph.needs("user") == ("both", "either", "listed", "resource")
    assert Edge("user", "both", Link.HANDLE) in graph.edges
    assert Edge("both", "one", Link.MEMBER) in graph.edges
    assert graph["one"].kind == "thread local singleton"
