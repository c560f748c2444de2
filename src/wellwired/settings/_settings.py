"""`Settings`: everything that can be configured, read once, frozen, and wrong only with a full report."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, Field, PrivateAttr
from pydantic_settings import BaseSettings, SettingsConfigDict

from wellwired.errors import SettingsError
from wellwired.settings._frozen import FrozenDict
from wellwired.settings._load import Reading, cross_faults, read, validation_faults
from wellwired.settings._variables import Fault, Origins
from wellwired.settings.backends import RedisSettings, SQLSettings
from wellwired.settings.models import LogSettings, MetricsSettings, StoreSettings, WriteSettings
from wellwired.settings.names import Name

__all__ = ["Settings"]


class Settings(BaseSettings):
    """The settings of an application, from its environment.

    Sources, the strongest first: arguments, environment, ``.env``, secrets directory. They are merged setting by
    setting. A setting's variable is its place in the tree, with ``WELLWIRED__`` before it and ``__`` between::

        WELLWIRED__SQL__MAIN__URL=postgresql://…
        WELLWIRED__SQL__MAIN__POOL_SIZE=20
        WELLWIRED__REDIS__CACHE__URL=redis://…
        WELLWIRED__STORES__USERS__LAYERS=memory:60,redis.cache:3600,sql.main!

    A group may also be one JSON text (``WELLWIRED__SQL__MAIN={"url": …}``), to which nested variables add. The case of
    a variable does not matter: names are lower case. A name that a variable could not carry (upper case, ``__``, dots,
    hyphens) is refused where it comes by JSON or as an argument, because it could not be one name everywhere.

    ``WELLWIRED__ENV_FILE`` and ``WELLWIRED__SECRETS_DIR`` name a file to read instead of ``.env``, and a directory of
    secrets; both must exist then.

    Nothing configured is valid: there are no databases, no Redis and no stores then.

    An application adds settings, or takes another prefix, in a subclass::

        class ShopSettings(Settings):
            model_config = SettingsConfigDict(env_prefix="SHOP__")

            currency: str = "EUR"

    Objects are immutable and free to share between threads; equal settings are equal and hash alike.

    Args:
        _environ: the environment to read instead of the process's.
        _env_file: the file, or files from the weakest to the strongest, to read instead of ``.env``; None for none.
        _env_file_encoding: their encoding.
        _secrets_dir: the directory, or directories, of secrets; None for none.
        values: settings by name, over all other sources.

    Raises:
        SettingsError: something is wrong; the report names every fault by its variable, and shows no value.
    """

    model_config = SettingsConfigDict(
        env_prefix="WELLWIRED__",
        env_nested_delimiter="__",
        env_file=".env",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    extra_layers: ClassVar[tuple[str, ...]] = ()
    """Names of layers that the application itself brings, such as ``loader.users``."""

    sql: Annotated[dict[Name, SQLSettings], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    redis: Annotated[dict[Name, RedisSettings], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    stores: Annotated[dict[Name, StoreSettings], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    writes: WriteSettings = WriteSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()

    _origins: Origins = PrivateAttr(default_factory=Origins)

    def __init__(self, **values: Any) -> None:
        faults = self._fill(values)
        del values  # a reporter of errors may show the variables of this frame
        if faults:
            raise SettingsError(faults)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Reads and checks all settings; the constructor, in a form whose arguments type checkers know in subclasses.

        Args:
            values: as for the constructor.

        Returns:
            The settings.

        Raises:
            SettingsError: something is wrong; every fault is in it.
        """
        try:
            return cls(**values)
        finally:
            values.clear()  # a reporter of errors may show the variables of this frame

    def _fill(self, values: dict[str, Any]) -> list[str]:
        """Makes these settings from all sources; returns the lines of the report, none if all is well."""
        reading = read(type(self), values)
        faults = reading.faults + self._validate(reading)
        faults += cross_faults(type(self), reading, None if faults else self)
        if faults:
            vars(self).clear()  # a reporter of errors may show this half-made object
        return list(dict.fromkeys(str(fault) for fault in faults))

    def _validate(self, reading: Reading) -> list[Fault]:
        try:
            # Past BaseSettings, which would read the sources again, and log their values when asked to debug.
            BaseModel.__init__(self, **reading.state)
        except Exception as error:  # noqa: BLE001 - a validator of the application's may raise anything: it is a fault
            return validation_faults(error, reading)
        self._origins = reading.origins
        return []
