"""A replay: what took effect is not sent twice, what may have been is not sent blindly, and a dead target is left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wellwired.cli.loading import security_of
from wellwired.cli.replaying import Choice, Replay, ReplayReport, units
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Handler, Registry, handler
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, WriteManager
from wellwired.writers.dead_letters import Letter, Mark, Waiting
from wellwired.writers.idempotency import create_tables
from wellwired.writers.letters_file import JSONLines
from wellwired.writers.sql import SQLWriter

items = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))


@handler("set", backend="memory", idempotent=True)
def put(request: WriteRequest, data: Any) -> None:
    """Sets a key."""
    data[request.payload["key"]] = 1


@handler("add", backend="memory")
def add(request: WriteRequest, data: Any) -> None:
    """Adds to a key: harmful if done twice."""
    data[request.payload["key"]] = data.get(request.payload["key"], 0) + 1


class Keyed(MemoryWriter):
    """A writer in memory that keeps keys, and remembers what it was sent."""

    key_ttl = 1000.0

    def __init__(self) -> None:
        super().__init__("redis.keyed", handlers=Registry(put, add))
        self.sent: list[str | None] = []
        self._seen: set[str] = set()

    @property
    def keeps_keys(self) -> bool:
        """It does."""
        return True

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Answers a key that it has seen with nothing."""
        self.sent.append(request.idempotency_key)
        if request.idempotency_key in self._seen:
            return WriteResult(replayed=True)
        result = super().write(request, handler=handler, deadline=deadline)
        if request.idempotency_key is not None:
            self._seen.add(request.idempotency_key)
        return result


def failed(outcome: Outcome = Outcome.NOT_APPLIED, **facts: Any) -> WriteError:
    """What a write ended with."""
    return BackendError("gone", outcome=outcome, retry=Retry.SAFE, phase=Phase.COMMIT, reason="connection", **facts)


