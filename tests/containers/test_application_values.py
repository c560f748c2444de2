"""How an application's shared layers write their values: codec, type, compression and signatures."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
import structlog
from pydantic_settings import SettingsConfigDict

from wellwired import Application, Settings, providers
from wellwired.errors import SettingsError
from wellwired.stores.damage import Reason
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

KEY, NEW = "a key of more than sixteen bytes", "another key of sixteen bytes too"


class Profile(msgspec.Struct, frozen=True):
    """What the application stores."""

    name: str
    born: dt.date


ADA = Profile("Ada", dt.date(1815, 12, 10))


class Shop(Application):
    """An application that reads its settings from variables of its own."""

    class _Own(Settings):
        model_config = SettingsConfigDict(env_prefix="SHOP__")

    settings = providers.Singleton(_Own.load)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A database and a Redis."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP__SQL__MAIN__URL", "sqlite:///shop.db")
    monkeypatch.setenv("SHOP__REDIS__CACHE__URL", "memory://")
    monkeypatch.setenv("SHOP__LOG__LEVEL", "CRITICAL")
    yield monkeypatch
    structlog.reset_defaults()


def layers(environment: pytest.MonkeyPatch, **options: Any) -> None:
    """Has both shared layers of a store written so."""
    made = [{"name": "redis.cache", **options}, {"name": "sql.main", "primary": True, **options}]
    environment.setenv("SHOP__STORES__USERS__LAYERS", json.dumps(made))


def shared(shop: Shop) -> tuple[RedisStore, SQLStore]:
    """The two stores."""
    cache, truth = (layer.store for layer in shop.stores["users"]().layers)
    assert isinstance(cache, RedisStore) and isinstance(truth, SQLStore)
    truth.create_table()
    return cache, truth


def test_values_have_the_type_that_the_environment_says(environment: pytest.MonkeyPatch) -> None:
    """A typed codec, compression and signatures reach both shared layers."""
    layers(environment, codec="json", type=f"{__name__}:Profile", compression="zstd", compress_above=10)
    environment.setenv("SHOP__STORES__USERS__SIGNING_KEYS", KEY)
    with Shop() as shop:
        cache, truth = shared(shop)
        shop.stores["users"]().set("ada", ADA)
        for store in (cache, truth):
            entry = store.get("ada")
            assert entry is not None and entry.value == ADA
        raw = shop.redis["cache"]().get("users:ada")
        assert isinstance(raw, bytes) and b"json" in raw and raw[20] & 16


def test_keys_are_rotated_by_a_variable(environment: pytest.MonkeyPatch) -> None:
    """With the new key in front what the old one signed is still read; without the old one it is a miss."""
    layers(environment, codec="pickle")
    for keys, expected in ((KEY, None), (f"{NEW},{KEY}", {1, 2}), (NEW, None)):
        environment.setenv("SHOP__STORES__USERS__SIGNING_KEYS", keys)
        with Shop() as shop:
            _, truth = shared(shop)
            entry = truth.get("a")
            assert (entry and entry.value) == expected
            if keys == KEY:
                truth.set("a", {1, 2})
            if keys == NEW:
                assert truth.damage.counts == {Reason.SIGNATURE: 1}


@pytest.mark.parametrize(
    ("options", "keys", "complaint"),
    [
        ({"codec": "pickle"}, "", "SIGNING_KEYS: is empty"),
        ({"codec": "pickle"}, "short", "SIGNING_KEYS: has a key of less than 16 bytes"),
        ({"codec": "pickle"}, f"{KEY},{KEY}", "SIGNING_KEYS: has a key"),
        ({"codec": "pickle", "type": "a:B"}, KEY, "of no use to the codec pickle"),
        ({"codec": "yaml"}, "", "codec"),
        ({"type": "no colon"}, "", "type"),
        ({"compression": "gzip"}, "", "compression"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_anything_connects(
    environment: pytest.MonkeyPatch, options: dict[str, Any], keys: str, complaint: str
) -> None:
    """Each fault names its setting and shows no key."""
    layers(environment, **options)
    environment.setenv("SHOP__STORES__USERS__SIGNING_KEYS", keys)
    with pytest.raises(SettingsError) as caught:
        Shop().settings()
    assert complaint.lower() in str(caught.value).lower() and KEY not in str(caught.value)


def test_a_memory_layer_writes_nothing(environment: pytest.MonkeyPatch) -> None:
    """A codec for it is a mistake."""
    environment.setenv("SHOP__STORES__USERS__LAYERS", json.dumps([{"name": "memory", "codec": "json"}]))
    with pytest.raises(SettingsError, match="option of redis and sql layers"):
        Shop().settings()


def test_a_type_that_is_not_there_is_a_fault_before_anything_is_opened(environment: pytest.MonkeyPatch) -> None:
    """`check()` names each such layer by its store's variable, for all stores at once."""
    layers(environment, type="no.such.module:Profile")
    other = [{"name": "sql.main", "primary": True, "type": f"{__name__}:Nobody"}]
    environment.setenv("SHOP__STORES__PRICES__LAYERS", json.dumps(other))
    shop = Shop()
    with pytest.raises(ExceptionGroup) as caught:
        shop.check()
    assert [type(error) for error in caught.value.exceptions] == [SettingsError] * 3
    faults = sorted(" ".join(error.faults) for error in caught.value.exceptions if isinstance(error, SettingsError))
    users, prices = "SHOP__STORES__USERS__LAYERS: layer", "SHOP__STORES__PRICES__LAYERS: layer"
    cannot = "the type no.such.module:Profile cannot be used (ModuleNotFoundError)"
    assert faults[0].startswith(f"{prices} sql.main: the type {__name__}:Nobody cannot be used (AttributeError)")
    assert faults[1].startswith(f"{users} redis.cache: {cannot}") and faults[2].startswith(
        f"{users} sql.main: {cannot}"
    )
    assert all(fault.endswith("write it as module:name") for fault in faults)


def test_a_type_that_no_codec_can_check_is_a_fault_as_well(environment: pytest.MonkeyPatch) -> None:
    """What can be imported and is no type is told by `check()` too."""
    layers(environment, codec="json", type=f"{__name__}:KEY")
    with pytest.raises(ExceptionGroup, match="cannot be started: 2 faults"):
        Shop().check()


def test_types_that_are_there_pass_the_check(environment: pytest.MonkeyPatch) -> None:
    """Nothing is built for it but the settings."""
    layers(environment, type=f"{__name__}:Profile")
    shop = Shop().check()
    opened = {provider.name: provider.initialized for provider in shop.traverse(types=[providers.Resource])}
    assert {"sql.main", "redis.cache", "stores.users"} <= opened.keys() and not any(opened.values())
