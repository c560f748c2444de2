"""No secret and no payload is told, whatever fails: planted ones are looked for in all that can be read afterwards.

Looked over are the lines of the log in both formats at DEBUG, those of the standard library's log with them, metrics,
events, results, errors (text, repr, notes, pickled, and as a traceback prints them) and the reprs of everything that
has a part in a write. What the driver's exception says is for debuggers: it is the cause, and not part of the error.
"""

from __future__ import annotations

import io
import logging
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from wellwired import Outcome, Registry, Settings, WriteManager, WriteRequest, WriteResult
from wellwired.cli.loading import security_of
from wellwired.cli.replaying import Choice, Replay
from wellwired.containers import pools
from wellwired.containers.logs import processors_of
from wellwired.errors import BackendError, Retry, WriteError
from wellwired.handlers import FunctionHandler
from wellwired.handlers import sql as table_handlers
from wellwired.handlers.after import after_commit
from wellwired.middleware import RetryPolicy, WriteEvent, WriteNext
from wellwired.middleware.prometheus import PrometheusMetrics
from wellwired.operations import WriteOperation
from wellwired.settings import LogSettings, RedisSettings, SQLSettings
from wellwired.writers.idempotency import create_tables
from wellwired.writers.letters_file import JSONLines
from wellwired.writers.letters_sql import SQLLetters
from wellwired.writers.letters_sql import create_tables as create_letters
from wellwired.writers.redis import RedisWriter
from wellwired.writers.sql import SQLWriter

PASSWORD = "pw-hunter2-aaaa"  # of a URL
VALUE = "pan-4111111111111111"  # in payloads, and so in statements' parameters
META = "bearer-hunter2-cccc"  # in meta, under a name that sounds like it
KEY = "idem-hunter2-dddd"  # an idempotency key
PLANTED = (PASSWORD, VALUE, META, KEY)

metadata = sa.MetaData()
cards = sa.Table(
    "cards",
    metadata,
    sa.Column("number", sa.String(40), primary_key=True),
    sa.Column("amount", sa.Integer, nullable=False),
    sa.CheckConstraint("amount >= 0", name="no_debts"),
    mysql_engine="InnoDB",
)


class Told:
    """Everything that can be read after a write; also metrics."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.lines = io.StringIO()
        self.registry = CollectorRegistry()
        self.texts: list[tuple[str, str]] = []
        self.events: list[WriteEvent] = []
        self._prometheus = PrometheusMetrics(registry=self.registry)
        self._caplog = caplog
        caplog.set_level(logging.DEBUG)
        # SQLAlchemy's own log of statements, which an application must ask for: it is to show no parameters.
        caplog.set_level(logging.INFO, "sqlalchemy.engine")

    def record(self, event: WriteEvent, /) -> None:
        """Counts, and keeps what was told."""
        self._prometheus.record(event)
        self.events.append(event)
        # `meta` is handed on for those who want it; nothing of it is in the event's own text.
        self.texts.append(("an event", f"{event!r}{[*event][:10]}"))

    def logger(self) -> Any:
        """A logger that writes each line in both formats."""

        def both(logger: Any, name: str, event: Any) -> str:
            shown = [str(event)]
            for form in ("json", "console"):
                made: Any = dict(event)
                for step in processors_of(LogSettings(format=form)):
                    made = step(logger, name, made)
                shown.append(str(made))
            return "\n".join(shown)

        level = structlog.make_filtering_bound_logger(logging.DEBUG)
        return structlog.wrap_logger(structlog.WriteLogger(self.lines), processors=[both], wrapper_class=level)

    def unasked(self, act: Callable[[], Any]) -> Any:
        """Does something while nobody has asked for a log of statements: one that has the value in its text."""
        with self._caplog.at_level(logging.WARNING, "sqlalchemy.engine"):
            return act()

    def error(self, what: str, error: BaseException) -> None:
        """Takes all that an error shows."""
        self.texts += [(f"{what}: its text", str(error)), (f"{what}: its repr", repr(error))]
        self.texts.append((f"{what}: its facts", repr({**vars(error), "args": error.args})))
        self.texts.append((f"{what}: pickled", pickle.dumps(error).decode("latin-1")))
        self.texts.append((f"{what}: printed", "".join(traceback.format_exception(error, chain=False))))

    def answer(self, what: str, answer: Any) -> None:
        """Takes what a caller gets: a result, an error, or a list of them."""
        if isinstance(answer, list | tuple):
            for one in answer:
                self.answer(what, one)
        elif isinstance(answer, BaseException):
            self.error(what, answer)
        else:
            self.texts.append((what, repr(answer)))

    def leaks(self) -> list[tuple[str, str]]:
        """Where a planted secret can be read, and which."""
        told = [
            *self.texts,
            ("the log", self.lines.getvalue()),
            ("logging", self._caplog.text),
            ("metrics", generate_latest(self.registry).decode()),
        ]
        return [(where, secret) for where, text in told for secret in PLANTED if secret in text]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """Everything that is told in this test."""
    return Told(caplog)


def add(request: WriteRequest, connection: sa.Connection) -> dict[str, Any]:
    """Inserts the payload's card; the value is a parameter of the statement, and of the result."""
    connection.execute(cards.insert(), {"number": request.payload["number"], "amount": request.payload["amount"]})
    return {"number": request.payload["number"]}


