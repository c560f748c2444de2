"""System checks of Django: every kind of fault has an id and a hint, and nothing connects."""

from __future__ import annotations

import io
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers as di
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from tests.integrations.django.containers import DjangoShop
from wellwired import Application, errors
from wellwired.containers import Container, providers
from wellwired.errors import ContainerError, MissingExtraError, SettingsError, WellwiredError
from wellwired.integrations.django import _faults, container
from wellwired.integrations.django._faults import KINDS, OTHER, PLACE, faults_of
from wellwired.integrations.django._settings import SettingError

SERVICES = "tests.integrations.services"


def found() -> dict[str, list[str]]:
    """What `manage.py check` finds: the texts by their ids."""
    ours = [each for each in checks.run_checks() if str(each.id).startswith("wellwired.")]
    assert all(each.hint for each in ours)
    return {str(id): [each.msg for each in ours if each.id == id] for id in sorted({str(each.id) for each in ours})}


def checked(setting: Any) -> dict[str, list[str]]:
    """The same, with another setting."""
    with override_settings(WELLWIRED=setting):
        return found()


def service(needed: object) -> object:
    """Something that needs another."""
    return needed


class Undefined(Container):
    """Has a dependency that nobody supplies."""

    missing = di.Dependency(instance_of=str)


class Arguments(Container):
    """Has a provider that cannot be called."""

    service = providers.Singleton(service, 1, 2)


class Ring(Container):
    """Has providers that need each other."""

    one = providers.Singleton(service)
    other = providers.Singleton(service, one)
    one.add_args(other)


class Captive(Container):
    """Has a singleton that would keep what lives for a request."""

    visit = providers.Scoped(str)
    service = providers.Singleton(service, visit)


class Unknown(Application):
    """Needs a database that nobody has configured."""

    service = providers.Singleton(service, Application.sql["nowhere"])


def missing_extra() -> Any:
    """Something that is not installed."""
    raise MissingExtraError("PyMySQL", extra="mysql", purpose="sql.main")


class Extra(Container):
    """Has settings that need what is not installed."""

    settings = providers.Singleton(missing_extra)


@pytest.mark.parametrize(
    ("setting", "id", "said"),
    [
        (None, "E001", "the setting WELLWIRED is missing"),
        ({"CONTAINER": DjangoShop, "MODULE": []}, "E001", "did you mean 'MODULES'"),
        ({"CONTAINER": "shop.containers.Shop"}, "E002", "No module named 'shop'"),
        ({"CONTAINER": "tests.integrations.shop.Shopp"}, "E002", "has no 'Shopp'"),
        ({"CONTAINER": "tests.integrations.shop.Visit"}, "E002", "is no container"),
        ({"CONTAINER": DjangoShop, "MODULES": ["shop.views"]}, "E003", "No module named 'shop'"),
        ({"CONTAINER": Container, "MODULES": [SERVICES]}, "E004", "greet(greeting=Provide['greeting'])"),
        ({"CONTAINER": Undefined}, "E013", "missing is declared as a dependency (str)"),
        ({"CONTAINER": Arguments}, "E014", "service: service(needed)"),
        ({"CONTAINER": Ring}, "E015", "one -> other -> one"),
        ({"CONTAINER": Captive}, "E016", "service lives as long as the container and would keep visit"),
        ({"CONTAINER": Unknown}, "E012", "nowhere"),
        ({"CONTAINER": Extra}, "E017", "pip install 'wellwired[mysql]'"),
    ],
)
def test_a_fault_has_an_id(setting: Any, id: str, said: str) -> None:
    """Whatever is wrong, it is an error of its own kind that says where."""
    told = checked(setting)
    assert any(said in text for text in told[f"wellwired.{id}"]), told


def test_a_module_that_raises_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises, the check says where, and goes on."""
    (tmp_path / "raising_module.py").write_text("\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = checked({"CONTAINER": Undefined, "MODULES": ["raising_module"]})
    assert re.search(r"^ZeroDivisionError in .*raising_module.py, line 2: division", told["wellwired.E003"][0])
    assert "wellwired.E013" in told


def test_a_good_project_has_no_faults() -> None:
    """And nothing has been opened to find that out."""
    assert found() == {}
    assert not container(start=False).started and container(start=False).log() == []


def test_every_fault_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the environment by their names, next to markers that lead nowhere; none shows a value."""
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__URL", "nonsense://hunter2@host/x")
    monkeypatch.setenv("WELLWIRED__REDIS__CACHE__POOL_SIZE", "hunter2")
    told = checked({"CONTAINER": Application, "MODULES": [SERVICES]})
    assert sorted(told) == ["wellwired.E004", "wellwired.E010"]
    texts = " ".join(told["wellwired.E010"])
    assert {"WELLWIRED__SQL__MAIN__URL", "WELLWIRED__REDIS__CACHE__URL"} <= set(re.findall(r"WELLWIRED__\w+", texts))
    assert "hunter2" not in str(told)


