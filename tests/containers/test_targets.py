"""Tests of what an override may name, and what is refused because it could not be exact."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import providers as di

from wellwired.containers import Container, providers
from wellwired.errors import OverrideError


class Core(Container):
    """A container to be nested."""

    clock = providers.Singleton(object)


class App(Container):
    """One provider of each kind that cannot be overridden exactly."""

    core = providers.Container(Core)
    nothing = providers.DependenciesContainer()
    both: providers.Aggregate[Any] = providers.Aggregate(
        one=providers.Factory(dict[str, Any]), two=providers.Factory(list)
    )
    clock = providers.Singleton(object)
    user = providers.Factory(dict[str, Any], clock=clock)
    abstract: di.AbstractFactory[Any] = di.AbstractFactory(dict)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("core", Core(), r"a whole nested container; override what is in it, such as core\.clock"),
        ("nothing", Core(), r"a whole nested container; override what is in it, such as nothing\.name"),
        ("both", providers.Object(1), "an aggregate"),
        ("abstract", providers.Object(1), "only a factory can stand in"),
    ],
)
def test_what_dependency_injector_cannot_restore_is_refused(key: str, value: Any, reason: str) -> None:
    """Each refusal names the provider and says what to do instead; nothing has changed."""
    app = App()
    with (
        pytest.raises(OverrideError, match=f"{key} cannot be overridden: .*{reason}"),
        app.overriding({"clock": 1, key: value}),
    ):
        pass
    assert not app.clock.overridden


def test_the_members_of_an_aggregate_can_be_overridden() -> None:
    """They have ids of their own."""
    app = App()
    with app.overriding({"both.one": "fake"}):
        assert app.both("one") == "fake" and app.both("two") == []
    assert app.both("one") == {}


def test_an_abstract_factory_takes_a_factory() -> None:
    """What dependency-injector allows is allowed."""
    app = App(abstract=providers.Factory(dict[str, Any], a=1))
    with app.overriding({"abstract": providers.Factory(dict[str, Any], a=2)}):
        assert app.abstract() == {"a": 2}
    assert app.abstract() == {"a": 1}


def test_a_stand_in_that_needs_what_it_replaces_is_refused() -> None:
    """It would call itself for ever."""
    app = App()
    for value in (app.user, providers.Factory(dict[str, Any], inner=app.clock), app.clock):
        with pytest.raises(OverrideError, match="would be a ring"), app.overriding({"clock": value}):
            pass
    assert not app.clock.overridden


@pytest.mark.parametrize(
    "kind", [di.ThreadLocalSingleton, di.ContextLocalSingleton, di.ContextLocalResource], ids=lambda kind: kind.__name__
)
def test_dependents_in_other_threads_or_contexts_are_a_reason_to_refuse(kind: Any) -> None:
    """Nobody can drop what another thread keeps; the error names who keeps it and what to declare instead."""

    class Local(App):
        kept = kind(dict[str, Any], App.clock)

    with pytest.raises(OverrideError, match=r"ContextLocal|ThreadLocal") as caught, Local().overriding({"clock": 1}):
        pass
    assert "keeps objects in other threads or contexts" in str(caught.value)
    assert "providers.Scoped" in str(caught.value)


def test_a_selector_and_its_branches_have_ids() -> None:
    """A branch is overridden like any provider, and so is the choice."""

    class Choosing(Container):
        which = providers.Object("left")
        pool = providers.Selector(which, left=providers.Object("L"), right=providers.Object("R"))

    choosing = Choosing()
    with choosing.overriding({"pool.left": "fake"}):
        assert choosing.pool() == "fake"
    with choosing.overriding({"which": "right"}):
        assert choosing.pool() == "R"
    with choosing.overriding({"pool": "whole"}):
        assert choosing.pool() == "whole"
    assert choosing.pool() == "L"
