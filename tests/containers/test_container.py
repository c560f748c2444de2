"""Tests of container classes and of what calling one gives."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import copy
from typing import Any

import pytest

from wellwired.containers import Container, providers
from wellwired.containers._instance import ContainerInstance
from wellwired.errors import StateError, UnknownProviderError


class Shop(Container):
    """A container with a constant, a function and properties beside its providers."""

    limit = 3
    url = providers.Object("url")
    sql = providers.Named(
        {"main": 1}, lambda key, it: providers.Singleton(dict[str, Any], key=key), variable="SET_{key}"
    )
    pool = providers.Resource(dict[str, Any], url=url)
    service = providers.Singleton(dict[str, Any], pool=pool, db=sql["main"])

    def describe(self) -> str:
        """A function of the class body."""
        return f"{self.title} of {self.url()}"

    class Descriptor:
        """A class in the class body, which could be mistaken for a method."""

        def __get__(self, instance: object, owner: object) -> None: ...

    @property
    def doubled(self) -> int:
        """A property of the class body."""
        return self.limit * 2

    @classmethod
    def named(cls) -> str:
        """A class method."""
        return cls.__name__

    @staticmethod
    def fixed() -> str:
        """A static method."""
        return "fixed"


def test_an_instance_counts_as_an_instance_of_its_class() -> None:
    """isinstance() says what a reader expects, for the class, its bases, and for no other."""

    class Sub(Shop):
        pass

    class Other(Container):
        pass

    shop, sub = Shop(), Sub()
    assert isinstance(shop, Shop) and isinstance(sub, Shop) and isinstance(sub, Container)
    assert not isinstance(shop, Sub) and not isinstance(shop, Other) and not isinstance("shop", Shop)
    assert isinstance(shop, ContainerInstance)


def test_the_class_body_is_there_on_the_instance() -> None:
    """Constants, functions, properties and methods of the class work on what calling it gives."""
    shop: Any = Shop()
    assert (shop.limit, shop.describe(), shop.doubled) == (3, "Shop of url", 6)
    assert (shop.named(), shop.fixed()) == ("Shop", "fixed")
    assert shop.Descriptor is Shop.Descriptor


def test_an_attribute_that_is_not_there_is_named_with_what_is_near() -> None:
    """An AttributeError like any other, with a suggestion."""
    shop: Any = Shop()
    with pytest.raises(AttributeError, match=r"no 'servise' in Shop; did you mean 'service'\?"):
        shop.servise  # noqa: B018
    assert not hasattr(shop, "cls_providers") and not hasattr(shop, "__len__")


def test_two_instances_share_nothing() -> None:
    """Each has copies of its own."""
    one, two = Shop(), Shop()
    assert one.service() is not two.service() and one.service is not two.service
    one.stop()
    two.stop()


def test_replacements_are_given_by_name_and_checked() -> None:
    """A replacement holds for the life of the instance; an unknown name is refused with near ones."""
    shop = Shop(url="other", pool={"fake": True})
    assert shop.url() == "other" and shop.service()["pool"] == {"fake": True}
    with pytest.raises(UnknownProviderError, match="no 'ulr' in Shop; did you mean 'url'"):
        Shop(ulr="x")
    with pytest.raises(UnknownProviderError, match="no 'describe' in Shop"):
        Shop(describe="x")
    assert Shop().url() == "url"


def test_replacements_by_dotted_id() -> None:
    """`overrides` takes what keywords cannot say."""
    shop = Shop(overrides={"sql.main": "fake", "url": "other"})
    assert shop.service()["db"] == "fake" and shop.describe() == "Shop of other"
    with pytest.raises(UnknownProviderError, match=r"no 'mian' in sql.*set SET_MIAN to add it"):
        Shop(overrides={"sql.mian": 1})
    shop.stop()


def test_a_resource_given_as_a_replacement_lives_with_the_container() -> None:
    """What opens something in the place of a provider is closed by stop()."""
    log: list[Any] = []
    shop = Shop(pool=providers.Resource(dict[str, Any], a=1).closed_by(log.append))
    with shop:
        assert shop.service()["pool"] == {"a": 1}
    assert log == [{"a": 1}]


def test_providers_are_not_added_to_an_instance() -> None:
    """Neither new ones nor replaced ones: wiring and checks go by the class. Other attributes are free."""
    shop: Any = Shop()
    for name in ("url", "new"):
        with pytest.raises(StateError, match=f"Shop.{name}: providers are declared in the class body"):
            setattr(shop, name, providers.Object(1))
    with pytest.raises(StateError):
        shop.set_provider("new", providers.Object(1))
    shop.note = "free"
    assert shop.note == "free"


def test_override_providers_checks_names_before_it_begins() -> None:
    """dependency-injector's own method does not leave half of an override behind any more."""
    shop = Shop()
    with pytest.raises(UnknownProviderError, match="no 'typo' in Shop"):
        shop.override_providers(url="fake", typo=1)
    assert not shop.url.overridden
    with shop.override_providers(url="fake"):
        assert shop.url() == "fake"
    assert shop.url() == "url"


