"""System checks of caches: what could not be used is found before anything connects."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from tests.integrations.django.caches import cache_on
from tests.integrations.django.test_cache import BACKEND, chosen
from wellwired import Application
from wellwired.integrations.django import container
from wellwired.integrations.django.cache import StoreCache
from wellwired.stores import DelegatedStore, MemoryStore


def found(*, deploy: bool = False) -> list[str]:
    """What the checks of caches say, by id, alias and the rest."""
    told = checks.run_checks(include_deployment_checks=deploy, tags=["wellwired"])
    assert told == [each for each in told if str(each.id).startswith("wellwired.")]
    return [f"{each.id} {each.msg}" for each in told if str(each.id).endswith("020") and each.hint]


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stores: in memory, in a Redis that is not there, and there but signed."""
    monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("WELLWIRED__STORES__CACHE__LAYERS", "memory!")
    monkeypatch.setenv("WELLWIRED__STORES__SHARED__LAYERS", "memory:5,redis.cache!")
    monkeypatch.setenv("WELLWIRED__STORES__SIGNED__LAYERS", "redis.cache!")
    monkeypatch.setenv("WELLWIRED__STORES__SIGNED__SIGNING_KEYS", "a key of sixteen bytes at least")


def test_caches_that_can_be_used_are_fine() -> None:
    """Ours and others'; nothing starts."""
    settings = chosen(default="stores.cache", shared="stores.shared")
    settings["CACHES"]["other"] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"x": 1}}
    with override_settings(**settings):
        assert found() == [] and not container(start=False).started


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"LOCATION": "stores.cahce"}, "did you mean 'cache'"),
        ({"LOCATION": ""}, "needs a store of the container"),
        ({}, "needs a store of the container"),
        ({"LOCATION": "stores.cache", "OPTIONS": {"MAX_ENTRIES": 5}}, "MAX_ENTRIES: the capacity"),
    ],
)
def test_one_that_cannot_be_used_is_an_error(params: dict[str, Any], text: str) -> None:
    """By its alias, with what is wrong."""
    settings = chosen()
    settings["CACHES"]["bad"] = {"BACKEND": BACKEND, **params}
    with override_settings(**settings):
        told = found()
    assert len(told) == 1 and told[0].startswith("wellwired.E020 the cache 'bad': ") and text in told[0]


def test_unsigned_pickles_are_warned_of_before_a_deployment() -> None:
    """Of caches with a shared layer; memory is nobody else's."""
    with override_settings(**chosen(default="stores.cache", shared="stores.shared", signed="stores.signed")):
        assert found() == []
        assert found(deploy=True) == ["wellwired.W020 the cache 'shared' reads unsigned pickles from redis.cache"]


@pytest.mark.parametrize("broken", [{"CONTAINER": "no.such.Container"}, {}, {"CONTAINER": Application}])
def test_a_broken_container_is_told_of_once(broken: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own checks, and not for every cache again."""
    monkeypatch.setenv("WELLWIRED__STORES__CACHE__LAYERS", "memory")
    with override_settings(**{**chosen(), "WELLWIRED": broken}):
        assert found(deploy=True) == [] and checks.run_checks()


class Elsewhere(StoreCache):
    """A cache on a store that no container has."""

    def finder(self, location: str) -> Any:
        """See `StoreCache.finder`."""
        return lambda: DelegatedStore[Any]([MemoryStore()])


def test_a_store_from_elsewhere_is_not_looked_for() -> None:
    """In the container it would not be found."""
    place = {"BACKEND": f"{__name__}.Elsewhere", "LOCATION": "anywhere"}
    with override_settings(**{**chosen(), "CACHES": {"default": place}}):
        assert found(deploy=True) == []
    assert not cache_on(DelegatedStore([MemoryStore()])).in_container