class Bench:
    """A manager over a writer with keys and one without, a file of letters, and a clock.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock()
        self.plain = MemoryWriter("sql.main", handlers=Registry(put, add))
        self.keyed = Keyed()
        self.sink = JSONLines(path, clock=self.clock)
        self.manager = WriteManager(
            [self.plain, self.keyed],
            retry=RetryPolicy(attempts=1),
            logger=SILENT,
            clock=self.clock,
            dead_letters=self.sink,
        )

    def letter(
        self, kind: str = "set", target: str = "sql.main", error: WriteError | None = None, **fields: Any
    ) -> Letter:
        """Keeps a letter."""
        self.clock.advance(1.0)
        unit = fields.pop("unit", "")
        payload = {"key": fields.pop("key", "a")}
        made = Letter.of(WriteRequest(target, kind, payload, **fields), error or failed(), clock=self.clock, unit=unit)
        self.sink.keep([made])
        return made

    def replay(self, choice: Choice | None = None, **options: Any) -> ReplayReport:
        """Replays everything."""
        with self.sink.alone():
            job = Replay(self.manager, self.sink, secure=security_of(self.manager), clock=self.clock, **options)
            return job.run(self.sink.pile(), choice or Choice())

    def marks(self) -> list[str]:
        """The marks in the file, in order."""
        lines = [json.loads(line) for line in self.sink.path.read_text().splitlines()]
        return [line["mark"] for line in lines if "mark" in line]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    """A bench, its file closed at the end."""
    made = Bench(tmp_path / "letters.jsonl")
    yield made
    made.sink.close()


def test_what_failed_takes_effect_and_is_done(bench: Bench) -> None:
    """In the order in which it failed; a second replay has nothing to do."""
    for key in "abc":
        bench.letter(key=key)
    report = bench.replay()
    assert (report.applied, report.replayed, report.failed.total()) == (3, 0, 0)
    assert list(bench.plain.data) == ["a", "b", "c"]
    assert bench.replay() == ReplayReport()
    assert bench.sink.pile().done == 3


def test_a_letter_goes_out_with_its_own_key(bench: Bench) -> None:
    """So that what had taken effect before is not done again."""
    bench.keyed.write(
        WriteRequest("redis.keyed", "add", {"key": "a"}, idempotency_key="k"), handler=add, deadline=Deadline.never()
    )
    bench.letter("add", "redis.keyed", failed(Outcome.UNKNOWN), idempotency_key="k")
    report = bench.replay()
    assert (report.applied, report.replayed) == (0, 1)
    assert bench.keyed.data == {"a": 1}


def test_a_letter_without_a_key_is_given_one_of_its_own(bench: Bench) -> None:
    """Where the writer keeps keys, a replay that is killed can be run again."""
    one = bench.letter("add", "redis.keyed")
    sink_mark, bench.sink.mark = bench.sink.mark, _killed_at(bench.sink.mark, Mark.DONE)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.replay()
    bench.sink.mark = sink_mark  # type: ignore[method-assign]
    assert bench.sink.pile().waiting[0].doubtful
    report = bench.replay()
    assert (report.applied, report.replayed) == (0, 1)
    assert bench.keyed.sent == [f"letter-{one.id}"] * 2
    assert bench.keyed.data == {"a": 1}


def _killed_at(mark: Any, when: Mark) -> Any:
    def marking(waiting: Waiting, now: Mark) -> bool:
        if now is when:
            raise KeyboardInterrupt
        return bool(mark(waiting, now))

    return marking


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.PARTIAL])
def test_what_may_be_applied_is_not_sent_blindly(bench: Bench, outcome: Outcome) -> None:
    """Without a key of its own and an idempotent handler it is refused, unless it is forced."""
    for target in ("sql.main", "redis.keyed"):
        bench.letter("add", target, failed(outcome))
        bench.letter("set", target, failed(outcome), key="b")
    report = bench.replay()
    assert (report.applied, report.refused.total()) == (2, 2)
    assert bench.plain.data == {"b": 1} and bench.keyed.data == {"b": 1}
    assert bench.replay(force=True).applied == 2
    assert bench.plain.data == {"b": 1, "a": 1}


def test_a_letter_that_was_under_way_when_a_replay_died_may_be_applied(bench: Bench) -> None:
    """It is marked before it is sent; nothing makes a repeat of it harmless, so it is refused."""
    bench.letter("add")
    bench.sink.mark = _killed_at(bench.sink.mark, Mark.DONE)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.replay()
    del bench.sink.mark
    assert bench.plain.data == {"a": 1}
    assert bench.replay().refused.total() == 1
    assert bench.plain.data == {"a": 1}


def test_a_key_that_may_be_forgotten_does_not_count(bench: Bench) -> None:
    """The writer remembers keys for so long; after that a doubtful letter is refused."""
    bench.letter("add", "redis.keyed", failed(Outcome.UNKNOWN), idempotency_key="k")
    bench.clock.advance(1001.0)
    assert "forgotten" in next(iter(bench.replay().refused))
    assert bench.keyed.sent == []


def test_what_fails_again_waits_on(bench: Bench) -> None:
    """As it was, or as doubtful if the outcome is open now, or was before; there is no second letter."""
    bench.letter(key="a")
    bench.letter(key="b")
    bench.letter(key="c", error=failed(Outcome.UNKNOWN))
    bench.plain.fail_next(
        BackendError("no", reason="duplicate"),
        BackendError("open", outcome=Outcome.UNKNOWN, reason="commit_unknown"),
        BackendError("no", reason="duplicate"),
    )
    assert bench.replay().failed == {"BACKEND": 3}
    assert bench.marks() == ["begun", "back", "begun", "doubt", "begun", "doubt"]
    pile = bench.sink.pile()
    assert [one.doubtful for one in pile.waiting] == [False, True, True]
    assert bench.replay().applied == 3


def test_a_target_that_is_down_is_left_alone(bench: Bench) -> None:
    """After three letters in a row; another target's letters go on."""
    for number in range(5):
        bench.letter(key=str(number))
    bench.letter("set", "redis.keyed")
    bench.plain.fail_next(*(failed() for _ in range(9)))
    report = bench.replay()
    assert (report.failed, report.left, report.applied) == ({"BACKEND": 3}, 2, 1)


def test_bad_data_does_not_count_as_down(bench: Bench) -> None:
    """Every letter is tried."""
    for number in range(5):
        bench.letter(key=str(number))
    bench.plain.fail_next(*(BackendError("no", reason="constraint") for _ in range(4)))
    report = bench.replay()
    assert (report.failed, report.left, report.applied) == ({"BACKEND": 4}, 0, 1)


