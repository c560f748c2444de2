"""Tests of Named: families declared before their settings, expanded once per container, with members that last."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers as di

from tests.containers.racing import race
from wellwired.containers import Container, providers, scope
from wellwired.errors import DeclarationError, SettingsError, UnknownProviderError


class Settings:
    """Settings with two databases."""

    loaded = 0

    def __init__(self, *names: str) -> None:
        type(self).loaded += 1
        self.sql = {name: f"sqlite://{name}" for name in names or ("main", "audit")}


class Pool:
    """What a family's members provide."""

    def __init__(self, url: str, log: list[str] | None = None) -> None:
        self.url = url


def pool(key: str, url: str) -> providers.Resource[Pool]:
    """Builds a member's provider."""
    return providers.Resource(Pool, url)


class Shop(Container):
    """A container with a family, and users of its members."""

    settings = providers.Singleton(Settings)
    sql = providers.Named(settings.provided.sql, pool, variable="WELLWIRED__SQL__{key}__URL")
    repo = providers.Singleton(dict[str, Any], main=sql["main"], every=sql)
    reports = providers.Factory(dict[str, Any], pool=sql["audit"])


def test_a_member_in_a_class_body_is_the_member_of_each_container() -> None:
    """Declared before any settings are known, it provides what the settings of its own container say."""
    one, two = Shop(), Shop(settings=Settings("main"))
    assert one.repo()["main"] is one.sql["main"]()
    assert one.repo()["main"].url == "sqlite://main"
    assert two.repo()["main"] is not one.repo()["main"]
    assert list(two.repo()["every"]) == ["main"]
    one.stop()
    two.stop()


def test_making_a_container_reads_no_settings() -> None:
    """Neither the class body nor making an instance expands anything."""
    before = Settings.loaded
    shop = Shop()
    assert Settings.loaded == before and not shop.sql.expanded
    assert shop.ids().keys() == {"settings", "sql", "repo", "reports"}
    shop.expand()
    assert Settings.loaded == before + 1 and shop.sql.expanded
    assert {"sql.main", "sql.audit"} <= shop.ids().keys()
    assert not Shop.sql.expanded


def test_a_family_is_a_dict_of_its_objects() -> None:
    """Called, it gives every object by name, each the same as its member's."""
    shop = Shop()
    objects = shop.sql()
    assert {name: one.url for name, one in objects.items()} == {"main": "sqlite://main", "audit": "sqlite://audit"}
    assert objects["main"] is shop.sql["main"]()
    shop.stop()


def test_a_family_has_the_manners_of_a_mapping() -> None:
    """Names are iterated in the order of the settings, counted and looked up."""
    shop = Shop()
    assert list(shop.sql) == ["main", "audit"] and len(shop.sql) == 2
    assert "main" in shop.sql and "other" not in shop.sql


def test_an_empty_family_is_still_a_provider() -> None:
    """dependency-injector asks providers for their truth; an empty family is not "no provider"."""
    family: providers.Named[Any] = providers.Named({}, pool)
    assert len(family) == 0 and bool(family)
    assert family() == {}


def test_a_member_is_the_same_object_each_time() -> None:
    """Whoever refers to a member refers to the same provider, by item, by attribute or by id."""
    shop = Shop()
    shop.expand()
    assert shop.sql["main"] is shop.sql["main"] is shop.sql.main is shop.provider("sql.main")
    assert shop.sql["main"].name == "sql.main"


def test_an_unknown_name_says_what_is_near_known_and_to_be_set() -> None:
    """The error of a member that the settings do not have is all that is needed to add it."""
    shop = Shop()
    with pytest.raises(UnknownProviderError) as caught:
        shop.sql["mian"]()
    text = str(caught.value)
    assert "no 'mian' in sql" in text and "did you mean 'main'" in text
    assert "set WELLWIRED__SQL__MIAN__URL to add it" in text
    with pytest.raises(UnknownProviderError, match="known: audit, main"):
        shop.sql["reports"]()