def test_ids_are_dotted_and_in_order() -> None:
    """Members of families are among them once known; the container itself never is, wired or not."""
    shop = Shop()
    assert list(shop.ids()) == ["url", "sql", "pool", "service"]
    shop.check()
    assert list(shop.ids()) == ["url", "sql", "sql.main", "pool", "service"]
    shop.providers["__self__"] = shop.__self__
    assert "__self__" not in shop.ids()
    assert all(shop.provider(id) is provider for id, provider in shop.ids().items())


def test_resolve_calls_the_provider_of_an_id() -> None:
    """By name and by dotted id; an unknown one says what is near."""
    shop = Shop()
    assert shop.resolve("service") is shop.service()
    assert shop.resolve("sql.main") is shop.sql["main"]()
    with pytest.raises(UnknownProviderError, match="no 'sevice' in Shop; did you mean 'service'"):
        shop.resolve("sevice")
    shop.stop()


def test_expand_knows_every_family() -> None:
    """Those that are only reached through a member included."""
    family: providers.Named[Any] = providers.Named({"main": 1}, lambda key, it: providers.Object(it))

    class Hidden(Container):
        user = providers.Factory(dict[str, Any], it=family["main"])

    hidden = Hidden()
    hidden.expand()
    assert hidden.user.kwargs["it"].target is not None


def test_check_gives_the_container_back() -> None:
    """So that it can be chained; a fault is raised in a group."""
    shop = Shop()
    assert shop.check() is shop

    class Faulty(Container):
        missing = providers.Dependency(instance_of=int)

    with pytest.raises(ExceptionGroup):
        Faulty().check()


def test_graph_and_health_are_at_hand() -> None:
    """The container hands over to the modules that know."""
    shop = Shop()
    assert "service" in shop.graph() and str(shop.health(liveness=True).status) == "up"


def test_its_repr_says_what_it_is_and_how_it_is() -> None:
    """The class's name and whether it is started."""
    shop = Shop()
    assert repr(shop) == "<Shop, not started>"
    with shop:
        assert repr(shop) == "<Shop, started>"


def test_a_copy_of_an_instance_is_an_instance() -> None:
    """copy.deepcopy() gives another container, with a life, names and a journal of its own."""
    shop = Shop(url="other")
    copied = copy.deepcopy(shop)
    assert isinstance(copied, Shop) and copied.url() == "other" and copied.pool.name == "pool"
    copied.pool()
    assert not shop.pool.initialized
    copied.stop()
    assert not copied.pool.initialized


def test_providers_of_a_class_have_names_too() -> None:
    """An error about a provider of the class names it."""
    assert Shop.pool.name == "pool" and Shop.sql["main"].name == "sql.main"
