"""Tests of dotted ids, listed and found."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import providers as di

from wellwired.containers import Container, providers
from wellwired.containers._ids import assign_names, dotted, find, refuse_unknown
from wellwired.errors import UnknownProviderError


class Core(Container):
    """A container to be nested."""

    clock = providers.Singleton(object)
    sql = providers.Named({"main": 1, "a.b": 2}, lambda key, it: providers.Object(it))


class App(Container):
    """A container with everything that has something inside."""

    this: providers.Self[Any] = providers.Self()
    core = providers.Container(Core)
    agg = providers.Aggregate(one=providers.Object(1))
    selector = providers.Selector(providers.Object("x"), x=providers.Object("branch"))
    alias = agg.one


def test_everything_inside_has_an_id() -> None:
    """A nested container has none of its own, an aggregate and a selector have; the container itself has none."""
    app = App()
    assert list(app.ids()) == ["core.clock", "core.sql", "agg", "agg.one", "selector", "selector.x", "alias"]
    app.expand()
    assert {"core.sql.main", "core.sql.a.b"} < app.ids().keys()


@pytest.mark.parametrize("id", ["core.clock", "core.sql", "core.sql.main", "core.sql.a.b", "agg.one", "selector.x"])
def test_ids_are_found(id: str) -> None:
    """Whatever is listed is found; members are found before their family is expanded."""
    app = App()
    found = find(app.providers, id, "App")
    assert dict(dotted(app.providers))[id] is found


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("cor.clock", "no 'cor.clock' in App; did you mean 'core.clock'"),
        ("core.clok", "no 'clok' in App.core; did you mean 'clock'"),
        ("core.sql.a", "no 'a' in core.sql"),
        ("alias.x", "no 'alias.x' in App"),
        ("core.", "no '' in App.core"),
        (".core", "no '.core' in App"),
        ("__self__", "no '__self__' in App"),
        ("this", "no 'this' in App"),
    ],
)
def test_what_is_not_there_says_where_it_was_looked_for(id: str, says: str) -> None:
    """The place and the near names are in the error, at whatever depth the path went wrong."""
    with pytest.raises(UnknownProviderError) as caught:
        find(App().providers, id, "App")
    assert says in str(caught.value)


def test_names_are_given_once() -> None:
    """A provider under two ids keeps the first; providers of dependency-injector have no name to be given."""
    shared: Any = providers.Singleton(object)
    plain = di.Singleton(object)
    assign_names({"first": shared, "second": shared, "plain": plain})
    assert shared.name == "first" and not hasattr(plain, "name")


def test_unknown_names_are_refused_at_the_first() -> None:
    """The container itself is no provider to be named."""
    known = {"one": providers.Object(1), "__self__": providers.Self()}
    refuse_unknown({"one": 1}, known, "Shop")
    with pytest.raises(UnknownProviderError, match="no 'onne' in Shop; did you mean 'one'"):
        refuse_unknown({"one": 1, "onne": 2}, known, "Shop")
    with pytest.raises(UnknownProviderError, match=r"known: one$"):
        refuse_unknown({"__self__": 1}, known, "Shop")
