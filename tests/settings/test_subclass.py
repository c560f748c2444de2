"""Tests of subclasses: another prefix, settings of an application's own, and faults that its own code finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from tests.settings.conftest import everything_told
from wellwired.errors import SettingsError
from wellwired.settings import Settings, masked

Faults = Callable[..., tuple[str, ...]]


class Mail(BaseModel):
    """An open group, as applications write them."""

    host: str
    port: int = 25


class Push(BaseModel):
    """A member of a union."""

    kind: Literal["push"]
    key: SecretStr


class Post(BaseModel):
    """Another."""

    kind: Literal["post"]
    stamps: int


def _quoting(value: str) -> str:
    if value != "good":
        raise ValueError(f"{value!r} is bad")
    return value


def _careful(value: str) -> str:
    if value != "good":
        raise ValueError("only what is good will do")
    return value


class ShopSettings(Settings):
    """The settings of a shop."""

    model_config = SettingsConfigDict(env_prefix="SHOP__")
    extra_layers = ("loader.users",)

    currency: str = "EUR"
    hosts: list[str] = Field(default=[])
    words: Annotated[list[str], NoDecode] = Field(default=[])
    limits: dict[str, int] = Field(default={})
    mail: Mail | None = None
    notify: Annotated[Push | Post, Field(discriminator="kind")] | None = None
    port: int | bool | None = None
    token: SecretStr | None = Field(default=None, validation_alias="SHOP_TOKEN", min_length=8)
    quoting: Annotated[str, AfterValidator(_quoting)] = "good"
    careful: Annotated[str, AfterValidator(_careful)] = "good"
    breaking: int = 0

    @field_validator("words", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value

    @field_validator("breaking")
    @classmethod
    def _break(cls, value: int) -> int:
        if value:
            raise LookupError(f"hunter2 {value}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> ShopSettings:
        if self.currency == "XXX":
            raise ValueError("hosts are of no use without a currency")
        return self


def test_settings_of_its_own_are_read_under_its_prefix() -> None:
    """Plain, JSON, nested, aliased, undecoded: as pydantic-settings documents."""
    settings = ShopSettings.load(
        _environ={
            "SHOP__CURRENCY": "GBP",
            "shop__hosts": '["a", "b"]',
            "SHOP__WORDS": "a b",
            "SHOP__LIMITS__CARTS": "5",
            "SHOP__LIMITS": '{"Users": 6}',
            "SHOP__MAIL__HOST": "mx",
            "SHOP__NOTIFY": '{"kind": "push", "key": "hunter2"}',
            "SHOP_TOKEN": "hunter2-and-more",
            "SHOP__SQL__MAIN__URL": "sqlite://",
            "SHOP__STORES__U__LAYERS": "loader.users,sql.main!",
            "WELLWIRED__SQLL": "somebody else's",
        }
    )
    assert (settings.currency, settings.hosts, settings.words) == ("GBP", ["a", "b"], ["a", "b"])
    assert settings.limits == {"carts": 5, "Users": 6} and settings.mail == Mail(host="mx")
    assert isinstance(settings.notify, Push) and settings.token and len(settings.token) == 16
    assert set(settings.sql) == {"main"}


OWN_FAULTS: list[tuple[dict[str, str], str]] = [
    ({"SHOP__CURENCY": "x"}, "SHOP__CURENCY: is an unknown setting; did you mean SHOP__CURRENCY?"),
    ({"SHOP__SQLL__X": "x"}, "SHOP__SQLL__X: is an unknown setting; did you mean SHOP__SQL__X?"),
    ({"SHOP__LIMITS__A": "x"}, "SHOP__LIMITS__A: is not a whole number"),
    ({"SHOP__LIMITS": '{"a": "x"}'}, "SHOP__LIMITS (at a): is not a whole number"),
    ({"SHOP__LIMITS": "5"}, "SHOP__LIMITS: is a group of named settings; did you mean SHOP__LIMITS__<NAME>?"),
    ({"SHOP__MAIL__PORT": "1"}, "SHOP__MAIL__HOST: is required but not set; set so far: SHOP__MAIL__PORT"),
    ({"SHOP__MAIL": "mx"}, "SHOP__MAIL: is a group of settings; did you mean SHOP__MAIL__HOST?"),
    (
        {"SHOP__HOSTS": "a,b"},
        ("SHOP__HOSTS: must be a list; the text is not valid JSON: expecting value at line 1 column 1"),
    ),
    ({"SHOP__HOSTS": '{"a": 1}'}, "SHOP__HOSTS: must be a list"),
    ({"SHOP__HOSTS": '["a", 1]'}, "SHOP__HOSTS (at [1]): is not text"),
    ({"SHOP__HOSTS": ""}, "SHOP__HOSTS: is empty; give it a value or unset it"),
    ({"SHOP_TOKEN": "hunter2"}, "SHOP_TOKEN: is too short; at least 8"),
    ({"SHOP__NOTIFY__KIND": "post", "SHOP__NOTIFY__STAMPS": "x"}, "SHOP__NOTIFY__STAMPS: is not a whole number"),
    ({"SHOP__NOTIFY__KIND": "post"}, "SHOP__NOTIFY__STAMPS: is required but not set; set so far: SHOP__NOTIFY__KIND"),
    (
        {"SHOP__NOTIFY__KIND": "hunter2"},
        ("SHOP__NOTIFY__KIND: is refused, for a reason that quotes it and is not shown"),
    ),
    ({"SHOP__QUOTING": "hunter2"}, "SHOP__QUOTING: is refused, for a reason that quotes it and is not shown"),
    ({"SHOP__CAREFUL": "hunter2"}, "SHOP__CAREFUL: only what is good will do"),
    (
        {"SHOP__STORES__U__LAYERS": "loader.user!"},
        ("SHOP__STORES__U__LAYERS: layer 1 is no layer that is known; did you mean loader.users?"),
    ),
    (
        {"SHOP_SQL__MAIN__URL": "x"},
        ("SHOP_SQL__MAIN__URL: does not begin with SHOP__; did you mean SHOP__SQL__MAIN__URL?"),
    ),
    ({"SHOP__CURRENCY": "XXX"}, "settings: hosts are of no use without a currency"),
]


@pytest.mark.parametrize(("environ", "line"), OWN_FAULTS)
def test_faults_of_its_own_settings_are_reported_like_all_others(
    environ: dict[str, str], line: str, faults_of: Faults
) -> None:
    """The variable with its prefix, what is wrong, and no value, whatever its validators say."""
    assert faults_of(environ, ShopSettings) == (line,)


@pytest.mark.parametrize(
    "name", ["SHOP_LOG_LEVEL", "SHOP_LOG", "SHOPS__LOG__LEVEL", "CHOP__SQL__X", "SHOP", "SHOP_SQLITE"]
)
def test_a_short_prefix_is_not_guessed_at(name: str) -> None:
    """Near a short word are other programs' variables: only a slip with our separator in it is taken for one."""
    assert ShopSettings.load(_environ={name: "x"}) == ShopSettings.load(_environ={})


