"""Every error of the library, in one tree.

::

    WellwiredError
    ├── SettingsError             the environment is wrong: every fault in one report
    ├── MissingExtraError         an optional dependency is not installed        (also ImportError)
    ├── RegistrationError         a handler, writer or middleware that cannot be registered (also ValueError)
    ├── ContainerError            a container is declared or used wrongly
    │   ├── DeclarationError      …in its class body                             (also TypeError)
    │   ├── UnknownProviderError  …by a name that it does not have               (also LookupError)
    │   ├── UndefinedError        …with a dependency that nobody supplied
    │   ├── ArgumentsError        …with arguments that a provider cannot take
    │   ├── CycleError            …whose providers need each other in a ring
    │   ├── CaptiveError          …whose long-lived object would hold a scoped one
    │   ├── WiringError           …with injection markers that lead nowhere
    │   ├── OverrideError         …with an override that cannot be exact
    │   ├── NoScopeError          …outside the scope that an object needs
    │   └── StateError            …in a state that forbids the call
    ├── DeadLettersError          dead letters cannot be read, or another replay has them
    ├── WriteError                a write did not end in a plain success; has `code` and `outcome`
    │   ├── InvalidRequestError   INVALID_REQUEST                                (also ValueError)
    │   ├── WriterNotFoundError   WRITER_NOT_FOUND                               (also LookupError)
    │   ├── TypeNotSupportedError TYPE_NOT_SUPPORTED                             (also LookupError)
    │   ├── WriteTimeoutError     TIMEOUT                                        (also TimeoutError)
    │   ├── RetryExhaustedError   RETRY_EXHAUSTED
    │   └── BackendError          BACKEND
    └── StoreError                a store could not answer
        ├── NotFound              there is nothing under the key                 (also KeyError)
        ├── LayerError            a layer failed; says which one
        │   └── LayerTimeoutError … to answer within its time limit, or the call's (also TimeoutError)
        ├── KeyFormatError        a key that cannot be stored                    (also ValueError)
        ├── CodecError            a value that cannot be encoded                 (also ValueError)
        ├── ReadOnlyError         a write to a store that only reads
        ├── MissingTableError     the table of a store has not been created
        ├── TTLNotSupportedError  a ttl that the store could not keep            (also ValueError)
        ├── AbilityError          a layer that cannot do what was asked of it
        ├── StoreTimeoutError     a wait of the store's own ended without an answer (also TimeoutError)
        └── StoreClosedError      an operation after `close()`

An error keeps its facts as attributes and survives pickling with all of them. Its text never holds a secret or a
payload: facts are names, codes and numbers. ``__cause__``, the driver's own exception, may quote data; it is for
debuggers, is not part of the text, and does not travel in a pickle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
    "AbilityError",
    "ArgumentsError",
    "BackendError",
    "CaptiveError",
    "CodecError",
    "ContainerError",
    "CycleError",
    "DeadLettersError",
    "DeclarationError",
    "ErrorCode",
    "InvalidRequestError",
    "KeyFormatError",
    "LayerError",
    "LayerTimeoutError",
    "MissingExtraError",
    "MissingTableError",
    "NoScopeError",
    "NotFound",
    "Outcome",
    "OverrideError",
    "Phase",
    "ReadOnlyError",
    "RegistrationError",
    "Retry",
    "RetryExhaustedError",
    "SettingsError",
    "StateError",
    "StoreClosedError",
    "StoreError",
    "StoreTimeoutError",
    "TTLNotSupportedError",
    "TypeNotSupportedError",
    "UndefinedError",
    "UnknownProviderError",
    "WellwiredError",
    "WiringError",
    "WriteError",
    "WriteTimeoutError",
    "WriterNotFoundError",
    "wrap",
]


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class WellwiredError(Exception):
    """The root of the tree: catch it to catch whatever this library raises on purpose."""

    # BaseException would call `cls(*args)`, which breaks every constructor with keyword facts.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class SettingsError(WellwiredError):
    """The settings are wrong; `faults` has one line for each fault, naming its variable and never a value."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults: tuple[str, ...] = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        count = len(self.faults)
        title = f"{count} fault{'' if count == 1 else 's'} in the settings:"
        return "\n".join([title, *(f"  {fault}" for fault in self.faults)])