def test_the_variable_may_be_a_function_of_the_key() -> None:
    """A family whose keys have dots says by itself where they come from."""
    family: providers.Named[Any] = providers.Named({}, pool, variable=lambda key: f"SET__{key.upper()}")
    with pytest.raises(UnknownProviderError, match=r"it has none; set SET__SQL\.MAIN to add it"):
        family["sql.main"]()


def test_keys_may_have_dots() -> None:
    """The member ``sql.main`` of a family ``writers`` is ``writers.sql.main``, as id and segment by segment."""

    class App(Container):
        writers = providers.Named(
            {"sql.main": 1, "sql.audit": 2, "redis": 3}, lambda key, it: providers.Object(f"{key}={it}")
        )

    app = App()
    app.expand()
    assert app.resolve("writers.sql.main") == "sql.main=1"
    assert app.writers.sql.main is app.writers["sql.main"] is app.provider("writers.sql.main")
    assert app.writers.redis() == "redis=3"
    assert set(app.ids()) == {"writers", "writers.sql.main", "writers.sql.audit", "writers.redis"}
    with pytest.raises(AttributeError):
        app.writers.sql.nope  # noqa: B018
    with pytest.raises(AttributeError):
        app.writers.nope  # noqa: B018


def test_attributes_that_are_no_members_are_not_invented() -> None:
    """Code that probes a provider for attributes is not answered with a member that nobody has."""
    shop = Shop()
    for probed in (shop.sql, shop.sql["main"]):
        for name in ("provides", "main_", "cls", "__enter__", "_private"):
            assert not hasattr(probed, name)


def test_dependencies_are_handed_to_build_uncalled() -> None:
    """A family may refer to another's members through the providers that it is given."""

    def store(key: str, layers: list[str], *, sql: providers.Named[Pool]) -> providers.Singleton[dict[str, Any]]:
        assert isinstance(sql, providers.Named)
        return providers.Singleton(dict[str, Any], key=key, layers=providers.List(*(sql[name] for name in layers)))

    class Stored(Shop):
        stores = providers.Named({"users": ["main", "audit"]}, store, deps={"sql": Shop.sql})

    stored = Stored()
    users = stored.stores["users"]()
    assert users == {"key": "users", "layers": [stored.sql["main"](), stored.sql["audit"]()]}
    assert {"stores.users", "sql.main"} <= stored.ids().keys()
    stored.stop()


@pytest.mark.parametrize("round_", range(20))
def test_racing_threads_expand_once(round_: int) -> None:
    """Eight threads that ask for a member at the same moment build each provider once."""
    built: list[str] = []
    wait = threading.Event()

    def build(key: str, url: str) -> providers.Resource[Pool]:
        wait.wait(0.001)
        built.append(key)
        return pool(key, url)

    family = providers.Named({"main": "a", "audit": "b"}, build)
    found = race(family["main"])
    assert sorted(built) == ["audit", "main"] and len({id(one) for one in found}) == 1


def test_members_lead_to_new_providers_after_forgetting() -> None:
    """Expanded again from other settings, the same member provides the other object."""
    entries = {"main": "one"}
    source = providers.Callable(lambda: entries)
    family: providers.Named[str] = providers.Named(source, lambda _, it: providers.Object(it))
    member = family["main"]
    assert member() == "one" and member() == "one"
    entries = {"main": "two"}
    assert member() == "one"
    family.forget()
    assert member() == "two"


def test_an_override_of_a_member_is_seen_everywhere() -> None:
    """In the family's dict, in users of the member, and by its id."""
    shop = Shop()
    with shop.sql["main"].override("fake"):
        assert shop.sql()["main"] == "fake" and shop.resolve("sql.main") == "fake"
        assert shop.repo() == {"main": "fake", "every": {"main": "fake", "audit": shop.sql["audit"]()}}
    assert shop.sql["main"]().url == "sqlite://main"
    shop.stop()


