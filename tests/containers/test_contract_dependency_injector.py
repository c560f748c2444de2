"""Contract tests of dependency-injector: every behaviour that this library relies on, or works around.

The first part pins what our providers and containers stand on. The second pins what we put right: a failure there is
good news, and says which of our precautions may go.
"""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from dependency_injector import containers, errors
from dependency_injector import providers as di

from tests.containers.racing import race


class Sub(di.Singleton[Any]):
    """A subclass in Python."""


# --- what we rely on -------------------------------------------------------------------------------------------------


def test_a_slot_named_call_is_what_a_call_reaches() -> None:
    """A provider class may have ``__call__`` as a slot; calling an instance calls what lies in its slot."""

    class Slotted(di.Singleton[Any]):
        __slots__ = ("__call__", "__dict__")

    provider: Any = Slotted(dict)
    provider.__call__ = di.Object("served")
    assert provider() == "served" and provider(1, a=2) == "served"
    assert di.Factory(list, di.List(provider))() == ["served"]
    provider.__call__ = di.Provider.__call__.__get__(provider)
    assert provider() == {}


def test_an_object_provider_takes_any_arguments() -> None:
    """It ignores them, so it can serve for a singleton whose later arguments do not count."""
    assert di.Object(None)(1, 2, a=3) is None


def test_provide_may_be_overridden_in_python() -> None:
    """The compiled ``__call__`` finds a ``_provide`` of a subclass, handing it a tuple and a dict."""

    class Own(di.Provider[Any]):
        def _provide(self, args: Any, kwargs: Any) -> Any:
            return args, kwargs

    assert Own()(1, a=2) == ((1,), {"a": 2})


