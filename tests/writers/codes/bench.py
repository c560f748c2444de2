"""What the scenes that make servers refuse have at hand: a database with a few tables, and a writer on it.

Each row of the tables of codes is in exactly one of three lists:

- *produced*: a server here refuses a write with it, for the reason that it stands for;
- *told*: a server here sends it because a statement asks it to (SIGNAL, RAISE), so that the driver's way is real and
  the reason is not;
- *recorded*: no server here can be made to send it; only the rule itself is tested, with the reason why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tests.servers import PrivateServer
from wellwired.clock import Deadline
from wellwired.handlers.decorator import FunctionHandler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._rules import Native
from wellwired.writers.sql import SQLWriter

__all__ = ["Bench", "Codes", "Scene", "saying"]


@dataclass(frozen=True)
class Bench:
    """Where a scene plays.

    Args:
        engine: a database with the tables of `SETUP`; whoever changes them rolls back.
        private: starts a server of the scene's own, with settings.
        apart: a private server that scenes share, for users and rights; nobody but root may write there.
    """

    engine: sa.Engine
    private: Callable[..., PrivateServer]
    apart: Callable[[], PrivateServer]

    def do(
        self, work: Callable[[sa.Connection], Any], engine: sa.Engine | None = None, *, seconds: float = 20.0
    ) -> WriteResult[Any]:
        """One attempt to write; raises what the writer raises."""
        request = WriteRequest(target="sql.main", type="scene", payload={})

        def handle(_request: WriteRequest, connection: sa.Connection) -> Any:
            return work(connection)

        handler = FunctionHandler(handle, type="scene", backend="sql")
        writer = SQLWriter("sql.main", engine or self.engine)
        return writer.write(request, handler=handler, deadline=Deadline.after(seconds))

    def say(self, *statements: str, engine: sa.Engine | None = None) -> WriteResult[Any]:
        """One attempt to write, by statements."""
        return self.do(lambda connection: saying(connection, *statements), engine)


def saying(connection: sa.Connection, *statements: str) -> None:
    """Runs statements one after the other."""
    for statement in statements:
        result = connection.exec_driver_sql(statement)
        if result.returns_rows:
            result.fetchall()


Scene = Callable[[Bench], object]


@dataclass(frozen=True)
class Codes:
    """How each row of one dialect's table is tested.

    Args:
        setup: statements that make the tables.
        statements: produced by these, in one write; the last is refused.
        scenes: produced by these, which raise what the writer raises. Several codes may be the answer to one scene.
        told: sent on demand.
        recorded: never seen here, and why.
        masked: scenes whose code the driver keeps to itself, and the code that it gives in its place, if any.
    """

    setup: tuple[str, ...]
    statements: Mapping[Native, tuple[str, ...]]
    scenes: Mapping[Native, Scene]
    told: frozenset[Native]
    recorded: Mapping[Native, str]
    masked: Mapping[str, tuple[Scene, Native | None]] = field(default_factory=dict)

    @property
    def produced(self) -> frozenset[Native]:
        """What a server here really refuses with."""
        return frozenset(self.statements) | frozenset(self.scenes)