class MissingExtraError(WellwiredError, ImportError):
    """An optional dependency is needed and not installed; `extra` names what to install.

    Args:
        package: the distribution that is missing.
        extra: the extra of wellwired that brings it.
        purpose: what it was needed for.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(f"{purpose} needs {package}; install it with: pip install 'wellwired[{extra}]'")


class RegistrationError(WellwiredError, ValueError):
    """A handler, a writer or a middleware that cannot be registered; the text says which and why."""


class DeadLettersError(WellwiredError):
    """Dead letters cannot be read or sent again; the text says where they were looked for, and why not."""


class ContainerError(WellwiredError):
    """A container was declared, configured or used wrongly."""


class DeclarationError(ContainerError, TypeError):
    """A container's class body cannot mean what it says."""


class UnknownProviderError(ContainerError, LookupError):
    """A name that the container does not have; the text lists near or known names."""


class UndefinedError(ContainerError):
    """A dependency that was declared and never supplied."""


class ArgumentsError(ContainerError):
    """A provider was declared with arguments that its class or function cannot take."""


class CycleError(ContainerError):
    """Providers that need each other in a ring; `path` names them, the first again at the end."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = tuple(path)
        super().__init__(f"providers need each other in a ring: {' -> '.join(self.path)}; break it at one of them")


class CaptiveError(ContainerError):
    """A long-lived object would hold one that lives for a scope; `path` leads from the one to the other."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = tuple(path)
        super().__init__(
            f"{self.path[0]} lives as long as the container and would keep {self.path[-1]} beyond its scope "
            f"(by {' -> '.join(self.path)}); make {self.path[0]} scoped, or hand it {self.path[-1]}.provider"
        )


class WiringError(ContainerError):
    """Injection markers that lead nowhere; `markers` lists each with its function."""

    def __init__(self, markers: Sequence[str]) -> None:
        self.markers = tuple(markers)
        super().__init__("injection markers that lead nowhere: " + "; ".join(self.markers))


class OverrideError(ContainerError):
    """An override that could not be restored exactly was refused."""


class NoScopeError(ContainerError):
    """An object that lives for a scope was asked for outside one."""


class StateError(ContainerError):
    """The container is in a state that forbids the call."""


class ErrorCode(StrEnum):
    """What kind of failure ended a write."""

    INVALID_REQUEST = "INVALID_REQUEST"
    WRITER_NOT_FOUND = "WRITER_NOT_FOUND"
    TYPE_NOT_SUPPORTED = "TYPE_NOT_SUPPORTED"
    TIMEOUT = "TIMEOUT"
    RETRY_EXHAUSTED = "RETRY_EXHAUSTED"
    BACKEND = "BACKEND"


class Outcome(StrEnum):
    """What became of the data when a write failed: the thing a caller really needs to know."""

    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"
    PARTIAL = "PARTIAL"


class Phase(StrEnum):
    """How far a write had come. Only `COMMIT` and later can leave its outcome open."""

    ADMIT = "admit"
    CHECKOUT = "checkout"
    BEGIN = "begin"
    EXECUTE = "execute"
    COMMIT = "commit"
    DONE = "done"


class Retry(StrEnum):
    """Whether sending the same write again is right."""

    SAFE = "safe"
    IF_IDEMPOTENT = "if-idempotent"
    NEVER = "never"


class WriteError(WellwiredError):
    """A write that did not end in a plain success.

    Raise a subclass, or use `wrap()`, which chooses it by the code; one that is raised bare counts as BACKEND.

    Args:
        message: what happened and what to try, without payload or secret.
        outcome: what became of the data.
        retry: whether sending it again is right.
        phase: how far the write had come.
        target: the request's target.
        type: the request's type.
        backend_code: the backend's own code (errno, SQLSTATE, SQLite code name or Redis prefix), if it gave one.
        reason: one word of detail within the code: "duplicate", "constraint", "capacity", "commit_unknown", …
        attempts: how many times the backend was tried.

    Who knows how long sending it again would be in vain sets `retry_after`, in seconds; the retries wait for it.
    """

    code: ClassVar[ErrorCode] = ErrorCode.BACKEND
    retry_after: float = 0.0

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome = Outcome.NOT_APPLIED,
        retry: Retry = Retry.NEVER,
        phase: Phase = Phase.ADMIT,
        target: str = "",
        type: str = "",
        backend_code: str | int | None = None,
        reason: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome = outcome
        self.retry = retry
        self.phase = phase
        self.target = target
        self.type = type
        self.backend_code = backend_code
        self.reason = reason
        self.attempts = attempts

    def __str__(self) -> str:
        where = f" [target={self.target} type={self.type}]" if self.target else ""
        native = f" (backend code {self.backend_code})" if self.backend_code is not None else ""
        return f"{self.code} {self.outcome}: {self.message}{native}{where}"