def test_an_override_of_the_family_is_seen_by_its_members() -> None:
    """A mapping of objects in the place of the family answers for each member too."""
    shop = Shop()
    member = shop.sql["main"]
    real = member()
    with shop.sql.override({"main": "fake"}):
        assert shop.sql() == {"main": "fake"} and member() == "fake"
        with pytest.raises(UnknownProviderError, match="no 'audit' in what stands in for sql; known: main"):
            shop.sql["audit"]()
    assert member() is real
    shop.stop()


def test_a_member_serves_without_looking_anything_up() -> None:
    """Once known, a call of a member goes straight to its provider."""
    shop = Shop()
    member = shop.sql["main"]
    member()
    assert member.__call__ is member.target
    with member.override("fake"):
        assert member() == "fake"
    shop.stop()


def test_a_wrong_setting_is_the_error_that_comes_out() -> None:
    """Expansion adds nothing to an error of the settings, and is tried again afterwards."""
    attempts: list[int] = []

    def load() -> dict[str, str]:
        attempts.append(1)
        if len(attempts) == 1:
            raise SettingsError(["WELLWIRED__SQL__MAIN__URL is not set"])
        return {"main": "url"}

    family = providers.Named(providers.Callable(load), pool)
    with pytest.raises(SettingsError, match="WELLWIRED__SQL__MAIN__URL"):
        family["main"]()
    assert not family.expanded
    assert family["main"]().url == "url"


def test_no_settings_at_all_is_an_empty_family() -> None:
    """A section that is None has no entries."""
    family: providers.Named[Pool] = providers.Named(providers.Object(None), pool)
    assert family() == {}


@pytest.mark.parametrize("result", [Pool("url"), None, dict])
def test_build_must_return_a_provider(result: Any) -> None:
    """An object in the place of a provider would never be closed; the error names the entry."""
    family: providers.Named[Any] = providers.Named({"main": 1}, lambda key, it: result)
    with pytest.raises(DeclarationError, match=r"for 'main' instead of a provider"):
        family.expand()
    with pytest.raises(DeclarationError, match="no build function"):
        providers.Named({"main": 1}).expand()


def test_members_may_be_of_any_kind() -> None:
    """Singletons, factories, scoped objects and plain objects are all served through a member."""

    def build(key: str, kind: Any) -> di.Provider[Any]:
        return kind(dict[str, Any], key=key) if kind is not di.Object else di.Object(key)

    kinds: dict[str, Any] = {"single": providers.Singleton, "factory": providers.Factory, "scoped": providers.Scoped}
    kinds["object"] = di.Object
    family: providers.Named[Any] = providers.Named(kinds, build)
    assert family["single"]() is family["single"]()
    assert family["factory"](extra=1) == {"key": "factory", "extra": 1}
    assert family["factory"]() is not family["factory"]()
    assert family["object"]() == "object"
    with scope():
        assert family["scoped"]() is family["scoped"]()


def test_a_shared_family_is_copied_with_its_members() -> None:
    """However it is reached, through a member or as a whole, a container has one copy."""
    family = providers.Named({"main": 1}, lambda key, it: providers.Singleton(object))

    class App(Container):
        through = providers.Factory(dict[str, Any], a=family["main"])
        whole = providers.Factory(dict[str, Any], b=family)

    app = App()
    assert app.through()["a"] is app.whole()["b"]["main"]
    assert family["main"]() is not app.through()["a"]


def generated(log: list[str], name: str) -> Iterator[str]:
    """An initialiser that writes down its life."""
    log.append(f"open {name}")
    yield name
    log.append(f"close {name}")


def test_members_are_opened_and_closed_with_the_container() -> None:
    """A family's resources belong to the life of the container, whoever uses them first."""
    log: list[str] = []

    class App(Container):
        sql = providers.Named(
            {"a": 1, "b": 2}, lambda key, it: providers.Resource(generated, providers.Object(log), key)
        )

    with App() as app:
        assert log == ["open a", "open b"]
        assert app.sql() == {"a": "a", "b": "b"}
    assert log == ["open a", "open b", "close b", "close a"]