def bug(request: WriteRequest, connection: Any) -> None:
    """Raises what quotes the payload."""
    raise LookupError(f"no card {request.payload['number']}")


def refusal(request: WriteRequest, connection: Any) -> None:
    """Fails in a way that is safe to send again."""
    raise BackendError("the node is busy", reason="lock", retry=Retry.SAFE)


def broken_statement(request: WriteRequest, connection: sa.Connection) -> None:
    """Has the server refuse a statement with the value among its parameters."""
    connection.execute(sa.text("SELECT * FROM no_such_table WHERE number = :number"), request.payload)


def literal(request: WriteRequest, connection: sa.Connection) -> None:
    """Has the server refuse a statement with the value in its text, which servers quote."""
    connection.execute(sa.text(f"SELEC '{request.payload['number']}'"))


def late(request: WriteRequest, connection: sa.Connection) -> None:
    """Works beyond its deadline."""
    add(request, connection)
    threading.Event().wait(0.3)


def after(request: WriteRequest, connection: sa.Connection) -> None:
    """Fails after its commit, quoting."""

    def fails() -> None:
        raise ValueError(request.payload["number"])

    add(request, connection)
    after_commit(fails)


def cut(request: WriteRequest, connection: sa.Connection) -> None:
    """Has its own session killed."""
    add(request, connection)
    end = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mariadb": "KILL CONNECTION_ID()",
        "mysql": "KILL CONNECTION_ID()",
    }
    connection.execute(sa.text(end[connection.dialect.name]))
    connection.execute(sa.text("SELECT 1"))


WORKS = (add, bug, refusal, broken_statement, literal, late, after, cut)


def request(kind: str, target: str = "sql.main", **fields: Any) -> WriteRequest:
    """A request with a secret in every place that has room for one."""
    payload = fields.pop("payload", {"number": VALUE, "amount": 1})
    meta = {"api_key": META, "trace_id": "t-1", "object": object(), "nested": {"token": META}}
    return WriteRequest(target, kind, payload, meta=meta, **fields)


def quoting(next: WriteNext) -> WriteNext:
    """A middleware that fails before the write if the request says so."""

    def call(operation: WriteOperation) -> WriteResult[Any]:
        if operation.request.meta.get("middleware") == "before":
            raise ValueError(f"{operation.request.payload}")
        result = next(operation)
        if operation.request.meta.get("middleware") == "after":
            raise ValueError(f"{operation.request.payload}")
        return result

    return call


@pytest.fixture
def engine(sql_url: str) -> Iterator[sa.Engine]:
    """An engine as an application gets it, with a card."""
    made = pools.open_engine("sql.main", SQLSettings.model_validate({"url": sql_url}))
    metadata.create_all(made)
    create_tables(made)
    yield made
    pools.close_engine(made)


