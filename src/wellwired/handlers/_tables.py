"""What a table says about payloads: which fields, of which type, which must be there.

The model of a table is a msgspec struct made from its columns, so that a payload with an unknown column, a missing
one, a wrong type or a text that is too long is refused before anything is sent. Databases disagree on all four: SQLite
takes any type, and MySQL without strict mode cuts a text silently.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec
import sqlalchemy as sa

from wellwired.errors import InvalidRequestError, RegistrationError

__all__ = ["Uniform", "keys_of", "model_of", "needed_by_insert", "rows_of", "values_of"]

_KNOWN = frozenset(
    {int, str, float, bool, bytes, dict, list, decimal.Decimal, uuid.UUID}
    | {datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
)


def keys_of(table: sa.Table) -> tuple[str, ...]:
    """The names of a table's primary key columns.

    Raises:
        RegistrationError: it has none.
    """
    names = tuple(column.key for column in table.primary_key)
    if not names:
        raise RegistrationError(f"the table {table.name} has no primary key, which tells its rows apart")
    return names


def model_of(table: sa.Table, *, required: Iterable[str], only: Iterable[str] | None = None) -> type[msgspec.Struct]:
    """The payload model of a table.

    Args:
        table: its columns become the fields.
        required: fields that must be there.
        only: the fields that there are; None for all columns that can be written.

    Returns:
        A struct that refuses unknown fields; a field that was left out is `msgspec.UNSET`.
    """
    required, fields = set(required), set(table.columns.keys() if only is None else only)
    columns = [column for column in table.columns if column.key in fields and column.computed is None]
    # A struct's required fields come first.
    columns.sort(key=lambda column: column.key not in required)
    made: list[Any] = []
    for column in columns:
        # SQLAlchemy's names are a subclass of str, which msgspec refuses.
        name, kind = str(column.key), _type_of(column)
        made.append((name, kind) if name in required else (name, kind | msgspec.UnsetType, msgspec.UNSET))
    own = {"__of_table__": table}
    return msgspec.defstruct(
        f"{table.name}_row", made, namespace=own, forbid_unknown_fields=True, frozen=True, kw_only=True
    )


def needed_by_insert(table: sa.Table) -> tuple[str, ...]:
    """The columns that an INSERT must be given: those that may not be null and that nothing else fills."""
    return tuple(column.key for column in table.columns if not (column.nullable or _fills_itself(column)))


def _fills_itself(column: sa.Column[Any]) -> bool:
    if column.default is not None or column.server_default is not None or column.identity is not None:
        return True
    return column.computed is not None or column is column.table.autoincrement_column


def _type_of(column: sa.Column[Any]) -> Any:
    try:
        kind: Any = column.type.python_type
    except NotImplementedError:
        kind = Any
    if kind not in _KNOWN:
        return Any
    length = getattr(column.type, "length", None)
    if kind is str and length is not None and not isinstance(column.type, sa.Enum):
        kind = Annotated[str, msgspec.Meta(max_length=length)]
    return kind | None if column.nullable else kind


def values_of(payload: Any, table: sa.Table) -> dict[str, Any]:
    """The column values of a payload, whatever its model is.

    Args:
        payload: a mapping, or an instance of a payload model; fields that are `msgspec.UNSET` are left out.
        table: says which columns there are.

    Raises:
        InvalidRequestError: it has a field that is no column.
    """
    if getattr(payload, "__of_table__", None) is table:  # made by `model_of`: its fields are columns
        return _set(msgspec.structs.asdict(payload))
    values = _set(_fields(payload))
    if unknown := sorted(values.keys() - table.columns.keys()):
        raise InvalidRequestError(f"{table.name} has no column {', '.join(unknown)}", reason="payload")
    return values


class Uniform(list[dict[str, Any]]):
    """Rows that are known to have the same columns."""


def rows_of(payloads: Sequence[Any], table: sa.Table) -> list[dict[str, Any]] | None:
    """The column values of many payloads at once, if all are instances of one model of the table's own.

    Args:
        payloads: the payloads.
        table: the table.

    Returns:
        The values, or None if they are to be taken one by one.
    """
    kinds = set(map(type, payloads))
    model: Any = kinds.pop()
    if kinds or getattr(model, "__of_table__", None) is not table:
        return None
    rows = Uniform(map(msgspec.structs.asdict, payloads))
    # Fields with a default are those that may be left out.
    for name in model.__struct_fields__[len(model.__struct_fields__) - len(model.__struct_defaults__) :]:
        if any(row[name] is msgspec.UNSET for row in rows):
            return [_set(row) for row in rows]
    return rows


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def _fields(payload: Any) -> dict[str, Any]:
    if isinstance(payload, Mapping):
        return dict(payload)
    if isinstance(payload, msgspec.Struct):
        return {name: getattr(payload, name) for name in payload.__struct_fields__}
    if hasattr(payload, "model_dump"):
        return cast("dict[str, Any]", payload.model_dump(exclude_unset=True))
    return {field.name: getattr(payload, field.name) for field in dataclasses.fields(payload)}
