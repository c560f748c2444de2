"""What all groups of settings have in common: how they are closed, and how they complain."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from wellwired.settings._json import JSONTextError, decode_json

__all__ = ["FAULT", "OptionalSeconds", "Seconds", "Section", "decoded", "fault", "none_word"]

FAULT = "wellwired"
"""The type of our own validation errors: their texts quote nothing and may be shown."""


class Section(BaseModel):
    """A group of settings: frozen, closed to names that it does not know, and silent about what it was given."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        # A default is checked against what was given beside it.
        validate_default=True,
    )


def fault(text: str) -> PydanticCustomError:
    """A complaint of ours about one setting.

    Args:
        text: what fits after the setting's name, such as "is empty"; without any of the value.

    Returns:
        The error, to be raised by a validator.
    """
    return PydanticCustomError(FAULT, "{text}", {"text": text})


def decoded(text: str) -> Any:
    """Reads JSON inside a validator.

    Args:
        text: the text.

    Returns:
        The value.

    Raises:
        PydanticCustomError: it is not JSON; with the position.
    """
    try:
        return decode_json(text)
    except JSONTextError as error:
        complaint = fault(f"is not valid JSON: {error}")
    raise complaint


def none_word(value: Any) -> Any:
    """Lets a variable say ``none`` or ``null``, which text cannot say otherwise; pure."""
    return None if isinstance(value, str) and value.strip().lower() in ("none", "null") else value


Seconds = Annotated[float, Field(gt=0)]
"""A time in seconds, more than zero."""

OptionalSeconds = Annotated[Seconds | None, BeforeValidator(none_word)]
"""A time in seconds, or None; a variable says ``none``."""
