"""Each rule finds what it is for, says where it is, and accuses nobody else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from dependency_injector import providers as di
from dependency_injector.resources import Resource as ResourceClass
from hypothesis import given
from hypothesis import strategies as st

from tests.containers.faulty import Anything, Users, faults, only_fault, pool, request
from wellwired.containers import Container, providers
from wellwired.containers.container import ContainerInstance
from wellwired.errors import (
    ArgumentsError,
    CaptiveError,
    CycleError,
    DeclarationError,
    StateError,
    UndefinedError,
    UnknownProviderError,
)


def test_an_unknown_member_names_its_user_what_is_near_and_the_variable() -> None:
    """A misspelt member is told with who needs it, what was probably meant, and how to add it."""

    class Shop(Container):
        """One typo."""

        settings = providers.Singleton(lambda: {"sql": {"main": 1, "audit": 2}})
        sql = providers.Named(settings.provided["sql"], pool, variable="SHOP__SQL__{key}__URL")
        users = providers.Singleton(Users, sql["mian"])

    found = only_fault(Shop())
    assert isinstance(found, UnknownProviderError)
    for part in ("sql.mian", "users", "'main'", "SHOP__SQL__MIAN__URL"):
        assert part in str(found)


def test_an_undefined_dependency_says_what_to_pass() -> None:
    """A dependency that nobody supplies is named, also inside a nested container; a default is a supply."""

    class Core(Container):
        """To be nested."""

        clock = providers.Dependency(instance_of=Anything)
        fine = providers.Dependency(instance_of=int, default=providers.Object(1))

    class Shop(Container):
        """Supplies nothing."""

        core = providers.Container(Core)
        url = providers.Dependency(instance_of=str)

    found = faults(Shop())
    assert [type(f) for f in found] == [UndefinedError, UndefinedError]
    assert "core.clock" in str(found[0])
    assert "clock=… to the container of core" in str(found[0])
    assert "url=… to the container" in str(found[1])
    assert faults(Shop(url=providers.Object("x")).core()) != []


def test_abstract_and_empty_providers() -> None:
    """An abstract provider that nobody overrides, and a provider of nothing, are undefined."""

    class Shop(Container):
        """Two gaps."""

        users = di.AbstractFactory(Users)
        nothing: providers.Factory[Any] = providers.Factory()

    found = faults(Shop())
    assert [type(f) for f in found] == [UndefinedError, UndefinedError]
    assert faults(Shop(users=providers.Factory(Users, 1), nothing=providers.Object(1))) == []


@pytest.mark.parametrize(
    ("provider", "parts"),
    [
        (providers.Singleton(Users), ["needs 'writes'"]),
        (providers.Singleton(Users, 1, stor=2), ["no argument 'stor'", "did you mean 'store'?"]),
        (providers.Singleton(Users, 1, 2, 3), ["takes 2 by position and gets 3"]),
        (providers.Singleton(Users, 1, writes=2), ["'writes' twice"]),
        (providers.Resource(Users), ["needs 'writes'"]),
        (providers.Scoped(Users), ["needs 'writes'"]),
        (providers.Factory(Users, stor=1), ["no argument 'stor'"]),
        (providers.Callable(Users, stor=1), ["no argument 'stor'"]),
        (providers.Singleton(functools.partial(Users, 1), stor=1), ["no argument 'stor'"]),
        (providers.Resource(request, 1), ["takes 0 by position and gets 1"]),
    ],
)
def test_wrong_arguments(provider: Any, parts: list[str]) -> None:
    """What a class or function could not be called with is told with the provider and the argument."""

    class Shop(Container):
        """One provider."""

        users = provider

    found = only_fault(Shop())
    assert isinstance(found, ArgumentsError)
    assert str(found).startswith("users: ")
    for part in parts:
        assert part in str(found)


@pytest.mark.parametrize(
    "provider",
    [
        providers.Factory(Users),
        providers.Callable(Users),
        providers.Singleton(Anything, 1, 2, x=3),
        providers.Singleton(functools.partial(Users, 1)),
        providers.Singleton(functools.partial(Users, writes=1), store=2),
        providers.Singleton(type, "Made", (), {}),
        providers.Resource(request),
        providers.List(1, 2),
        providers.Object(Users),
    ],
)
def test_arguments_that_are_right_or_cannot_be_judged(provider: Any) -> None:
    """A factory's caller may add the rest; what has no signature is taken on trust."""

    class Shop(Container):
        """One provider."""

        users = provider

    assert faults(Shop()) == []