def test_a_validator_that_breaks_is_a_fault_with_its_place(faults_of: Faults) -> None:
    """An exception that is no complaint is named by its class and line, and its text stays unsaid."""
    with pytest.raises(SettingsError) as caught:
        ShopSettings.load(_environ={"SHOP__BREAKING": "1"})
    (fault,) = caught.value.faults
    assert fault.startswith("settings: a validator failed with LookupError in test_subclass.py line ")
    assert not [text for text in everything_told(caught.value) if "hunter2" in text.replace("hunter2 {value}", "")]


def test_an_empty_prefix_makes_no_variable_ours() -> None:
    """Without a prefix only the names of settings are looked for: the rest is everybody's."""

    class Bare(Settings):
        model_config = SettingsConfigDict(env_prefix="")

    environ = {"PATH": "/bin", "LOG__LEVEL": "DEBUG", "SQLL__X": "x", "SQL__MAIN__URL": "sqlite://"}
    settings = Bare.load(_environ=environ, _env_file=None)
    assert settings.log.level == "DEBUG" and set(settings.sql) == {"main"}


def test_a_name_may_be_allowed_beside_an_alias() -> None:
    """As pydantic's configuration says."""

    class Both(Settings):
        model_config = SettingsConfigDict(validate_by_name=True)
        token: str = Field(default="", validation_alias="TOKEN_ALIAS")

    assert Both.load(_environ={"TOKEN_ALIAS": "a"}).token == "a"
    assert Both.load(_environ={"WELLWIRED__TOKEN": "b"}).token == "b"


def test_a_source_of_the_applications_own(tmp_path: Path, faults_of: Faults) -> None:
    """A subclass may add sources; their settings are named by them, and one that fails is a fault without its text."""

    class Filed(Settings):
        model_config = SettingsConfigDict(toml_file=tmp_path / "x.toml")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: Any,
            init_settings: Any,
            env_settings: Any,
            dotenv_settings: Any,
            file_secret_settings: Any,
        ) -> Any:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    (tmp_path / "x.toml").write_text('[log]\nlevel = "DEBUG"\n')
    settings = Filed.load(_environ={"WELLWIRED__LOG__FORMAT": "console"})
    assert (settings.log.level, settings.log.format) == ("DEBUG", "console")
    assert {line.origin for line in masked(settings) if line.variable.startswith("WELLWIRED__LOG")} == {
        "TomlConfigSettingsSource log.level",
        "WELLWIRED__LOG__FORMAT",
    }
    (tmp_path / "x.toml").write_text('[log]\nlevel = "hunter2"\n')
    assert faults_of({}, Filed)[0].startswith("TomlConfigSettingsSource log.level: must be")


def test_a_source_that_fails_is_a_fault(faults_of: Faults) -> None:
    """Its class and its exception's class are named, not what the exception quotes."""

    class Broken(PydanticBaseSettingsSource):
        def get_field_value(self, field: Any, field_name: str) -> Any:
            raise NotImplementedError

        def __call__(self) -> dict[str, Any]:
            raise ValueError("hunter2")

    class Failing(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: Any,
            init_settings: Any,
            env_settings: Any,
            dotenv_settings: Any,
            file_secret_settings: Any,
        ) -> Any:
            return init_settings, env_settings, Broken(settings_cls)

    assert faults_of({"WELLWIRED__LOG__LEVEL": "x"}, Failing)[0] == "Broken: failed with ValueError"
