"""How the key of a store and the key columns of a table stand for each other, one to one.

One column of text, whole numbers or UUIDs is written plainly: ``42``. Anything else goes through `build_key`, so that
several columns, or one of another type, can be told apart again. A text that is not exactly what a row's key would be
written as, such as ``042``, is the key of no row.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from wellwired.errors import KeyFormatError
from wellwired.stores.keys import build_key, encode_key, split_key

__all__ = ["FromKey", "TableKeys", "ToKey", "key_columns"]

ToKey: TypeAlias = Callable[..., str]
"""Makes a key of the values of the key columns, in their order."""
FromKey: TypeAlias = Callable[[str], Any]
"""Makes the value of the key column of a key, or a tuple of them; a ValueError if it is the key of no row."""

_PLAIN: Final[dict[type, FromKey]] = {str: str, int: int, uuid.UUID: uuid.UUID}


def key_columns(table: sa.Table, key: Any) -> tuple[sa.Column[Any], ...]:
    """The columns that a store's key stands for.

    Args:
        table: the table.
        key: a column or its name, several of them, or None for the primary key.

    Returns:
        The columns of the table.

    Raises:
        ValueError: the table has no such column, or no primary key.
    """
    if key is None:
        named: Sequence[Any] = tuple(table.primary_key)
    else:
        named = (key,) if isinstance(key, str | sa.Column) else tuple(key)
    names = [column.name if isinstance(column, sa.Column) else column for column in named]
    if not names:
        raise ValueError(f"the table {table.name} has no primary key; name the columns of the key")
    for name in names:
        if name not in table.c:
            raise ValueError(f"the table {table.name} has no column {name!r}")
    return tuple(table.c[name] for name in names)


class TableKeys:
    """Turns keys into column values and back; immutable and safe for threads.

    Args:
        columns: the key columns.
        prefix: what every key begins with.
        to_key: makes a key, without the prefix, of the column values; None for the way told above.
        from_key: its inverse; both or neither.
    """

    __slots__ = ("_from_key", "_prefix", "_single", "_to_key")

    def __init__(
        self, columns: Sequence[sa.Column[Any]], prefix: str, to_key: ToKey | None, from_key: FromKey | None
    ) -> None:
        if (to_key is None) != (from_key is None):
            raise ValueError("to_key and from_key belong together: give both or neither")
        self._prefix, self._single = prefix, len(columns) == 1
        plain = _PLAIN.get(_python_type(columns[0])) if self._single else None
        self._to_key: ToKey = to_key or (build_key if plain is None else str)
        self._from_key: FromKey = from_key or plain or self._split

    def written(self, values: Sequence[Any]) -> str:
        """The key of a row with these values in its key columns."""
        return self._prefix + self._to_key(*values)

    def read(self, key: str) -> tuple[Any, ...] | None:
        """The values of the key columns, or None if it is the key of no row."""
        encode_key(key)
        if not key.startswith(self._prefix):
            return None
        try:
            made = self._from_key(key[len(self._prefix) :])
            values: tuple[Any, ...] = (made,) if self._single and not isinstance(made, tuple) else tuple(made)
            return values if self.written(values) == key else None
        except ValueError:
            return None

    def demand(self, key: str) -> tuple[Any, ...]:
        """The values of the key columns; KeyFormatError if it is the key of no row."""
        values = self.read(key)
        if values is None:
            raise KeyFormatError("the key does not stand for a row of the table; see the store's prefix and from_key")
        return values

    def _split(self, text: str) -> Any:
        return split_key(text)


def _python_type(column: sa.Column[Any]) -> type:
    try:
        return column.type.python_type
    except NotImplementedError:
        return object