def test_a_factory_that_another_provider_calls_gets_no_more_arguments() -> None:
    """A factory that is injected by value must have everything; handed over as it is, its caller adds the rest."""

    class Shop(Container):
        """Two uses of one kind of factory."""

        called = providers.Factory(Users)
        handed = providers.Factory(Users)
        user = providers.Singleton(Anything, called, handed.provider)

    found = only_fault(Shop())
    assert isinstance(found, ArgumentsError)
    assert str(found).startswith("called: ")


def test_a_resource_class_of_dependency_injector_is_judged_by_its_init() -> None:
    """Their resource classes take their arguments in `init`."""

    class Pool(ResourceClass[int]):
        """Opens a pool."""

        def init(self, size: int) -> int:
            """Opens it."""
            return size

    class Shop(Container):
        """One right and one wrong."""

        right = di.Resource(Pool, 1)
        wrong = di.Resource(Pool, siz=1)

    assert str(only_fault(Shop())).startswith("wrong: ")


def test_an_overridden_provider_is_judged_by_what_stands_in() -> None:
    """A fault that an override has put out of use is no fault; a fault of the override is one."""

    class Shop(Container):
        """One fault."""

        users = providers.Singleton(Users)

    assert faults(Shop(users=providers.Object(1))) == []
    assert isinstance(only_fault(Shop(users=providers.Singleton(Users, 1, 2, 3))), ArgumentsError)


@pytest.mark.parametrize(
    "hide", [lambda p: [p], lambda p: {"k": p}, lambda p: (1, {"deep": [p]}), lambda p: {p: 1}, lambda p: {p}]
)
def test_a_provider_in_a_plain_collection(hide: Callable[[Any], Any]) -> None:
    """A provider inside a list, tuple, set or dict would be passed on uncalled, which nobody means."""
    one = providers.Singleton(Anything)

    class Shop(Container):
        """A hidden provider."""

        hidden = one
        by_position = providers.Singleton(Anything, hide(one))
        by_name = providers.Factory(Anything, things=hide(one))

    found = faults(Shop())
    assert [type(f) for f in found] == [ArgumentsError, ArgumentsError]
    assert "by_position: argument 1 is a plain" in str(found[0])
    assert "with the provider hidden in it" in str(found[0])
    assert "argument 'things'" in str(found[1])
    assert "providers.Dict or providers.List" in str(found[1])


def test_a_provider_that_is_handed_over_on_purpose_may_be_in_a_list() -> None:
    """Whoever writes `.provider` means the provider."""
    one = providers.Singleton(Anything)

    class Shop(Container):
        """A list of handles."""

        made = one
        user = providers.Singleton(Anything, [one.provider])

    assert faults(Shop()) == []


def test_a_ring_is_shown_with_its_whole_path() -> None:
    """Providers that need each other are listed in order, unnamed ones described, the first again at the end."""

    class Shop(Container):
        """A ring through an unnamed factory."""

        one = providers.Singleton(Anything)
        two = providers.Singleton(Anything, providers.Factory(Users, one))
        three = providers.Singleton(Anything, two)
        one.add_kwargs(three=three)

    found = only_fault(Shop())
    assert isinstance(found, CycleError)
    assert found.path == ("one", "three", "two", "Factory(Users)", "one")


def test_a_ring_through_a_family() -> None:
    """A member that needs its whole family needs itself."""
    family = providers.Named({"main": 1}, lambda key, config, sql: providers.Singleton(Anything, sql))
    family._deps["sql"] = family

    class Shop(Container):
        """A family that eats itself."""

        sql = family

    found = only_fault(Shop())
    assert isinstance(found, CycleError)
    assert found.path == ("sql", "sql.main", "sql")


def test_a_provider_that_needs_itself() -> None:
    """The smallest ring is shown as one."""

    class Shop(Container):
        """Alone."""

        one = providers.Factory(Anything)
        one.add_args(one)

    found = only_fault(Shop())
    assert isinstance(found, CycleError)
    assert found.path == ("one", "one")


def test_a_handle_breaks_a_ring() -> None:
    """A provider that is handed over is called later, which is no ring."""

    class Shop(Container):
        """Two who know each other."""

        one = providers.Singleton(Anything)
        two = providers.Singleton(Anything, one)
        one.add_kwargs(two=two.provider)

    assert faults(Shop()) == []


def test_an_override_can_make_and_break_a_ring() -> None:
    """The ring that counts is that of what would be called now."""

    class Shop(Container):
        """A ring."""

        one = providers.Singleton(Anything)
        two = providers.Singleton(Anything, one)
        one.add_kwargs(two=two)

    assert isinstance(only_fault(Shop()), CycleError)
    assert faults(Shop(one=providers.Object(1))) == []


