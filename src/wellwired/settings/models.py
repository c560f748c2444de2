"""The groups of settings about stores, writes, the log and metrics.

Every group is a frozen value that any part of the library can be given by hand, without an environment. Times are in
seconds. A group checks what it can see of itself; what takes two groups is checked in `wellwired.settings.checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from wellwired.settings._section import OptionalSeconds, Seconds, Section, decoded, fault, none_word
from wellwired.settings.guards import BreakerSettings, BudgetSettings, DeadLetterSettings, GroupCommitSettings, Keys
from wellwired.settings.layers import LayerFormatError, ShortLayer, parse_layers
from wellwired.settings.names import Dotted

__all__ = ["LayerSettings", "LoadSettings", "LogSettings", "MetricsSettings", "StoreSettings", "WriteSettings"]


class LayerSettings(Section):
    """One layer of a store.

    Args:
        name: ``memory``, ``redis.<name>``, ``sql.<name>``, or a name of the application's own.
        ttl: the longest that the layer keeps a value, in seconds, or None.
        primary: whether writes must reach it to count.
        capacity: how many values a memory layer keeps, or None for its default.
        share: whether a memory layer hands out the object itself instead of a copy.
        table: the table of a SQL layer, or None for its default.
        time_limit: seconds after which a read goes on without the layer, or None for the driver's own limits.
        soft_limit: the same, for a read that has a stale value to answer with.
        callers: how many calls with a limit may be under way at once.
        stale: seconds that it keeps values beyond their fresh life, for when what is below it fails.
        breaker: when the layer is left alone for a while because its calls fail.
        codec: how a shared layer writes values: ``msgpack``, ``json``, or ``pickle``, which needs the store's
            ``signing_keys``.
        type: what the values are, as ``module:name``, such as ``shop.models:Profile``; None for plain values.
        compression: ``zstd`` compresses large values, where the extra ``zstd`` is installed; None for nothing.
        compress_above: bytes above which they are large.
        largest: bytes that a compressed value may have when it is opened.
    """

    name: Dotted
    ttl: OptionalSeconds = None
    primary: bool = False
    capacity: int | None = Field(default=None, ge=1)
    share: bool = False
    table: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    time_limit: OptionalSeconds = None
    soft_limit: OptionalSeconds = None
    callers: int = Field(default=16, ge=1)
    stale: float = Field(default=0.0, ge=0)
    breaker: BreakerSettings = BreakerSettings()
    codec: Literal["msgpack", "json", "pickle"] = "msgpack"
    type: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    compression: Annotated[Literal["zstd"] | None, BeforeValidator(none_word)] = None
    compress_above: int = Field(default=1024, ge=0)
    largest: int = Field(default=64 * 2**20, ge=1)

    @field_validator("codec", "type", "compression")
    @classmethod
    def _written_somewhere(cls, value: Any, info: ValidationInfo) -> Any:
        if value not in (None, "msgpack") and info.data.get("name", "").partition(".")[0] not in ("redis", "sql"):
            raise fault("is an option of redis and sql layers; remove it")
        return value

    @field_validator("type")
    @classmethod
    def _not_for_pickle(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("codec") == "pickle":
            raise fault("is of no use to the codec pickle, which writes any type; remove it")
        return value

    @field_validator("soft_limit")
    @classmethod
    def _not_above_the_hard_one(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        hard = info.data.get("time_limit")
        if seconds is not None and hard is not None and seconds > hard:
            raise fault("is longer than time_limit, which holds for every read")
        return seconds

    @field_validator("capacity", "share")
    @classmethod
    def _memory_only(cls, value: Any, info: ValidationInfo) -> Any:
        return _only_for("memory", value, info)

    @field_validator("table")
    @classmethod
    def _sql_only(cls, value: Any, info: ValidationInfo) -> Any:
        return _only_for("sql", value, info)


def _only_for(kind: str, value: Any, info: ValidationInfo) -> Any:
    if value and "name" in info.data and info.data["name"].partition(".")[0] != kind:
        raise fault(f"is an option of {kind} layers; remove it")
    return value


def _layer_list(value: Any) -> Any:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            return _layer_list(decoded(value))
        return [layer._asdict() for layer in _short_layers([value])]
    if isinstance(value, (list, tuple)) and value and all(isinstance(layer, str) for layer in value):
        return [layer._asdict() for layer in _short_layers(value)]
    return value


def _short_layers(texts: Iterable[str]) -> tuple[ShortLayer, ...]:
    try:
        return parse_layers(",".join(texts))
    except LayerFormatError as error:
        raise fault(str(error)) from None


Layers = Annotated[tuple[LayerSettings, ...], NoDecode, BeforeValidator(_layer_list), Field(min_length=1)]


class LoadSettings(Section):
    """How a layered store loads what is not there.

    Args:
        refresh_ahead: seconds before the end of its fresh life from which on a value is loaded anew in the background.
        jitter: the share by which a loaded value's ttl is shortened at most, at random.
        absent_ttl: seconds for which it is remembered that there is nothing under a key, or None.
        failed_ttl: seconds for which a failed load is not tried again, or None.
        lease: seconds for which a process that loads keeps the others of a fleet from loading the same, or None.
        workers: how many threads load in the background at most.
        waiting: how many loads may wait for one of them.
        patience: seconds to wait for a load by somebody else, or None for as long as it takes.
    """

    refresh_ahead: float = Field(default=0.0, ge=0)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    absent_ttl: OptionalSeconds = None
    failed_ttl: OptionalSeconds = None
    lease: OptionalSeconds = None
    workers: int = Field(default=4, ge=1)
    waiting: int = Field(default=64, ge=0)
    patience: OptionalSeconds = 30.0


class StoreSettings(Section):
    """One layered store.

    Args:
        layers: highest priority first, as ``memory:60,redis.cache:3600,sql.main!`` or as JSON.
        namespace: what its keys begin with in shared layers; "" takes the store's name.
        loads: how it loads what is not there.
        signing_keys: secrets by which its shared layers sign values, the one that signs first; then nothing is read
            that none of them has signed. Put a new one in front; take an old one away when all it signed has ended.
    """

    layers: Layers
    namespace: str = Field(default="", pattern=r"^[A-Za-z0-9_.\-/{}]{0,64}$")
    loads: LoadSettings = LoadSettings()
    signing_keys: Keys = ()

    @field_validator("signing_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        raws = [key.get_secret_value().encode() for key in keys]
        if any(len(raw) < 16 for raw in raws) or len(set(raws)) < len(raws):
            raise fault("has a key of less than 16 bytes, or one twice; secrets.token_hex() makes one")
        if not keys and any(layer.codec == "pickle" for layer in info.data.get("layers", ())):
            raise fault("is empty, and the codec pickle needs one key at least")
        return keys


class WriteSettings(Section):
    """How writes are timed and retried.

    Args:
        timeout: seconds for a write, retries included, unless its request says otherwise.
        attempts: how often the backend is tried at most.
        attempt_timeout: seconds for one attempt, or None for whatever is left.
        backoff_base: seconds that the first pause before a retry lasts at most.
        backoff_cap: seconds that any pause lasts at most.
        commit_grace: seconds to wait for the answer to a COMMIT that was sent, beyond the timeout.
        resolve: whether PostgreSQL is asked what became of a COMMIT without an answer, for writes without an
            idempotency key too.
        budget: what pays for retries.
        breaker: when a backend that fails most of its writes is left alone.
        dead_letters: where writes that failed are kept.
        batch_size: how many writes of a batch are one transaction of a database at most.
        group_commit: which concurrent writes share a transaction.
    """

    timeout: Seconds = 5.0
    attempts: int = Field(default=3, ge=1)
    attempt_timeout: OptionalSeconds = None
    backoff_base: Seconds = 0.1
    backoff_cap: Seconds = 5.0
    commit_grace: Seconds = 2.0
    resolve: bool = False
    budget: BudgetSettings = BudgetSettings()
    breaker: BreakerSettings = BreakerSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    batch_size: int = Field(default=1_000, ge=1)
    group_commit: GroupCommitSettings = GroupCommitSettings()

    @field_validator("attempt_timeout")
    @classmethod
    def _fits_timeout(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and seconds > info.data.get("timeout", seconds):
            raise fault("is longer than TIMEOUT, which holds for all attempts together")
        return seconds

    @field_validator("backoff_cap")
    @classmethod
    def _not_below_start(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds < info.data.get("backoff_base", seconds):
            raise fault("is shorter than BACKOFF_BASE")
        return seconds


class LogSettings(Section):
    """What is logged, and how.

    Args:
        level: events below it are dropped.
        format: ``json``, a line for each event, or ``console``, for people.
    """

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        BeforeValidator(lambda level: level.strip().upper() if isinstance(level, str) else level),
    ] = "INFO"
    format: Literal["json", "console"] = "json"


class MetricsSettings(Section):
    """What is counted.

    Args:
        enabled: whether metrics are kept, where the extra ``prometheus`` is installed.
        namespace: what their names begin with.
    """

    enabled: bool = True
    namespace: str = Field(default="wellwired", pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