@pytest.fixture
def manager(told: Told, engine: sa.Engine) -> WriteManager:
    """A manager that tells everything to `told`."""
    handlers = Registry(*(FunctionHandler[Any, Any](work, type=work.__name__, backend="sql") for work in WORKS))
    handlers.register(table_handlers.insert(cards, type="card_add"))
    writer = SQLWriter("sql.main", engine, handlers=handlers)
    policy = RetryPolicy(attempts=2, base=0.001, cap=0.001)
    manager = WriteManager([writer], metrics=told, logger=told.logger(), retry=policy, middleware=[quoting])
    told.texts += [(repr(type(part)), repr(part)) for part in (manager, writer, engine, handlers, *handlers)]
    return manager


def told_of(told: Told, what: str, act: Callable[[], Any]) -> Any:
    """Does something, and has told what came of it."""
    try:
        answer = act()
    except WriteError as error:
        answer = error
    told.answer(what, answer)
    return answer


def test_nothing_is_told_of_a_write_that_fails_in_any_way(manager: WriteManager, told: Told, engine: sa.Engine) -> None:
    """On each database: refused by a constraint, by the parser, by a bug, by time, by a lost session, by a key."""
    write = manager.write
    first = told_of(told, "success", lambda: write(request("add", idempotency_key=KEY)))
    outcomes = {
        "duplicate": lambda: write(request("add")),
        "check": lambda: write(request("add", payload={"number": f"{VALUE}-2", "amount": -1})),
        "too long": lambda: write(request("add", payload={"number": VALUE * 9, "amount": 1})),
        "not null": lambda: write(request("add", payload={"number": VALUE, "amount": None})),
        "bug": lambda: write(request("bug")),
        "retries": lambda: write(request("refusal", idempotency_key=KEY)),
        "statement": lambda: write(request("broken_statement")),
        "syntax": lambda: told.unasked(lambda: write(request("literal"))),
        "late": lambda: write(request("late", payload={"number": f"{VALUE}-3", "amount": 1}, timeout=0.15)),
        "other payload": lambda: write(request("add", payload={"number": "1", "amount": 1}, idempotency_key=KEY)),
    }
    if engine.dialect.name != "sqlite":
        outcomes["session"] = lambda: write(request("cut", payload={"number": f"{VALUE}-4", "amount": 1}))
    if engine.dialect.name == "sqlite":
        del outcomes["too long"]  # SQLite has no lengths
    answers = {what: told_of(told, what, act) for what, act in outcomes.items()}
    assert {what for what, answer in answers.items() if not isinstance(answer, WriteError)} == set()
    assert first.success and answers["duplicate"].reason == "duplicate"
    replay = told_of(told, "replay", lambda: write(request("add", idempotency_key=KEY)))
    assert replay.replayed and replay.data == {"number": VALUE}
    assert told.leaks() == []


def test_nothing_is_told_of_what_is_refused_or_goes_wrong_around_a_write(manager: WriteManager, told: Told) -> None:
    """Bad requests, middleware, observers and callbacks that quote what they should not."""
    write = manager.write
    acts: dict[str, Callable[[], Any]] = {
        "model": lambda: write(request("card_add", payload={"number": [VALUE], VALUE: 1, "amount": VALUE})),
        "no mapping": lambda: write(request("add", payload=[VALUE])),
        "no writer": lambda: write(request("add", "sql.other")),
        "no type": lambda: write(request("nothing")),
        "bad timeout": lambda: write(request("add", timeout=VALUE)),
        "bad key": lambda: write(request("add", idempotency_key=KEY * 50)),
        "no json": lambda: write(request("add", payload={"number": object(), VALUE: VALUE}, idempotency_key=KEY)),
        "no request": lambda: write(VALUE),  # type: ignore[arg-type]
        "deep": lambda: write(request("add", payload=_deep())),
    }
    answers = {what: told_of(told, what, act) for what, act in acts.items()}
    assert {what for what, answer in answers.items() if not isinstance(answer, WriteError)} == set()
    for moment in ("before", "after"):
        given = WriteRequest("sql.main", "add", {"number": f"{VALUE}{moment}", "amount": 1}, {"middleware": moment})
        told_of(told, moment, partial(write, given))
    result = told_of(told, "callback", lambda: write(request("after", payload={"number": VALUE, "amount": 1})))
    assert len(result.warnings) == 1
    assert told.leaks() == []


