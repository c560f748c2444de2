"""Many rows in few statements: in which order and by how many, so that the end is that of one after the other.

Rows with the same columns go into one executemany. Rows with the same key do not go into one statement, because some
databases refuse that and others keep any of them: the second waits for the next wave. Within a wave no two rows have
one key, so their order does not matter to the data, and they are done in the order of their keys: two batches that
lock the same rows then wait for each other and do not deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wellwired.handlers._inserts import Inserts
from wellwired.handlers._tables import Uniform

__all__ = ["alike", "count_each", "insert_all", "refers_to_itself", "waves"]

Values = dict[str, Any]


def alike(rows: Sequence[Mapping[str, Any]], positions: Sequence[int] | None = None) -> list[list[int]]:
    """Puts together what has the same columns.

    Args:
        rows: the rows.
        positions: which of them; None for all.

    Returns:
        Positions; in each group in their order.
    """
    chosen = range(len(rows)) if positions is None else positions
    if isinstance(rows, Uniform):
        return [list(chosen)] if chosen else []
    names = list(rows[chosen[0]]) if chosen else []
    if all(list(rows[position]) == names for position in chosen):
        return [list(chosen)] if chosen else []
    groups: dict[tuple[str, ...], list[int]] = {}
    for position in chosen:
        groups.setdefault(tuple(rows[position]), []).append(position)
    return list(groups.values())


def neighbours(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Puts together neighbours with the same columns; laid end to end the groups are all positions in order."""
    groups: list[list[int]] = []
    last: tuple[str, ...] | None = None
    for position, row in enumerate(rows):
        if last != (last := tuple(row)):
            groups.append([])
        groups[-1].append(position)
    return groups


def waves(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[list[int]]:
    """Cuts rows into groups that can be done by one statement each, one after the other.

    Args:
        rows: the rows; each has all keys.
        keys: the names of the primary key's columns.

    Returns:
        Positions: in a group no two rows have one key, all have the same columns, and they are sorted by key. Rows
        with one key are in different groups, in the order in which they came.
    """
    identity = identities(rows, keys)
    seen: dict[Any, int] = {}
    numbered: list[list[int]] = []
    for position, key in enumerate(identity):
        number = seen.get(key, 0)
        seen[key] = number + 1
        if number == len(numbered):
            numbered.append([])
        numbered[number].append(position)
    for wave in numbered:
        for group in alike(rows, wave):
            yield in_order(group, identity)


def identities(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[Any]:
    """What tells rows apart: the value of the only key, or a tuple of several."""
    if len(keys) == 1:
        name = keys[0]
        return [row[name] for row in rows]
    return [tuple(row[name] for name in keys) for row in rows]


def in_order(positions: list[int], identity: Sequence[Any]) -> list[int]:
    """Positions sorted by key, or as they are if the keys cannot be compared."""
    try:
        return sorted(positions, key=identity.__getitem__)
    except TypeError:
        return positions


def refers_to_itself(table: sa.Table) -> bool:
    """Whether a row may need another row of the same table to be there first."""
    return any(key.column.table is table for key in table.foreign_keys)


def insert_all(
    connection: sa.Connection,
    table: sa.Table,
    keys: Sequence[str],
    rows: Sequence[Values],
    *,
    inserts: Inserts,
    one: Callable[..., Any],
) -> list[Values]:
    """Inserts rows, and gives the primary key of each.

    Args:
        connection: in a transaction.
        table: into which table.
        keys: the names of the primary key's columns.
        rows: the rows.
        inserts: inserts those whose keys are given.
        one: inserts a single row and gives its key, where a database cannot give the keys of many.
    """
    free = isinstance(rows, Uniform) or not refers_to_itself(table)
    groups = alike(rows) if free else neighbours(rows)
    if len(groups) == 1:
        return _inserted(connection, table, keys, rows, inserts=inserts, one=one)
    data: list[Values] = [{}] * len(rows)
    for group in groups:
        some = [rows[position] for position in group]
        for position, key in zip(
            group, _inserted(connection, table, keys, some, inserts=inserts, one=one), strict=True
        ):
            data[position] = key
    return data


def _inserted(
    connection: sa.Connection,
    table: sa.Table,
    keys: Sequence[str],
    rows: Sequence[Values],
    *,
    inserts: Inserts,
    one: Callable[..., Any],
) -> list[Values]:
    """Inserts rows that have the same columns."""
    if all(name in rows[0] for name in keys) and not any(None in [row[name] for row in rows] for name in keys):
        inserts.run(connection, _sorted(table, rows, keys))
        if len(keys) == 1:
            name = keys[0]
            return [{name: row[name]} for row in rows]
        return [{name: row[name] for name in keys} for row in rows]
    if not connection.dialect.insert_executemany_returning_sort_by_parameter_order:
        return [one(connection, row) for row in rows]
    returning = table.insert().returning(*(table.c[name] for name in keys), sort_by_parameter_order=True)
    return [dict(zip(keys, row, strict=True)) for row in connection.execute(returning, rows)]


def _sorted(table: sa.Table, rows: Sequence[Values], keys: Sequence[str]) -> Sequence[Values]:
    if refers_to_itself(table):
        return rows
    identity = identities(rows, keys)
    order = in_order(list(range(len(rows))), identity)
    return [rows[position] for position in order]


def count_each(
    connection: sa.Connection, statement: sa.Executable, rows: Sequence[Values], one: Callable[[Values], int]
) -> list[int]:
    """Executes an UPDATE or DELETE for many rows, and says for each how many rows it met.

    A driver tells only the sum. If that is the number of rows, each met one; if not, it is undone and done again one
    by one, which is the only way to know who met none.

    Args:
        connection: in a transaction.
        statement: meets one row at most for each of `rows`.
        rows: its parameters; no two meet the same row.
        one: executes it for a single row and gives the count.
    """
    if len(rows) > 1:
        nested = connection.begin_nested()
        if connection.execute(statement, rows).rowcount == len(rows):
            nested.commit()
            return [1] * len(rows)
        nested.rollback()
    return [one(row) for row in rows]
