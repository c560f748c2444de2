"""Every fault of a container is found before anything is opened, in one report that quotes no secret."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from tests.containers.faulty import Anything, Users, broken_settings, faults, only_fault, pool, request
from wellwired.containers import Container, providers
from wellwired.errors import (
    ArgumentsError,
    CaptiveError,
    ContainerError,
    CycleError,
    DeclarationError,
    SettingsError,
    UndefinedError,
    UnknownProviderError,
)


def test_a_sound_container_is_returned() -> None:
    """Check gives the container back, so that it can be chained, and builds nothing but the settings."""
    built: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *args: built.append(name)

    class Sound(Container):
        """Nothing wrong."""

        settings = providers.Singleton(lambda: {"sql": {"main": 1}})
        sql = providers.Named(settings.provided["sql"], lambda key, config: providers.Resource(note("pool")))
        users = providers.Singleton(note("users"), sql["main"])
        report = providers.Factory(note("report"), users)

    sound = Sound()
    assert sound.check() is sound
    assert built == []


def test_each_fault_of_the_settings_is_a_finding() -> None:
    """A report of two faults comes out as two, beside whatever else is wrong."""

    class Shop(Container):
        """Broken settings."""

        settings = providers.Singleton(broken_settings)

    found = faults(Shop())
    assert [type(f) for f in found] == [SettingsError, SettingsError]
    assert "SHOP__SQL__MAIN__URL is required" in str(found[0])


def test_without_settings_no_name_is_guessed_to_be_wrong() -> None:
    """Names of members cannot be judged if the settings cannot be read; everything else still is."""

    class Shop(Container):
        """Broken settings, a family, and a wrong argument."""

        settings = providers.Singleton(broken_settings)
        sql = providers.Named(settings.provided.sql, pool)
        users = providers.Singleton(Users, sql["whatever"], stor=1)

    found = faults(Shop())
    assert [type(f) for f in found] == [SettingsError, SettingsError, ArgumentsError]


def test_settings_that_leak_are_not_quoted() -> None:
    """An exception that is not ours may hold a secret: neither its text nor its traceback is part of the report."""

    class Leaky(BaseModel):
        url: SecretStr
        size: int

    class Shop(Container):
        """Settings of the application's own making."""

        settings = providers.Singleton(lambda: Leaky(url=SecretStr("hunter2"), size="hunter2"))  # type: ignore[arg-type]
        sql = providers.Named(settings.provided.sql, pool)

    with pytest.raises(ExceptionGroup, match="1 fault") as caught:
        Shop().check()
    text = "".join(traceback.format_exception(caught.value))
    assert "settings could not be built: ValidationError" in text
    assert "hunter2" not in text


def test_a_family_that_cannot_be_built_is_a_finding() -> None:
    """What building a member raises is told, without its text; a family that is replaced is not built."""

    def fail(key: str, config: Any) -> Any:
        raise ValueError("hunter2")

    class Shop(Container):
        """A build function with a fault."""

        settings = providers.Singleton(lambda: {"sql": {"main": 1}})
        sql = providers.Named(settings.provided["sql"], fail)

    assert "ValueError" in str(only_fault(Shop()))
    assert "hunter2" not in str(only_fault(Shop()))
    shop = Shop()
    with shop.overriding({"sql": {"main": 1}}):
        assert faults(shop) == []


def test_a_group_of_errors_comes_out_one_by_one() -> None:
    """Settings that report in a group of their own are not nested in the report."""

    def several() -> Any:
        raise ExceptionGroup("wrong", [SettingsError(["one"]), ExceptionGroup("inner", [SettingsError(["two"])])])

    class Shop(Container):
        """Two faults, one of them deeper."""

        settings = providers.Singleton(several)

    assert [fault for f in faults(Shop()) if isinstance(f, SettingsError) for fault in f.faults] == ["one", "two"]


def test_a_build_function_that_returns_no_provider() -> None:
    """The family's own error is passed on as it is."""

    class Shop(Container):
        """Returns an object."""

        settings = providers.Singleton(lambda: {"sql": {"main": 1}})
        sql = providers.Named(settings.provided["sql"], lambda key, config: config)

    assert isinstance(only_fault(Shop()), DeclarationError)


def test_settings_in_a_ring_are_one_finding() -> None:
    """What building the settings stumbles over is told by the rule that knows the reason, and not twice."""

    class Shop(Container):
        """Settings that need themselves."""

        settings = providers.Singleton(Anything)
        other = providers.Singleton(Anything, settings)
        settings.add_args(other)

    assert isinstance(only_fault(Shop()), CycleError)


def test_everything_at_once() -> None:
    """One report has a finding for every fault, whatever kind it is, and is raised by start() too."""
    lone = providers.Singleton(Anything)

    class Shop(Container):
        """All that can be wrong beside the settings."""

        settings = providers.Singleton(lambda: {"sql": {"main": 1}})
        sql = providers.Named(settings.provided["sql"], pool)
        typo = providers.Singleton(Anything, sql["mian"])
        url = providers.Dependency(instance_of=str)
        users = providers.Singleton(Users)
        alone = lone
        hidden = providers.Singleton(Anything, [lone])
        ring = providers.Singleton(Anything)
        ring.add_args(ring)
        request = providers.Scoped(request)
        captive = providers.Singleton(Anything, request)

    expected = [UnknownProviderError, UndefinedError, ArgumentsError, ArgumentsError, CycleError, CaptiveError]
    assert [type(f) for f in faults(Shop())] == expected
    with pytest.raises(ExceptionGroup, match="Shop cannot be started: 6 faults") as caught:
        Shop().start()
    assert all(isinstance(f, (ContainerError, SettingsError)) for f in caught.value.exceptions)


def test_nested_containers_are_checked_with_their_parent() -> None:
    """A fault inside a nested container has a dotted id."""

    class Core(Container):
        """To be nested."""

        users = providers.Singleton(Users)

    class Shop(Container):
        """Nests it."""

        core = providers.Container(Core)

    assert str(only_fault(Shop())).startswith("core.users: ")