def test_a_module_that_another_container_has_is_a_fault() -> None:
    """A module can be listed and yet be somebody else's."""
    other = DjangoShop()
    other.wire([SERVICES])
    assert (
        "is wired to another DjangoShop"
        in checked({"CONTAINER": DjangoShop, "MODULES": [SERVICES]})["wellwired.E005"][0]
    )
    other.unwire()


def test_a_class_that_wires_itself_is_a_fault() -> None:
    """It would wire each instance as it is made."""
    from dependency_injector import containers as di_containers

    class Wiring(DjangoShop):
        wiring_config = di_containers.WiringConfiguration(modules=[SERVICES], auto_wire=False)

    assert "wiring_config" in checked({"CONTAINER": Wiring})["wellwired.E011"][0]


def test_checks_connect_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where everything is configured and wrong addresses would be noticed."""
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", "redis://127.0.0.1:1/0")

    def refuse(*_: object) -> None:
        raise AssertionError("a check connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with override_settings(WELLWIRED={"CONTAINER": Application}):
        # The views need more than an Application has, and that is all.
        assert list(found()) == ["wellwired.E004"] and not container(start=False).started


def test_scoped_providers_need_the_middleware() -> None:
    """A warning, for what lives for a request is refused where no request has a scope."""
    with override_settings(MIDDLEWARE=[]):
        assert "visit live for a request" in found()["wellwired.W001"][0]
    with override_settings(MIDDLEWARE=[], WELLWIRED={"CONTAINER": Captive}):
        assert "visit live for a request" in found()["wellwired.W001"][0]
    for setting in (None, {"CONTAINER": Ring}):
        with override_settings(MIDDLEWARE=[], WELLWIRED=setting):
            assert "wellwired.W001" not in found()


def test_the_command_of_django_shows_id_and_hint() -> None:
    """As any other check of a project does."""
    with (
        override_settings(WELLWIRED={"CONTAINER": "shop.containers.Shop"}),
        pytest.raises(SystemCheckError, match=r"wellwired.E002[\s\S]*HINT: name a class"),
    ):
        call_command("check", stdout=io.StringIO(), stderr=io.StringIO())


def test_the_checks_have_a_tag_and_can_be_silenced() -> None:
    """So that a project may ask for these alone, or build an image without the environment."""
    with override_settings(WELLWIRED=None):
        with pytest.raises(SystemCheckError, match=r"wellwired\.E001"):
            call_command("check", tags=["wellwired"], stdout=io.StringIO(), stderr=io.StringIO())
        with override_settings(SILENCED_SYSTEM_CHECKS=["wellwired.E001"]):
            call_command("check", tags=["wellwired"], stdout=io.StringIO(), stderr=io.StringIO())


def test_every_error_of_the_container_has_a_kind() -> None:
    """None falls to "any other fault" by having been forgotten."""
    raised_elsewhere = {errors.OverrideError, errors.NoScopeError}
    kinds = {cls: next((KINDS[base] for base in cls.__mro__ if base in KINDS), None) for cls in _leaves(ContainerError)}
    assert {cls for cls, kind in kinds.items() if kind is None} == raised_elsewhere
    assert SettingsError in KINDS and MissingExtraError in KINDS and SettingError in KINDS


def test_a_group_is_taken_apart() -> None:
    """Each error in it is a fault, and so is each line of one that lists several."""
    group = ExceptionGroup("two", [SettingsError(["A is wrong", "B is wrong"]), RuntimeError("no")])
    assert [(fault.kind.id, fault.text) for fault in faults_of(group)] == [
        ("wellwired.E010", "A is wrong"),
        ("wellwired.E010", "B is wrong"),
        (OTHER.id, "RuntimeError: no"),
    ]


def test_the_table_of_ids_is_true() -> None:
    """Every id that can be reported is in the module's table, once."""
    listed = re.findall(r"^ *(wellwired\.[EW]\d+)", str(_faults.__doc__), re.MULTILINE)
    used = {kind.id for kind in KINDS.values()} | {OTHER.id, PLACE.id, "wellwired.W001"}
    assert sorted(listed) == sorted(used)


def _leaves(cls: type[WellwiredError]) -> set[type[WellwiredError]]:
    below = [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]
    return {cls}.difference([ContainerError]).union(*map(_leaves, below))