def test_copies_are_made_by_calling_the_class_without_arguments() -> None:
    """So every provider class must allow that; then the memo, the arguments and the overrides follow."""
    made: list[tuple[Any, ...]] = []

    class Own(di.Singleton[Any]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(args)
            super().__init__(*args, **kwargs)

    original = Own(dict, a=1)
    with original.override("fake"):
        copied = di.deepcopy(original)
    assert made == [(dict,), ()]
    assert copied() == "fake" and copied.kwargs == {"a": 1}


def test_a_memo_decides_what_a_copy_refers_to() -> None:
    """`di.deepcopy(provider, {id(old): new})` puts `new` in the place of `old`, however deep."""
    old, new, kept = di.Object("old"), di.Object("new"), di.Singleton(object)
    top = di.Factory(dict[str, Any], it=di.List(old), attribute=old.provided, kept=kept)
    copied = di.deepcopy(top, {id(old): new, id(kept): kept})
    assert copied()["it"] == ["new"] and copied()["attribute"] == "new"
    assert copied()["kept"] is kept()


def test_related_lists_the_arguments_in_order_and_what_overrides_last() -> None:
    """Our dependency relation is read from it."""
    one, two, three, fake = (di.Object(index) for index in range(4))
    provider = di.Factory(dict[str, Any], one, three=three, two=two)
    provider.override(fake)
    assert list(provider.related) == [one, three, two, fake]
    assert list(di.Selector(one, a=two).related) == [one, two]
    assert list(one.provided.related) == [one]


def test_overrides_are_a_stack_with_the_last_on_top() -> None:
    """`overridden` is the stack, `last_overriding` its top, and both resets work on the top and on all."""
    provider: di.Provider[Any] = di.Factory(dict)
    first, second = di.Object(1), di.Object(2)
    provider.override(first)
    provider.override(second)
    assert provider.overridden == (first, second) and provider.last_overriding is second
    provider.reset_last_overriding()
    assert provider.overridden == (first,) and provider.last_overriding is first
    provider.reset_override()
    assert provider.overridden == () and provider.last_overriding is None


def test_an_override_that_is_no_provider_is_provided_as_it_is() -> None:
    """Classes and functions too."""
    provider = di.Factory(dict[str, Any])
    for value in (list, len, None, MagicMock()):
        with provider.override(value):
            assert provider() is value


def test_one_lock_is_taken_to_change_overrides() -> None:
    """It is on the class, reentrant, and calls do not take it."""
    lock: Any = di.Provider.overriding_lock  # type: ignore[attr-defined]
    assert isinstance(lock, type(threading.RLock()))
    provider = di.Factory(dict[str, Any])
    with lock:
        assert race(provider, threads=2, timeout=5) == [{}, {}]


def test_an_instance_is_made_through_instance_type() -> None:
    """`__new__` makes `cls.instance_type()`, copies, calls `load_config`, then applies overrides, then wires."""
    calls: list[str] = []

    class Instance(containers.DynamicContainer):
        def load_config(self) -> None:
            calls.append(f"load {sorted(self.providers)}")

        def override_providers(self, **kwargs: Any) -> Any:
            calls.append(f"override {sorted(kwargs)}")
            return super().override_providers(**kwargs)

        def wire(self, *args: Any, **kwargs: Any) -> None:
            calls.append("wire")

    class Shop(containers.DeclarativeContainer):
        instance_type = Instance
        one = di.Object(1)

    shop: Any = Shop(one=2)
    assert isinstance(shop, Instance) and shop.one() == 2
    assert shop.declarative_parent is Shop
    assert calls == ["load ['one']", "override ['one']", "wire"]


def test_a_class_keeps_its_providers_in_three_mappings() -> None:
    """Our metaclass replaces them: all, its own, and the inherited ones."""

    class Base(containers.DeclarativeContainer):
        one = di.Object(1)

    class Derived(Base):
        two = di.Object(2)

    assert Derived.providers == {"one": Base.one, "two": Derived.two}
    assert Derived.cls_providers == {"two": Derived.two}
    assert Derived.inherited_providers == {"one": Base.one}
    metaclass: Any = type(Derived)
    assert isinstance(Derived.__self__, di.Self) and metaclass.__setattr__ is not type.__setattr__


def test_a_nested_container_is_made_with_its_provider_and_copied_with_it() -> None:
    """And knows its parent, by which we tell it from an outermost one."""

    class Core(containers.DeclarativeContainer):
        one = di.Singleton(object)

    class App(containers.DeclarativeContainer):
        core = di.Container(Core)

    app = App()
    assert app.core().parent is app.core and app.parent is None
    assert app.core().one is not App.core().one


def test_arguments_by_name_reach_nested_providers() -> None:
    """`inner__a=1` is for the provider behind the argument `inner`; ours pass arguments on unchanged."""
    outer = di.Factory(dict[str, Any], inner=di.Factory(dict[str, Any]))
    assert outer(inner__a=1) == {"inner": {"a": 1}}


def test_the_state_of_a_resource_is_among_its_referents() -> None:
    """In a forked child we keep it alive that way, since the compiled state cannot be reached otherwise."""
    ended: list[str] = []

    def opening() -> Iterator[str]:
        try:
            yield "open"
        finally:
            ended.append("ended")

    resource: Any = di.Resource(opening)
    resource()
    kept = gc.get_referents(resource)
    resource.reset_state()
    gc.collect()
    assert not resource.initialized and ended == []
    kept.clear()
    gc.collect()
    assert ended == ["ended"]


def test_generated_context_managers_have_a_type_of_their_own() -> None:
    """`contextlib.contextmanager` makes what is entered by declaration; nothing else is of this type."""

    @contextlib.contextmanager
    def managed() -> Iterator[int]:
        yield 1

    generated = type(managed())
    assert not isinstance(contextlib.nullcontext(), generated)
    assert not isinstance(MagicMock(), generated)
    assert not isinstance(contextlib.ExitStack(), generated)


def test_modes_can_be_reset() -> None:
    """A provider decides at its first call whether it is asynchronous, and can be told to decide again."""

    async def coroutine() -> None: ...

    provider = di.Factory(dict[str, Any])
    provider()
    assert provider.is_async_mode_disabled()
    provider.reset_async_mode()
    assert provider.is_async_mode_undefined()


# --- what we put right -----------------------------------------------------------------------------------------------


def test_its_singleton_builds_one_object_per_racing_thread() -> None:
    """Ours has a lock of its own."""
    together = threading.Barrier(4)

    def build() -> object:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(5)
        return object()

    assert len({id(one) for one in race(di.Singleton(build), threads=4)}) == 4


def test_its_thread_safe_singletons_share_one_lock() -> None:
    """Ours do not wait for each other."""
    assert di.ThreadSafeSingleton(dict).storage_lock is di.ThreadSafeSingleton(list).storage_lock  # type: ignore[attr-defined]


def test_its_singleton_builds_again_after_none() -> None:
    """Ours keeps None."""
    built: list[int] = []
    single = di.Singleton(lambda: built.append(1))
    single()
    single()
    assert built == [1, 1]


def test_its_resource_enters_whatever_can_be_entered() -> None:
    """Ours enters what was declared."""
    lock = threading.Lock()
    assert di.Resource(lambda: lock)() is True and lock.locked()
    mock = MagicMock()
    assert di.Resource(lambda: mock)() is mock.__enter__()


def test_its_resource_opens_once_per_racing_thread() -> None:
    """Ours opens once."""
    together = threading.Barrier(4)
    opened: list[int] = []

    def opening() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(5)
        opened.append(1)

    race(di.Resource(opening), threads=4)
    assert len(opened) == 4


def test_its_containers_leave_resources_open_when_one_fails() -> None:
    """Ours roll a failed start back, and try every closing."""

    def failing() -> Iterator[None]:
        yield
        raise OSError

    class Shop(containers.DeclarativeContainer):
        one = di.Resource(failing)
        two = di.Resource(failing)

    shop = Shop()
    shop.init_resources()
    with pytest.raises(OSError):
        shop.shutdown_resources()
    assert shop.one.initialized != shop.two.initialized


def test_its_traversal_has_no_order() -> None:
    """It walks a set; ours walks in the order of declaration."""
    providers = [di.Object(index) for index in range(50)]
    assert set(di.traverse(*providers)) == set(providers)
    assert list(di.traverse(*providers)) != providers


def test_inherited_providers_keep_using_the_bases() -> None:
    """Ours are rewired."""

    class Base(containers.DeclarativeContainer):
        one = di.Object("base")
        two = di.Factory(dict[str, Any], one=one)

    class Derived(Base):
        one = di.Object("derived")

    assert Derived().two() == {"one": "base"}


def test_of_two_bases_class_and_instance_see_different_providers() -> None:
    """Ours refuse it."""

    class Left(containers.DeclarativeContainer):
        one = di.Object("left")

    class Right(containers.DeclarativeContainer):
        one = di.Object("right")

    class Both(Left, Right):
        pass

    assert Both.one() == "left" and Both().one() == "right"


def test_an_inherited_self_is_the_class_of_the_base() -> None:
    """Ours is the instance."""

    class Base(containers.DeclarativeContainer):
        this: di.Self[Any] = di.Self()
        user = di.Factory(dict[str, Any], container=this)

    class Derived(Base):
        pass

    assert Derived().user()["container"] is Base


@pytest.mark.parametrize("name", ["wire", "override", "load_config", "parent"])
def test_a_provider_may_hide_the_containers_own(name: str) -> None:
    """Ours refuse the class."""
    metaclass: Any = type(containers.DeclarativeContainer)
    container = metaclass("Shop", (containers.DeclarativeContainer,), {name: di.Object(1)})
    assert isinstance(getattr(container, name), di.Provider)


def test_half_an_override_stays_when_a_name_is_wrong() -> None:
    """Ours look at all names first."""

    class Shop(containers.DeclarativeContainer):
        one = di.Object(1)

    shop = Shop()
    with pytest.raises(AttributeError):
        shop.override_providers(one=2, typo=3)
    assert shop.one() == 2


def test_the_end_of_an_override_takes_the_last_one() -> None:
    """Ours take their own."""
    provider = di.Object("real")
    first: Any = provider.override("first")
    second: Any = provider.override("second")
    first.__exit__(None, None, None)
    assert provider() == "first"
    second.__exit__(None, None, None)


def test_a_dependent_singleton_keeps_the_fake() -> None:
    """Ours are rebuilt."""
    pool = di.Object("real")
    service = di.Singleton(dict[str, Any], pool=pool)
    with pool.override("fake"):
        service()
    assert service() == {"pool": "fake"}


def test_an_override_of_the_class_stays_in_its_instances() -> None:
    """Ours refuse to make the instance."""

    class Shop(containers.DeclarativeContainer):
        one = di.Object(1)

    with Shop.one.override("fake"):
        shop = Shop()
    assert shop.one() == "fake"


def test_what_a_class_body_says_beside_providers_is_gone() -> None:
    """Ours find it."""

    class Shop(containers.DeclarativeContainer):
        limit = 3

    assert not hasattr(Shop(), "limit") and not isinstance(Shop(), Shop)


def test_wiring_lists_the_container_among_its_providers() -> None:
    """Ours leave ``__self__`` out of every listing."""

    class Shop(containers.DeclarativeContainer):
        one = di.Object(1)

    shop = Shop()
    shop.wire(modules=[__name__])
    shop.unwire()
    assert "__self__" in shop.providers


def test_an_open_resource_cannot_be_copied() -> None:
    """Nor can ours, which say what to do."""
    resource = di.Resource(dict[str, Any])
    resource()
    with pytest.raises(errors.Error, match="Can not copy initialized resource"):
        di.deepcopy(resource)


def test_a_provider_adds_itself_to_what_overrides_it() -> None:
    """And takes itself away again, so that a long-lived stand-in does not keep every container alive."""
    provider, stand_in = di.Factory(dict[str, Any]), di.Object(1)
    provider.override(stand_in)
    assert stand_in.overrides == (provider,)
    provider.reset_last_overriding()
    assert stand_in.overrides == ()