class InvalidRequestError(WriteError, ValueError):
    """The request itself is wrong; nothing was sent."""

    code = ErrorCode.INVALID_REQUEST


class WriterNotFoundError(WriteError, LookupError):
    """No registered writer supports the target; nothing was sent."""

    code = ErrorCode.WRITER_NOT_FOUND


class TypeNotSupportedError(WriteError, LookupError):
    """The target's writer has no handler for the type; nothing was sent."""

    code = ErrorCode.TYPE_NOT_SUPPORTED


class WriteTimeoutError(WriteError, TimeoutError):
    """The deadline passed before COMMIT was sent: the write was not applied, and will not be."""

    code = ErrorCode.TIMEOUT


class RetryExhaustedError(WriteError):
    """Every allowed attempt failed; `outcome` is the worst of theirs and `__cause__` the last."""

    code = ErrorCode.RETRY_EXHAUSTED


class BackendError(WriteError):
    """The backend failed or refused, or its answer to COMMIT was lost (then `outcome` is UNKNOWN)."""

    code = ErrorCode.BACKEND


_BY_CODE: dict[ErrorCode, type[WriteError]] = {
    cls.code: cls
    for cls in (
        InvalidRequestError,
        WriterNotFoundError,
        TypeNotSupportedError,
        WriteTimeoutError,
        RetryExhaustedError,
        BackendError,
    )
}


def wrap(code: ErrorCode, message: str, cause: BaseException | None = None, **facts: Any) -> WriteError:
    """Makes the `WriteError` of a code around the exception that caused it.

    Args:
        code: which subclass to make.
        message: what happened, without payload or secret.
        cause: becomes `__cause__`.
        facts: the other arguments of `WriteError`.

    Returns:
        The error, to be raised by the caller.
    """
    error = _BY_CODE[ErrorCode(code)](message, **facts)
    error.__cause__ = cause
    return error


class StoreError(WellwiredError):
    """A store could not answer."""


class NotFound(StoreError, KeyError):  # noqa: N818 - the name users catch, beside KeyError
    """There is nothing under the key, in any layer."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return f"nothing under the key {self.key!r}"


class LayerError(StoreError):
    """A layer failed and no other could stand in; `__cause__` is its own exception.

    Args:
        layer: the layer's name.
        operation: what was asked of it.
        reason: why it failed, without a value in it.

    If a write failed, `receipt` says what became of it in each layer.
    """

    receipt: Any = None

    def __init__(self, layer: str, operation: str, reason: str) -> None:
        self.layer, self.operation, self.reason = layer, operation, reason
        super().__init__(f"layer {layer} failed at {operation}: {reason}")


class LayerTimeoutError(LayerError, TimeoutError):
    """A layer gave no answer within its time limit or the deadline of the call, and no other could stand in."""


class KeyFormatError(StoreError, ValueError):
    """A key that the store refuses; the text says why and not what it was if that could be secret."""


class CodecError(StoreError, ValueError):
    """A value that the codec cannot encode."""


class ReadOnlyError(StoreError):
    """A write was asked of a store or layer that only reads."""


class MissingTableError(StoreError):
    """The table that a store works on has not been created; the text names it and says what creates it."""


class TTLNotSupportedError(StoreError, ValueError):
    """A value was to end after some time, and the store has no way to end it; nothing was stored."""


class AbilityError(StoreError):
    """A layer lacks the ability that an operation stands on; nothing was done, and nothing less was done instead.

    Args:
        layer: the layer's name.
        ability: the name of the protocol that it does not implement.
        message: what was asked, and what to do instead.
    """

    def __init__(self, layer: str, ability: str, message: str) -> None:
        self.layer, self.ability = layer, ability
        super().__init__(message)


class StoreTimeoutError(StoreError, TimeoutError):
    """A wait of the store's own (a joined load, a flush, an update that others overtook) ended without an answer."""


class StoreClosedError(StoreError):
    """The store was closed before the operation."""
