"""Tests of the tree of errors: it is as drawn, survives pickling, and never says what it should not."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired import errors
from wellwired.errors import (
    AbilityError,
    CaptiveError,
    CycleError,
    ErrorCode,
    LayerError,
    LayerTimeoutError,
    MissingExtraError,
    NotFound,
    Outcome,
    Phase,
    Retry,
    SettingsError,
    WellwiredError,
    WiringError,
    WriteError,
    wrap,
)

SECRET = "hunter2"

CLASSES: dict[str, type[WellwiredError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, WellwiredError)
}

FACTS: dict[str, Any] = {
    "outcome": Outcome.UNKNOWN,
    "retry": Retry.IF_IDEMPOTENT,
    "phase": Phase.COMMIT,
    "target": "sql.main",
    "type": "user_profile_update",
    "backend_code": "40001",
    "reason": "commit_unknown",
    "attempts": 3,
}

SPECIAL: dict[type[WellwiredError], Callable[[], WellwiredError]] = {
    SettingsError: lambda: SettingsError(["WELLWIRED__SQL__MAIN__URL is missing", "WELLWIRED__LOG__LEVEL is unknown"]),
    MissingExtraError: lambda: MissingExtraError("PyMySQL", extra="mysql", purpose="sql.main"),
    CycleError: lambda: CycleError(["a", "b", "a"]),
    CaptiveError: lambda: CaptiveError(["service", "session"]),
    WiringError: lambda: WiringError(["view: Provide['sql.mian']"]),
    NotFound: lambda: NotFound("user:1"),
    LayerError: lambda: LayerError("redis.cache", "get", "ConnectionError"),
    AbilityError: lambda: AbilityError("users", "Atomic", "update needs a primary that can compare and exchange"),
    LayerTimeoutError: lambda: LayerTimeoutError("redis.cache", "get", "no answer within 0.05 s"),
}


def make(cls: type[WellwiredError]) -> WellwiredError:
    """An error of the class with each of its facts filled in."""
    if cls in SPECIAL:
        return SPECIAL[cls]()
    return cls("what happened", **FACTS) if issubclass(cls, WriteError) else cls("what happened")


every_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)


@every_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_its_facts(cls: type[WellwiredError], protocol: int) -> None:
    """What another process receives has the class, the text, the arguments and every attribute of the original."""
    error = make(cls)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


@every_class
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_an_error_can_be_copied(cls: type[WellwiredError], copier: Callable[[Any], Any]) -> None:
    """A copy has the original's class, text and facts."""
    error = make(cls)
    again = copier(error)
    assert again is not error
    assert (type(again), str(again), vars(again)) == (cls, str(error), vars(error))


def test_an_application_s_own_error_survives_pickling() -> None:
    """A subclass with a constructor of its own needs to do nothing for it."""
    error = OwnError(7)
    again = pickle.loads(pickle.dumps(error))
    assert (again.number, str(again)) == (7, str(error))


class OwnError(WriteError):
    """An application's error, whose constructor takes other arguments than its parent's."""

    code = ErrorCode.BACKEND

    def __init__(self, number: int) -> None:
        super().__init__(f"shop {number} is closed", attempts=2)
        self.number = number


def test_errors_travel_in_a_group() -> None:
    """A group of them, as `check()` raises, pickles as well."""
    group = ExceptionGroup("2 problems", [make(CycleError), make(SettingsError)])
    again = pickle.loads(pickle.dumps(group))
    assert [str(error) for error in again.exceptions] == [str(error) for error in group.exceptions]


@every_class
def test_a_cause_is_neither_told_nor_sent(cls: type[WellwiredError]) -> None:
    """The driver's exception may quote data: it stays out of the text and out of the pickle."""
    error = make(cls)
    error.__cause__ = ValueError(f"password={SECRET}")
    again = pickle.loads(pickle.dumps(error))
    assert again.__cause__ is None
    assert SECRET not in str(error) + repr(error) + str(vars(error)) + pickle.dumps(error).decode("latin-1")


@every_class
def test_an_error_says_something(cls: type[WellwiredError]) -> None:
    """The text is neither empty nor a bare tuple of arguments."""
    assert re.match(r"[\w']", str(make(cls)))


def test_the_tree_is_as_it_is_drawn() -> None:
    """The drawing in the module's text names every class under its parent, with the builtin that it also is."""
    drawn: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if not (found := re.match(r"    ([│├└─ ]*)(\w+)( .*)?$", line)) or found[2] not in CLASSES:
            continue
        depth = len(found[1]) // 4
        path = [*path[:depth], found[2]]
        also = re.search(r"\(also (\w+)\)", found[3] or "")
        drawn[found[2]] = (path[-2] if depth else "Exception", also[1] if also else None)
    real = {}
    for name, cls in CLASSES.items():
        parent, *others = (base.__name__ for base in cls.__bases__)
        real[name] = (parent, others[0] if others else None)
    assert drawn == real


@pytest.mark.parametrize("code", ErrorCode)
def test_wrap_chooses_the_class_by_its_code(code: ErrorCode) -> None:
    """Every code has one class, which `wrap` makes with the cause and the facts."""
    cause = OSError("disk")
    error = wrap(code, "what happened", cause, **FACTS)
    assert error.code is code and type(error) is not WriteError
    assert error.__cause__ is cause
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    assert type(wrap(code.value, "the same, by its name")) is type(error)  # type: ignore[arg-type]


def test_wrap_refuses_an_unknown_code() -> None:
    """A code that is none is a mistake of the caller's."""
    with pytest.raises(ValueError, match="NO_SUCH_CODE"):
        wrap("NO_SUCH_CODE", "what happened")  # type: ignore[arg-type]


def test_a_write_error_tells_code_outcome_native_code_and_place() -> None:
    """Its text begins with what a caller needs to know and ends with where it happened."""
    text = str(make(errors.BackendError))
    assert text == ("BACKEND UNKNOWN: what happened (backend code 40001) [target=sql.main type=user_profile_update]")
    assert str(errors.InvalidRequestError("no target")) == "INVALID_REQUEST NOT_APPLIED: no target"


def test_a_native_code_of_zero_is_told() -> None:
    """Zero is a code like any other."""
    assert "(backend code 0)" in str(errors.BackendError("what happened", backend_code=0))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_settings_error_has_a_line_for_each_fault(faults: list[str]) -> None:
    """The report counts its faults and repeats each of them."""
    error = SettingsError(iter(faults))
    assert error.faults == tuple(faults)
    assert str(error).startswith(f"{len(faults)} fault{'s' * (len(faults) > 1)} in the settings:\n")
    assert all(fault in str(error) for fault in faults)


def test_a_missing_extra_says_what_to_install() -> None:
    """The text names the purpose, the package and the command."""
    assert str(make(MissingExtraError)) == "sql.main needs PyMySQL; install it with: pip install 'wellwired[mysql]'"


def test_a_ring_and_a_captive_show_their_path() -> None:
    """Who reads the text sees which providers to look at, in order."""
    assert "a -> b -> a" in str(make(CycleError))
    assert "service -> session" in str(make(CaptiveError))


def test_nothing_found_reads_as_a_sentence() -> None:
    """A KeyError would show the bare key in quotes; ours says what is the matter with it."""
    assert str(NotFound("user:1")) == "nothing under the key 'user:1'"
