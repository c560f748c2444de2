"""Tests of what a container's class body may not say."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import containers as di_containers
from dependency_injector import providers as di

from wellwired.containers import Container, providers
from wellwired.containers._declaration import reserved
from wellwired.containers._instance import ContainerInstance
from wellwired.errors import DeclarationError, OverrideError

METACLASS: Any = type(Container)


def declare(name: str, value: Any, *bases: type) -> Any:
    """Makes a container class with one attribute."""
    return METACLASS("Shop", bases or (Container,), {name: value})


METHODS = [name for name in dir(ContainerInstance) if not name.startswith("__")]


@pytest.mark.parametrize(
    "name",
    [
        "start", "stop", "check", "overriding", "resolve", "provider", "ids", "health", "graph", "wire", "title",
        "providers", "dependencies", "traverse", "provider_type", "instance_type", "parent_name", "wiring_config",
        "override", "overridden", "parent", "set_provider", "reset_singletons", "load_config", "declarative_parent",
        "wired_to_modules", "containers", "cls_providers", "overrides", "_life",
    ],
)  # fmt: skip
def test_a_provider_cannot_have_a_name_of_the_container(name: str) -> None:
    """Refused when the class is made, naming class and attribute, with other names to take."""
    with pytest.raises(DeclarationError, match=f"Shop.{name}: '{name}' belongs to the container itself") as caught:
        declare(name, providers.Object(1))
    assert "call the provider" in str(caught.value)


def test_it_cannot_be_given_one_later_either() -> None:
    """Setting an attribute of the class is declaring."""
    shop: Any = declare("pool", providers.Object(1))
    with pytest.raises(DeclarationError, match=r"Shop\.start"):
        shop.start = providers.Object(1)
    shop.extra = providers.Object(2)
    assert shop().extra() == 2


def test_every_attribute_of_an_instance_is_reserved() -> None:
    """The list follows the class: an attribute added tomorrow is reserved tomorrow."""
    assert {*METHODS, *vars(Left())} - {"pool"} <= reserved(ContainerInstance)


@pytest.mark.parametrize("name", ["pool", "_pool", "settings", "logging", "sql", "items", "keys", "name", "class_"])
def test_other_names_are_free(name: str) -> None:
    """Ordinary names work, on the class and on its instances."""
    shop: Any = declare(name, providers.Object(1))
    assert getattr(shop(), name)() == 1


@pytest.mark.parametrize("name", ["start", "check", "resolve", "overriding"])
def test_a_method_that_instances_would_not_use_is_refused(name: str) -> None:
    """A body that redefines a method of the container would be ignored in silence."""
    with pytest.raises(DeclarationError, match=f"instances have their own '{name}' and would not use this one"):
        declare(name, lambda self: None)


def test_a_method_may_be_changed_on_the_instance_type() -> None:
    """The way out that the error names."""

    class Polite(ContainerInstance):
        def greet(self) -> str:
            return f"hello from {self.title}"

    class Shop(Container):
        instance_type = Polite

    assert Shop().greet() == "hello from Shop"
    with pytest.raises(DeclarationError, match="greet"):
        declare("greet", lambda self: None, Shop)


def test_what_dependency_injector_lets_a_class_set_may_be_set() -> None:
    """Its own settings of a class are no providers and stay possible."""

    class Shop(Container):
        wiring_config = di_containers.WiringConfiguration(auto_wire=False)
        auto_load_config = True

    Shop()


class Left(Container):
    """A base."""

    pool = providers.Object("left")


class Right(Container):
    """Another base with a provider of the same name."""

    pool = providers.Object("right")


def test_bases_that_disagree_are_refused() -> None:
    """Which of two unrelated providers a name means must be said."""
    with pytest.raises(DeclarationError) as caught:
        METACLASS("Shop", (Left, Right), {})
    assert str(caught.value) == (
        "Shop.pool: both Left and Right define it; redefine it in Shop, such as pool = Left.pool"
    )


def test_redefining_settles_it() -> None:
    """The class's own provider, or one of the bases' by name."""
    own: Any = declare("pool", providers.Object("own"), Left, Right)
    assert own().pool() == "own"
    chosen: Any = declare("pool", Right.pool, Left, Right)
    assert chosen().pool() == "right" and chosen.pool is Right.pool


def test_disagreement_further_up_counts_too() -> None:
    """A collision between a grandparent and a base is a collision."""

    class Child(Left):
        other = providers.Object(1)

    with pytest.raises(DeclarationError, match="both Left and Right"):
        METACLASS("Shop", (Child, Right), {})


def test_a_diamond_is_fine() -> None:
    """One provider inherited on two ways is one provider."""

    class One(Left):
        one = providers.Object(1)

    class Two(Left):
        two = providers.Object(2)

    class Both(One, Two):
        pass

    assert (Both().pool(), Both().one(), Both().two()) == ("left", 1, 2)
    assert Both.pool is Left.pool


def test_plain_declarative_containers_may_be_bases() -> None:
    """A container of dependency-injector is inherited from like one of ours, collisions included."""

    class Plain(di_containers.DeclarativeContainer):
        clock = di.Singleton(object)

    shop = declare("user", providers.Factory(dict[str, Any], clock=Plain.clock), Container, Plain)()
    assert shop.user()["clock"] is shop.clock()

    class Other(di_containers.DeclarativeContainer):
        clock = di.Singleton(object)

    with pytest.raises(DeclarationError, match="both Plain and Other"):
        METACLASS("Both", (Container, Plain, Other), {})


def test_an_override_on_the_class_does_not_leak_into_instances() -> None:
    """Every instance would keep it for good, so making one is refused while it is there."""
    with Left.pool.override("fake"), pytest.raises(OverrideError, match=r"Left\.pool is overridden on the class"):
        Left()
    assert Left().pool() == "left"


def test_dependencies_may_be_supplied_on_the_class() -> None:
    """That is what dependency-injector's Dependency is for."""

    class Core(Container):
        url = providers.Dependency(instance_of=str)

    Core.url.override("url")
    assert Core().url() == "url"
    Core.url.reset_override()