def test_nothing_is_told_of_batches_and_transactions(manager: WriteManager, told: Told) -> None:
    """Neither of their good ones nor of their bad ones, nor when all or nothing is asked for."""
    mixed = [
        request("card_add", payload={"number": f"{VALUE}-{number}", "amount": amount}, idempotency_key=key)
        for number, amount, key in ((1, 1, f"{KEY}1"), (2, -1, f"{KEY}2"), (1, 1, None), (3, VALUE, None), (4, 1, None))
    ]
    told_of(told, "batch", lambda: [*manager.write_many(mixed)])
    told_of(told, "atomic", lambda: [*manager.write_many(mixed, atomic=True)])
    told_of(told, "answers", lambda: f"{manager.write_many(mixed)!r}")
    bugs = [request("bug"), request("refusal"), request("literal")]
    told_of(told, "bugs", lambda: told.unasked(lambda: [*manager.write_many(bugs)]))

    def transaction(kind: str) -> Callable[[], Any]:
        def act() -> None:
            with manager.transaction("sql.main") as tx:
                told.answer("in a transaction", tx.write(request("add", payload={"number": f"{VALUE}t", "amount": 1})))
                told.texts.append(("the transaction", repr(tx)))
                tx.write(request(kind, idempotency_key=KEY))

        return act

    for kind in ("bug", "literal", "broken_statement", "refusal"):
        assert isinstance(told_of(told, kind, partial(told.unasked, transaction(kind))), WriteError)
    assert told.leaks() == []


def test_an_observer_that_quotes_is_not_quoted(told: Told, engine: sa.Engine) -> None:
    """Metrics that fail with what they were told become a warning or a note that names their class alone."""

    class Failing:
        def record(self, event: WriteEvent, /) -> None:
            raise ValueError(f"{event.meta} {VALUE}")

    handlers = Registry(*(FunctionHandler[Any, Any](work, type=work.__name__) for work in (add, bug)))
    manager = WriteManager([SQLWriter("sql.main", engine, handlers=handlers)], metrics=Failing(), logger=told.logger())
    result = told_of(told, "success", lambda: manager.write(request("add")))
    error = told_of(told, "bug", lambda: manager.write(request("bug")))
    assert len(result.warnings) == 1 and len(error.__notes__) == 1
    assert told.leaks() == []


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "redis", "closed"])
def test_nothing_is_told_of_a_server_that_refuses(
    kind: str, told: Told, fresh_database: Callable[[str], str], fresh_redis: Callable[[str], str]
) -> None:
    """A wrong password, or nobody at the port: the URL's password is in nothing that is told."""
    if kind == "redis":
        url = sa.make_url(fresh_redis("redis")).set(password=PASSWORD, username="nobody")
        settings: Any = RedisSettings.model_validate({"url": url.render_as_string(hide_password=False)})
        client = pools.open_redis("redis.main", settings)
        writer: Any = RedisWriter("redis.main", client)
        close: Callable[[], Any] = lambda: pools.close_redis(client)  # noqa: E731 - beside its twin below
        work: Any = lambda request, pipeline: pipeline.set("card", request.payload["number"])  # noqa: E731
    else:
        base = "postgresql://h:1/x" if kind == "closed" else fresh_database(kind)
        url = sa.make_url(base).set(password=PASSWORD, username="nobody")
        url = url.set(host="127.0.0.1", port=1) if kind == "closed" else url
        settings = SQLSettings.model_validate({"url": url.render_as_string(hide_password=False)})
        engine = pools.open_engine("sql.main", settings)
        writer = SQLWriter("sql.main", engine)
        close = lambda: pools.close_engine(engine)  # noqa: E731 - see above
        work = add
    writer.register_handler(FunctionHandler[Any, Any](work, type="add"))
    manager = WriteManager([writer], metrics=told, logger=told.logger(), retry=RetryPolicy(attempts=2, base=0.001))
    error = told_of(told, kind, lambda: manager.write(request("add", writer.name, idempotency_key=KEY)))
    close()
    assert isinstance(error, WriteError) and error.outcome is Outcome.NOT_APPLIED
    told.texts += [("settings", f"{settings!r}{settings}"), ("the writer", f"{writer!r}{manager!r}")]
    assert told.leaks() == []


