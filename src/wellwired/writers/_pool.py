"""How many writes an engine's pool can carry at once."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool, StaticPool

from wellwired.writers._gate import Gate

__all__ = ["gate_for"]


def gate_for(engine: Engine) -> Gate:
    """The entrance to an engine's pool: as many places as it has connections.

    On SQLite there is one place, because it has one writer at a time and polls for its turn with growing pauses; a
    queue here is faster and fairer.

    Args:
        engine: the engine; its pool is asked for room each time, so it may be disposed of and made anew.
    """
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return Gate(1 if engine.dialect.name == "sqlite" or isinstance(pool, StaticPool) else None)
    overflow = int(getattr(pool, "_max_overflow", -1))  # it has no public name
    if pool.size() == 0 or overflow < 0:
        return Gate(1 if engine.dialect.name == "sqlite" else None)
    places = pool.size() + overflow
    return Gate(1 if engine.dialect.name == "sqlite" else places, _room(engine, places))


def _room(engine: Engine, places: int) -> Callable[[], bool]:
    def room() -> bool:
        pool = engine.pool
        return not isinstance(pool, QueuePool) or pool.checkedout() < places

    return room