@given(st.integers(2, 10), st.data())
def test_planted_rings_are_found_in_any_graph(size: int, data: st.DataObject) -> None:
    """Wherever a ring is planted among providers, everybody on it is named in a finding; without one there is none."""
    names = [f"p{n}" for n in range(size)]
    made = {name: providers.Singleton(Anything) for name in names}
    for n, name in enumerate(names):
        needs = data.draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else []
        made[name].add_args(*(made[need] for need in needs))
    assert faults(type("Straight", (Container,), dict(made))()) == []
    ring = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    for source, target in pairwise([*ring, ring[0]]):
        made[source].add_args(made[target])
    found = faults(type("Ringed", (Container,), dict(made))())
    assert all(isinstance(f, CycleError) for f in found)
    assert set(ring) <= {name for f in found if isinstance(f, CycleError) for name in f.path}


def captives(**made: Any) -> list[tuple[str, ...]]:
    """The paths of the captive dependencies of a container."""
    found = faults(type("Shop", (Container,), made)())
    assert all(isinstance(f, CaptiveError) for f in found)
    return [f.path for f in found if isinstance(f, CaptiveError)]


@pytest.mark.parametrize("holder", [providers.Singleton, providers.Resource, di.Singleton, di.ThreadLocalSingleton])
def test_whatever_outlives_a_scope_may_not_hold_what_lives_in_one(holder: Any) -> None:
    """The path leads from the long-lived one through those that are called on the way."""
    scoped = providers.Scoped(request)
    between = providers.Factory(Anything, scoped)
    assert captives(request=scoped, between=between, user=holder(Anything, x=between.provided.x)) == [
        ("user", "between", "request")
    ]


def test_a_singleton_may_not_hold_what_belongs_to_a_thread_or_a_context() -> None:
    """Thread-local and context-local objects are kept from others by being asked for anew."""
    local = di.ThreadLocalSingleton(Anything)
    context = di.ContextLocalSingleton(Anything)
    assert captives(local=local, context=context, user=providers.Singleton(Anything, local, context)) == [
        ("user", "local"),
        ("user", "context"),
    ]


def test_who_holds_a_holder_is_not_accused() -> None:
    """Only the one that really keeps the scoped object is told, not everybody above it."""
    scoped = providers.Scoped(request)
    holder = providers.Singleton(Anything, scoped)
    assert captives(request=scoped, holder=holder, above=providers.Singleton(Anything, holder)) == [
        ("holder", "request")
    ]


def test_handing_over_the_provider_is_allowed() -> None:
    """A long-lived object that asks for the scoped one each time keeps nothing."""
    scoped = providers.Scoped(request)
    assert captives(request=scoped, user=providers.Singleton(Anything, scoped.provider)) == []


def test_short_lived_objects_may_hold_anything() -> None:
    """Factories and scoped objects do not outlive a scope."""
    scoped = providers.Scoped(request)
    assert captives(request=scoped, a=providers.Factory(Anything, scoped), b=providers.Scoped(Anything, scoped)) == []


def test_an_override_decides_who_is_captive() -> None:
    """A fake that lives as long as the container may be held; a scoped fake may not."""
    scoped, plain = providers.Scoped(request), providers.Singleton(Anything)

    class Shop(Container):
        """Two pairs."""

        bound = scoped
        free = plain
        user = providers.Singleton(Anything, free)

    assert faults(Shop(bound=providers.Object(1))) == []
    found = only_fault(Shop(free=providers.Scoped(request)))
    assert isinstance(found, CaptiveError)
    assert found.path[0] == "user"


def test_a_scoped_pool_of_a_family_is_captive_too() -> None:
    """Members are judged by what the settings made of them."""

    class Shop(Container):
        """A family of scoped members."""

        sql = providers.Named({"main": 1}, lambda key, config: providers.Scoped(request))
        user = providers.Singleton(Anything, sql["main"])
        whole = providers.Singleton(Anything, sql)

    paths = [f.path for f in faults(Shop()) if isinstance(f, CaptiveError)]
    assert paths == [("user", "sql.main"), ("whole", "sql", "sql.main")]


def test_a_name_of_the_containers_own_set_on_an_instance() -> None:
    """A provider that hides a method is refused in a class body, on an instance, and found where neither looks."""
    with pytest.raises(DeclarationError):
        type("Shop", (Container,), {"start": providers.Object(1)})

    class Fine(Container):
        """Nothing hidden."""

    with pytest.raises(StateError):
        Fine().set_provider("start", providers.Object(1))
    bare = ContainerInstance()
    bare.set_provider("stop", providers.Object(1))
    found = only_fault(bare)
    assert isinstance(found, DeclarationError)
    assert "'stop'" in str(found)
