"""Turns a request's payload into the model that its handler asked for.

A model may be pydantic (a model or a dataclass), a msgspec struct, an attrs class, a standard dataclass or a
TypedDict; its own library converts, with its own rules for unknown fields and for how strict to be. What does not
fit is one `InvalidRequestError` that names every field and the kind of fault, and never a value: neither library's
message is passed on, because both quote what they were given. The converter of a model is made once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, is_typeddict

from wellwired.errors import InvalidRequestError, RegistrationError
from wellwired.handlers import _faults
from wellwired.handlers.protocol import Handler, PayloadModel
from wellwired.operations import WriteRequest

__all__ = ["converter", "detached", "validate_many", "validate_payload"]

Convert: TypeAlias = Callable[[Any], Any]

_DEEPEST = 64
_CONVERTERS: dict[PayloadModel, Convert] = {}


def validate_payload(handler: Handler, request: WriteRequest) -> WriteRequest:
    """Checks a request's payload against its handler and converts it.

    Args:
        handler: the handler that is to do the request; its `payload_model` decides.
        request: the request as it came.

    Returns:
        The request with its payload converted, or the same request if there was nothing to convert.

    Raises:
        InvalidRequestError: the payload does not fit; the text names the fields and never a value.
        RegistrationError: the handler's `payload_model` is of no kind that is known.
    """
    payload = request.payload
    model: PayloadModel | None = getattr(handler, "payload_model", None)
    if model is None:
        if not isinstance(payload, Mapping):
            raise _unfit(request, "the payload must be a mapping")
        for key in payload:
            if not isinstance(key, str):
                raise _unfit(request, "the payload's keys must be strings")
        return request
    try:
        converted = converter(model)(payload)
    except _faults.Misfit as misfit:
        faults = misfit.faults
    else:
        return request if converted is payload else request.with_payload(converted)
    # Raised outside the handler above: the library's own error quotes values and must not hang on as a context.
    raise _unfit(request, f"the payload does not fit {model.__name__}: {_faults.listed(faults)}")


def validate_many(
    handler: Handler, requests: Sequence[WriteRequest]
) -> tuple[list[Any], dict[int, InvalidRequestError]]:
    """Checks the payloads of many requests against their handler and converts them.

    Args:
        handler: the handler that is to do them.
        requests: the requests as they came.

    Returns:
        The converted payloads, by position, and the errors of those that do not fit, likewise.
    """
    payloads = [request.payload for request in requests]
    model: PayloadModel | None = getattr(handler, "payload_model", None)
    if model is not None and set(map(type, payloads)) == {dict} and _is_by_msgspec(model):
        fitting = _all_fitting(model, payloads)
        if fitting is not None:
            return fitting, {}
    faults: dict[int, InvalidRequestError] = {}
    for position, request in enumerate(requests):
        try:
            payloads[position] = validate_payload(handler, request).payload
        except InvalidRequestError as error:
            faults[position] = error
    return payloads, faults


def converter(model: PayloadModel) -> Convert:
    """The function that converts a mapping, or checks an instance, for one model; made once for each model.

    Args:
        model: a pydantic model or dataclass, a msgspec struct, an attrs class, a standard dataclass or a TypedDict.

    Returns:
        A function of a payload that returns the converted one.

    Raises:
        RegistrationError: the model is none of these, or its library cannot make a converter of it.
    """
    known = _CONVERTERS.get(model)
    # Two threads may both make one; they are alike, and the first to be filed is kept.
    return known if known is not None else _CONVERTERS.setdefault(model, _made(model))


def _made(model: PayloadModel) -> Convert:
    if _is_by_pydantic(model):
        return _by_pydantic(model)
    known = dataclasses.is_dataclass(model) or is_typeddict(model)
    if known or hasattr(model, "__struct_fields__") or hasattr(model, "__attrs_attrs__"):
        return _by_msgspec(model)
    raise RegistrationError(
        f"{model.__name__} cannot be a payload model: it must be a pydantic model, a msgspec struct, an attrs class, "
        "a dataclass or a TypedDict"
    )


def _is_by_pydantic(model: PayloadModel) -> bool:
    return hasattr(model, "__pydantic_validator__") or hasattr(model, "__pydantic_fields__")


def _all_fitting(model: PayloadModel, payloads: list[Any]) -> list[Any] | None:
    """All payloads converted in one call, which takes a tenth of the time; None if one of them does not fit."""
    import msgspec

    try:
        converted: list[Any] = msgspec.convert(payloads, list[model])  # type: ignore[valid-type]
    except Exception:  # noqa: BLE001 - a model's own checks may raise anything; which one it was is found one by one
        return None
    return converted


def _is_by_msgspec(model: PayloadModel) -> bool:
    return model in _CONVERTERS and not _is_by_pydantic(model)


def _by_pydantic(model: PayloadModel) -> Convert:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(model)
        # A schema may have been put off until it is used; its faults are wanted now.
        adapter.rebuild()
        validate = adapter.validate_python
    except (PydanticUserError, NameError, TypeError) as error:
        raise RegistrationError(f"{model.__name__} cannot be a payload model: {error}") from error

    def convert(payload: Any) -> Any:
        plain = _plain(payload, model)
        try:
            return validate(plain)
        except ValidationError as error:
            raise _faults.Misfit(_faults.of_pydantic(error, model, plain)) from None
        except Exception as error:  # noqa: BLE001 - the model's own code may raise anything
            raise _faults.Misfit([_faults.of_own_code(error)]) from None

    return convert


def _by_msgspec(model: PayloadModel) -> Convert:
    import msgspec

    try:
        msgspec.json.Decoder(model)
    except (TypeError, NameError, AttributeError) as error:
        raise RegistrationError(f"{model.__name__} cannot be a payload model: {error}") from error
    typed_dict = is_typeddict(model)

    def convert(payload: Any) -> Any:
        if not typed_dict and isinstance(payload, model):
            return payload
        plain = _plain(payload, model)
        try:
            return msgspec.convert(plain, model)
        except msgspec.ValidationError as error:
            raise _faults.Misfit([_faults.of_msgspec(error)]) from None
        except Exception as error:  # noqa: BLE001 - the model's own code may raise anything
            raise _faults.Misfit([_faults.of_own_code(error)]) from None

    return convert


def _plain(payload: Any, model: PayloadModel) -> Any:
    if type(payload) is dict:
        return payload
    if isinstance(payload, Mapping):
        return dict(payload)
    if not is_typeddict(model) and isinstance(payload, model):
        return payload
    raise _faults.Misfit([f"it is neither a mapping nor a {model.__name__}"])


def _unfit(request: WriteRequest, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, target=request.target, type=request.type, reason="payload")


def detached(payload: Any) -> Any:
    """A copy of a plain payload that shares no dict, list or set with it; anything else is returned as it is.

    Every attempt is given one, so that what a handler does to its payload neither reaches the caller nor the next
    attempt. An instance of a payload model is not copied: a model that a handler might change should be frozen.

    Args:
        payload: a request's payload.

    Raises:
        InvalidRequestError: it is nested deeper than 64 levels, or in itself.
    """
    if type(payload) is not dict:
        return payload
    own = payload.copy()
    for key, value in payload.items():
        if type(value) not in _ATOMS:
            own[key] = _copied(value, 1)
    return own


_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


def _copied(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise InvalidRequestError(f"the payload is nested deeper than {_DEEPEST} levels", reason="payload")
    kind = type(value)
    if kind is dict:
        return {key: _copied(inner, depth + 1) for key, inner in value.items()}
    if kind is list:
        return [_copied(inner, depth + 1) for inner in value]
    return set(value) if kind is set else value