def test_letters_can_be_chosen(bench: Bench) -> None:
    """By code, outcome or both, by target and by type."""
    bench.letter(key="a")
    bench.letter(key="b", error=failed(Outcome.UNKNOWN))
    bench.letter(key="c", error=WriteTimeoutError("late"))
    bench.letter("set", "redis.keyed", key="d")

    def takes(**named: Any) -> list[str]:
        chosen = Choice(**named)
        return [one.letter.payload["key"] for unit in units(bench.sink.pile(), chosen) for one in unit]

    assert takes() == ["a", "b", "c", "d"]
    assert takes(only=("BACKEND",)) == ["a", "b", "d"]
    assert takes(only=("UNKNOWN", "TIMEOUT")) == ["b", "c"]
    assert takes(only=("BACKEND/NOT_APPLIED",)) == ["a", "d"]
    assert takes(targets=("redis.keyed",), only=("BACKEND",)) == ["d"]
    assert takes(types=("other",)) == []
    assert bench.replay(Choice(only=("TIMEOUT",))).applied == 1
    assert list(bench.plain.data) == ["c"]


def test_a_letter_that_another_replay_took_is_not_sent(bench: Bench) -> None:
    """Who marks it first sends it."""
    bench.letter()
    bench.sink.mark = lambda waiting, mark: False  # type: ignore[method-assign]
    assert bench.replay().taken == 1
    assert bench.plain.tried == ()


def test_a_target_that_nobody_knows_is_a_failure(bench: Bench) -> None:
    """The manager says why; the letter waits for the writer to come back."""
    bench.letter("set", "sql.gone")
    assert bench.replay().failed == {"WRITER_NOT_FOUND": 1}


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Any:
    """A manager over a real database, and a file of letters."""
    engine, sink = sa.create_engine(sqlite_url), JSONLines(tmp_path / "letters.jsonl")
    items.create(engine)
    writer = SQLWriter("sql.main", engine, handlers=Registry(insert(items, type="add")))
    yield WriteManager([writer], logger=SILENT, timeout=30), engine, sink
    sink.close()
    engine.dispose()


def rows(engine: sa.Engine) -> list[int]:
    """What is in the table."""
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(items.c.n).order_by(items.c.id)))


def kept(sink: JSONLines, *numbers: int, unit: str = "", error: WriteError | None = None) -> None:
    """Keeps letters of rows without a primary key, which could be inserted any number of times."""
    made = [WriteRequest("sql.main", "add", {"n": number}, timeout=9.0) for number in numbers]
    sink.keep([Letter.of(request, error or failed(), unit=unit) for request in made])


def replayed(manager: WriteManager, sink: JSONLines, **options: Any) -> ReplayReport:
    """Replays everything."""
    with sink.alone():
        return Replay(manager, sink, secure=security_of(manager), **options).run(sink.pile(), Choice())


@pytest.mark.parametrize("keys", [True, False])
def test_letters_of_a_transaction_are_sent_in_one(shop: Any, keys: bool) -> None:
    """All of them or none, with keys where there is a table for them and without where there is none."""
    manager, engine, sink = shop
    if keys:
        create_tables(engine)
    kept(sink, 1, 2, unit="t-2")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE INSERT ON items WHEN NEW.n = 2 BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert replayed(manager, sink).failed == {"BACKEND": 2}
    assert rows(engine) == []
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER no")
    assert replayed(manager, sink).applied == 2
    assert rows(engine) == [1, 2]
    assert replayed(manager, sink).done == 0


def test_a_transaction_of_which_a_letter_is_lost_is_refused(shop: Any) -> None:
    """To send the rest would be to halve it."""
    manager, engine, sink = shop
    kept(sink, 1, unit="t-2")
    assert "cannot be read" in next(iter(replayed(manager, sink).refused))
    assert rows(engine) == []
    assert replayed(manager, sink, force=True).applied == 1


def test_a_database_without_a_table_of_keys_is_sent_to_without_them(shop: Any) -> None:
    """What is certainly not applied needs none; what may be applied is refused."""
    manager, engine, sink = shop
    kept(sink, 1, 2)
    kept(sink, 3, error=failed(Outcome.UNKNOWN))
    report = replayed(manager, sink)
    assert (report.applied, report.refused.total()) == (2, 1)
    assert rows(engine) == [1, 2]


def test_every_letter_is_in_one_count(bench: Bench) -> None:
    """And the report says so after each."""
    bench.letter(key="a")
    bench.letter("add", error=failed(Outcome.UNKNOWN))
    bench.letter("other")
    advanced: list[int] = []
    with bench.sink.alone():
        job = Replay(bench.manager, bench.sink, secure=security_of(bench.manager), clock=bench.clock)
        report = job.run(bench.sink.pile(), Choice(), advance=advanced.append)
    counts: Sequence[int] = (report.done, report.refused.total(), report.failed.total(), report.left, report.taken)
    assert sum(counts) == sum(advanced) == 3