def test_nothing_is_told_of_a_write_to_redis_that_fails(told: Told, redis_url: str) -> None:
    """Refused by Redis, in a block and as a script, by a bug and by a key."""
    client = pools.open_redis("redis.main", RedisSettings.model_validate({"url": redis_url}))

    def wrong(request: WriteRequest, pipeline: Any) -> None:
        pipeline.set(VALUE, VALUE)
        pipeline.rpush(VALUE, request.payload["number"])

    def put(request: WriteRequest, pipeline: Any) -> None:
        pipeline.set("card", request.payload["number"])

    def direct(request: WriteRequest, connection: Any) -> None:
        connection.set(VALUE, VALUE)
        connection.execute_command("NOSUCH", VALUE)

    handlers = Registry(*(FunctionHandler[Any, Any](work, type=work.__name__) for work in (wrong, put, bug)))
    handlers.register(FunctionHandler[Any, Any](direct, type="direct", uses_client=True))
    writer = RedisWriter("redis.main", client, handlers=handlers)
    manager = WriteManager([writer], metrics=told, logger=told.logger())
    for kind in ("wrong", "bug", "direct"):
        error = told_of(told, kind, partial(manager.write, request(kind, "redis.main")))
        assert isinstance(error, WriteError)
    for kind, payload in (("put", VALUE), ("put", f"{VALUE}x"), ("wrong", VALUE)):
        given = request(kind, "redis.main", payload={"number": payload}, idempotency_key=KEY)
        told_of(told, f"{kind} with a key", partial(manager.write, given))
    both = [request("wrong", "redis.main"), request("put", "redis.main")]
    told_of(told, "batch", lambda: [*manager.write_many(both)])
    pools.close_redis(client)
    assert told.leaks() == []


@pytest.mark.parametrize("sql_url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("sink", ["file", "table", "lost"])
def test_nothing_is_told_of_dead_letters_and_their_replay(
    sink: str, told: Told, engine: sa.Engine, tmp_path: Path
) -> None:
    """Payloads, meta and keys lie in letters and nowhere else, whether the letters are kept, lost or sent again."""
    letters: Any = JSONLines(tmp_path / "letters.jsonl")
    if sink == "table":
        create_letters(engine)
        letters = SQLLetters(engine)
    elif sink == "lost":
        letters = JSONLines(tmp_path)  # a folder takes no lines
    handlers = Registry(*(FunctionHandler[Any, Any](work, type=work.__name__) for work in (add, bug, late)))
    writer = SQLWriter("sql.main", engine, handlers=handlers)
    manager = WriteManager([writer], metrics=told, logger=told.logger(), dead_letters=letters)
    failing = [request("bug", idempotency_key=KEY), request("bug"), request("late", timeout=0.15)]
    for given in failing:
        assert isinstance(told_of(told, "kept", partial(manager.write, given)), WriteError)
    told_of(told, "a batch", lambda: [*manager.write_many(failing[:2])])
    lines = told.lines.getvalue()
    assert ("dead_letter_lost" in lines) is (sink == "lost") and "wellwired.dead_letter" in lines
    if sink != "lost":
        pile = letters.pile()
        assert len(pile.waiting) == 5
        assert VALUE in f"{[waiting.letter.payload for waiting in pile.waiting]}", (
            "the letters hold what was to be written"
        )
        told.texts += [("letters", f"{pile!r}{pile.waiting!r}{letters!r}")]
        with letters.alone():
            report = Replay(manager, letters, secure=security_of(manager)).run(pile, Choice())
        told.texts += [("the report", f"{report!r}")]
    if sink != "table":
        letters.close()
    assert told.leaks() == []


def test_settings_show_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their repr nor a fault in them."""
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__URL", f"postgresql://u:{PASSWORD}@h/d")
    assert PASSWORD not in repr(Settings())


def _deep() -> dict[str, Any]:
    payload: Any = {"number": VALUE}
    for _ in range(100):
        payload = {VALUE: payload}
    return {"number": payload, "amount": 1}
