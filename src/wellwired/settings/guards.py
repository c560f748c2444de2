"""The groups of settings about what stands around writes: retries' budget, breaker, dead letters, shared commits.

They lie below ``WELLWIRED__WRITES``: ``WELLWIRED__WRITES__BREAKER__ENABLED=true``. Times are in seconds.
"""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from wellwired.errors import ErrorCode
from wellwired.settings._section import Seconds, Section, decoded, fault, none_word
from wellwired.settings.names import Name

__all__ = ["BreakerSettings", "BudgetSettings", "DeadLetterSettings", "GroupCommitSettings"]


def _words(value: Any) -> Any:
    """A list that was written as JSON or as words with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return decoded(value)
    return [word.strip() for word in value.split(",") if word.strip()]


def _codes(value: Any) -> Any:
    words = _words(value)
    return [word.upper() if isinstance(word, str) else word for word in words] if isinstance(words, list) else words


Codes = Annotated[tuple[ErrorCode, ...], NoDecode, BeforeValidator(_codes), Field(min_length=1)]
Types = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], NoDecode, BeforeValidator(_words)]
Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_words)]
OptionalName = Annotated[Name | None, BeforeValidator(none_word)]
OptionalPath = Annotated[Path | None, BeforeValidator(none_word)]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False


class BudgetSettings(Section):
    """What pays for retries: a purse of tokens for each writer.

    Args:
        capacity: tokens in a full purse.
        cost: tokens that a retry takes.
        heavy_cost: tokens that a retry takes after a timeout or an unknown outcome.
        refund: tokens that a write gives back which succeeds at its first attempt.
    """

    capacity: int = Field(default=500, ge=1)
    cost: int = Field(default=5, ge=1)
    heavy_cost: int = Field(default=10, ge=1)
    refund: int = Field(default=1, ge=1)

    @field_validator("cost", "heavy_cost")
    @classmethod
    def _can_be_paid(cls, cost: int, info: ValidationInfo) -> int:
        if cost > info.data.get("capacity", cost):
            raise fault("is more than CAPACITY, so that no retry could be paid; set WRITES__ATTEMPTS=1 for none")
        return cost


class BreakerSettings(Section):
    """When a backend that fails most of its writes is left alone for a while.

    Args:
        enabled: whether there are circuit breakers at all, one for each writer.
        window: seconds over which attempts are counted.
        calls: how many attempts there must be in the window before anything is concluded from them.
        failures: the share of failed attempts, above 0 and up to 1, that opens the circuit.
        pause: seconds that it stays open before it is tried.
        probes: how many attempts try it, and must all succeed.
    """

    enabled: bool = False
    window: Seconds = 10.0
    calls: int = Field(default=20, ge=1)
    failures: float = Field(default=0.5, gt=0, le=1)
    pause: Seconds = 5.0
    probes: int = Field(default=3, ge=1)


class DeadLetterSettings(Section):
    """Where writes that failed are kept: in a file, in a table, or, if neither is named, nowhere.

    Args:
        path: a file for JSON Lines; its folder must be there.
        sql: the database, of those that are configured, with the table of letters.
        codes: of which errors letters are kept, with commas between them.
        encryption_keys: keys for the encryption of what letters hold, the one to encrypt with first; needs the extra
            ``encryption``.
    """

    path: OptionalPath = None
    sql: OptionalName = None
    codes: Codes = (ErrorCode.BACKEND, ErrorCode.TIMEOUT, ErrorCode.RETRY_EXHAUSTED)
    encryption_keys: Keys = ()

    @field_validator("encryption_keys")
    @classmethod
    def _keys_can_be_used(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if keys and not _installed("cryptography"):
            raise fault("needs cryptography; install it with: pip install 'wellwired[encryption]'")
        for number, key in enumerate(keys, 1):
            if not _is_fernet_key(key.get_secret_value()):
                raise fault(f"key {number} is no Fernet key; make one with Fernet.generate_key()")
        return keys

    @field_validator("path")
    @classmethod
    def _folder_is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.parent.is_dir():
            raise fault("names a file in a folder that does not exist")
        return path

    @field_validator("sql")
    @classmethod
    def _one_place(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and info.data.get("path") is not None:
            raise fault("cannot be set beside PATH; keep letters in one place")
        return name


class GroupCommitSettings(Section):
    """Which concurrent writes to databases share a transaction and its COMMIT; see `wellwired.writers.GroupCommit`.

    Args:
        types: the types of such writes, with commas between them. Their handlers run on the thread of one of the
            callers, so they must not use what belongs to a thread.
        max_batch: how many writes share a transaction at most.
        linger: seconds for which the first of them waits for others.
    """

    types: Types = ()
    max_batch: int = Field(default=64, ge=2)
    linger: float = Field(default=0.0, ge=0, allow_inf_nan=False)
