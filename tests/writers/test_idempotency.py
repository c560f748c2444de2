"""Idempotency keys in SQL databases: once, however often it is sent."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, exc

from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import accounts, count, insert_one, metadata, running, until_done, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry, WriteTimeoutError
from wellwired.operations import WriteRequest
from wellwired.testing.clock import VirtualClock
from wellwired.writers.idempotency import Key, create_tables, ddl, fingerprint, purge, table
from wellwired.writers.sql import SQLWriter


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts and the table of keys."""
    metadata.create_all(sql_engine)
    create_tables(sql_engine)
    with sql_engine.begin() as connection:
        connection.execute(accounts.insert(), {"id": 1, "balance": 0})
    return sql_engine


@pytest.fixture
def writer(engine: sa.Engine) -> SQLWriter:
    """A writer on it."""
    return SQLWriter("sql.main", engine)


def deposit(request: WriteRequest, connection: sa.Connection) -> dict[str, Any]:
    """Adds to the balance: not harmless when done twice."""
    connection.execute(accounts.update().values(balance=accounts.c.balance + request.payload["amount"]))
    return {"balance": connection.scalar(sa.select(accounts.c.balance))}


def balance(engine: sa.Engine) -> int:
    """The committed balance."""
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(accounts.c.balance).where(accounts.c.id == 1)) or 0)


class TestOnce:
    """A key takes effect once."""

    def test_the_second_sending_replays_the_first_result(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """The same key and payload again: the stored result, marked as replayed, and no second effect."""
        first = write(writer, deposit, {"amount": 5}, key="k")
        second = write(writer, deposit, {"amount": 5}, key="k")

        assert (first.data, first.replayed) == ({"balance": 5}, False)
        assert (second.data, second.replayed, second.success) == ({"balance": 5}, True, True)
        assert balance(engine) == 5

    def test_another_payload_with_the_same_key_is_refused(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A key that was used for something else is INVALID_REQUEST, and nothing is applied."""
        write(writer, deposit, {"amount": 5}, key="k")

        with pytest.raises(InvalidRequestError, match="another payload") as caught:
            write(writer, deposit, {"amount": 6}, key="k")

        assert (caught.value.reason, caught.value.outcome) == ("key_reused", Outcome.NOT_APPLIED)
        assert (caught.value.target, caught.value.type) == ("sql.main", "test")
        assert balance(engine) == 5

    def test_keys_that_differ_in_case_are_different(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """No collation makes two keys one."""
        for key in ("key", "KEY", "key ", "ķey"):
            write(writer, deposit, {"amount": 1}, key=key)

        assert balance(engine) == 4

    def test_a_key_belongs_to_its_target_and_type(self) -> None:
        """The same key for another target or type is another key."""
        request = WriteRequest("sql.main", "a", {}, idempotency_key="k")
        others = [
            dataclasses.replace(request, target="sql.other"),
            dataclasses.replace(request, type="b"),
            dataclasses.replace(request, idempotency_key="l"),
            dataclasses.replace(request, target="sql", type="main"),
        ]

        ids = {Key.of(each, now=0, ttl=1).id for each in [request, *others]}

        assert len(ids) == 5

    def test_a_failed_write_leaves_its_key_free(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Errors are not stored: after a roll-back the same key may be tried again."""

        def broken(_request: WriteRequest, _connection: sa.Connection) -> None:
            raise ValueError

        with pytest.raises(BackendError):
            write(writer, broken, {"amount": 5}, key="k")
        assert count(engine, table) == 0

        assert not write(writer, deposit, {"amount": 5}, key="k").replayed
        assert balance(engine) == 5

    def test_many_threads_with_one_key_are_one_write(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Sent by eight threads at once it is done once, and each thread gets the same result."""
        start = threading.Barrier(8)

        def send() -> Any:
            start.wait(10)
            return until_done(lambda: write(writer, deposit, {"amount": 5}, key="k", seconds=20))

        with running(*[send] * 8) as results:
            pass

        assert [result.data for result in results] == [{"balance": 5}] * 8
        assert sum(not result.replayed for result in results) == 1
        assert balance(engine) == 5

    def test_a_key_in_flight_is_waited_for_no_longer_than_the_deadline(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """While another write with the key is under way, the second waits, and gives up at its deadline."""
        held, release = threading.Event(), threading.Event()

        def slow(request: WriteRequest, connection: sa.Connection) -> dict[str, Any]:
            held.set()
            release.wait(20)
            return deposit(request, connection)

        with running(lambda: write(writer, slow, {"amount": 5}, key="k", seconds=30)) as results:
            assert held.wait(10)
            with pytest.raises(WriteTimeoutError):
                write(writer, deposit, {"amount": 5}, key="k", seconds=0.2)
            release.set()

        assert results[0].data == {"balance": 5}
        assert balance(engine) == 5

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_a_lost_commit_can_be_sent_again(self, engine: sa.Engine, fault: Fault, mocker: Any) -> None:
        """Whether COMMIT or its answer was lost, sending it again ends with one effect and the right result."""
        # As if nobody could be asked what became of it; see the tests of what is asked.
        mocker.patch("wellwired.writers.sql.resolved", side_effect=_still_open)
        port = engine.url.port
        assert port is not None
        with Proxy(port) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            with through.connect():
                pass
            writer = SQLWriter("sql.main", through)
            proxy.arm(fault)
            with pytest.raises(BackendError) as caught:
                write(writer, deposit, {"amount": 5}, key="k")
            assert caught.value.outcome is Outcome.UNKNOWN

            again = write(writer, deposit, {"amount": 5}, key="k")
            through.dispose()

        assert again.data == {"balance": 5}
        assert again.replayed is (fault is Fault.LOSE_ANSWER)
        assert balance(engine) == 5

    def test_a_key_that_comes_and_goes_is_given_up_as_safe(
        self, writer: SQLWriter, engine: sa.Engine, mocker: Any
    ) -> None:
        """If others take the key and give it up again and again, the write is not applied and may be sent again."""
        write(writer, deposit, {"amount": 5}, key="k")
        mocker.patch("wellwired.writers.sql.look", return_value=None)

        with pytest.raises(BackendError) as caught:
            write(writer, deposit, {"amount": 5}, key="k")

        assert (caught.value.reason, caught.value.retry, caught.value.outcome) == (
            "lock",
            Retry.SAFE,
            Outcome.NOT_APPLIED,
        )
        assert balance(engine) == 5

    def test_an_interruption_while_replaying_passes(self, writer: SQLWriter, mocker: Any) -> None:
        """What is no Exception goes through here as well, and the connection is not left open."""
        write(writer, deposit, {"amount": 5}, key="k")
        mocker.patch("wellwired.writers.sql.look", side_effect=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            write(writer, deposit, {"amount": 5}, key="k")
        mocker.stopall()

        assert write(writer, deposit, {"amount": 5}, key="k").replayed


class TestResults:
    """What is stored and replayed."""

    @pytest.mark.parametrize("data", [None, 0, "", [], {"a": [1, None, "ü"]}, "x" * 100_000, True])
    def test_plain_results_come_back_as_they_were(self, writer: SQLWriter, data: Any) -> None:
        """Whatever has a JSON form is replayed, falsy values and large ones too."""
        write(writer, lambda _r, _c: data, key="k")

        assert write(writer, lambda _r, _c: data, key="k").data == data

    def test_a_result_without_json_form_is_rolled_back(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A result that cannot be stored is an error that names its class, before anything is committed."""

        def opaque(request: WriteRequest, connection: sa.Connection) -> object:
            deposit(request, connection)
            return object()

        with pytest.raises(BackendError, match="object") as caught:
            write(writer, opaque, {"amount": 5}, key="k")

        assert (caught.value.outcome, caught.value.reason) == (Outcome.NOT_APPLIED, "handler")
        assert balance(engine) == 0
        assert write(writer, opaque, {"amount": 5}).success

    def test_a_payload_without_json_form_is_refused(self, writer: SQLWriter) -> None:
        """A payload that cannot be compared is INVALID_REQUEST, only with a key."""
        with pytest.raises(InvalidRequestError, match="JSON"):
            write(writer, lambda _r, _c: None, {"thing": object()}, key="k")

        assert write(writer, lambda _r, _c: None, {"thing": object()}).success


class TestExpiry:
    """Keys are not kept for ever."""

    def test_an_expired_key_is_a_new_write(self, engine: sa.Engine, virtual_clock: VirtualClock) -> None:
        """After its time a key may be used again, with another payload too."""
        writer = SQLWriter("sql.main", engine, clock=virtual_clock, key_ttl=100)
        write(writer, deposit, {"amount": 5}, key="k")
        virtual_clock.advance(99)
        assert write(writer, deposit, {"amount": 5}, key="k").replayed
        virtual_clock.advance(1)

        again = write(writer, deposit, {"amount": 7}, key="k")

        assert not again.replayed
        assert balance(engine) == 12

    def test_purge_deletes_what_has_expired_in_chunks(self, engine: sa.Engine, virtual_clock: VirtualClock) -> None:
        """Expired keys go, however many chunks it takes; the others stay."""
        writer = SQLWriter("sql.main", engine, clock=virtual_clock, key_ttl=100)
        for number in range(5):
            write(writer, lambda _r, _c: None, key=f"old-{number}")
        virtual_clock.advance(50)
        write(writer, lambda _r, _c: None, key="young")
        virtual_clock.advance(50)

        assert purge(engine, clock=virtual_clock, chunk=2) == 5
        assert purge(engine, clock=virtual_clock) == 0
        assert count(engine, table) == 1


class TestTable:
    """The table of keys is the application's to create."""

    def test_a_missing_table_names_the_call_that_makes_it(self, sql_engine: sa.Engine) -> None:
        """Without the table a key is an error that says what to do; without a key nothing is missed."""
        metadata.create_all(sql_engine)
        writer = SQLWriter("sql.main", sql_engine)

        with pytest.raises(BackendError, match=r"create_tables\(engine\)") as caught:
            write(writer, insert_one, key="k")

        assert (caught.value.reason, caught.value.retry, caught.value.outcome) == (
            "no_key_table",
            Retry.NEVER,
            Outcome.NOT_APPLIED,
        )
        assert write(writer, insert_one).success

    def test_creating_it_twice_changes_nothing(self, engine: sa.Engine, writer: SQLWriter) -> None:
        """The call may be made at every start."""
        write(writer, deposit, {"amount": 5}, key="k")

        create_tables(engine)

        assert count(engine, table) == 1

    def test_the_ddl_makes_a_table_that_works(self, sql_engine: sa.Engine) -> None:
        """The statements of `ddl` create what the writer needs."""
        with sql_engine.begin() as connection:
            for statement in ddl(sql_engine).split(";"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
        writer = SQLWriter("sql.main", sql_engine)

        write(writer, lambda _r, _c: "done", key="k")

        assert write(writer, lambda _r, _c: "done", key="k").replayed

    def test_replaying_past_the_deadline_is_not_called_a_timeout(
        self, writer: SQLWriter, engine: sa.Engine, virtual_clock: VirtualClock
    ) -> None:
        """Once the key has been seen the write is known to be done: what fails then is UNKNOWN, never TIMEOUT."""
        write(writer, deposit, {"amount": 5}, key="k")
        late = _LateAfter(virtual_clock, engine)

        with pytest.raises(BackendError) as caught:
            write(writer, deposit, {"amount": 5}, key="k", deadline=Deadline.after(5, late))

        assert (caught.value.outcome, caught.value.retry, caught.value.reason) == (
            Outcome.UNKNOWN,
            Retry.IF_IDEMPOTENT,
            "replay",
        )


def _still_open(_transaction: Any, failure: BackendError) -> None:
    raise failure


class _LateAfter(VirtualClock):
    """A clock that jumps when the first connection goes back to the pool, and whose pool is full from then on."""

    def __init__(self, clock: VirtualClock, engine: sa.Engine) -> None:
        super().__init__(clock.monotonic())
        self._held: list[sa.Connection] = []

        @event.listens_for(engine, "checkin", once=True)
        def late(_driver: Any, _record: Any) -> None:
            self.advance(60)
            event.listen(engine, "checkout", _refuse)


def _refuse(_driver: Any, _record: Any, _proxy: Any) -> None:
    raise exc.TimeoutError("no connection", code="3o7r")


class TestFingerprint:
    """Equal payloads have equal fingerprints, and no others."""

    json = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )

    @given(st.dictionaries(st.text(), json, min_size=1, max_size=5), st.randoms())
    def test_the_order_of_fields_does_not_count(self, payload: dict[str, Any], random: Any) -> None:
        """A mapping is the same in every order of its fields."""
        items = list(payload.items())
        random.shuffle(items)

        assert fingerprint(dict(items)) == fingerprint(payload)

    @given(json, json)
    def test_different_payloads_differ(self, one: Any, other: Any) -> None:
        """Two payloads have one fingerprint only if their JSON is the same."""
        same = msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")

        assert (fingerprint(one) == fingerprint(other)) is same

    def test_models_of_every_kind_have_one(self) -> None:
        """Dataclasses, msgspec structs and pydantic models with rich values can be compared."""

        @dataclasses.dataclass
        class Plain:
            amount: Decimal
            at: datetime

        class Fast(msgspec.Struct):
            amount: Decimal
            at: datetime

        class Checked(pydantic.BaseModel):
            amount: Decimal
            at: datetime

        values: dict[str, Any] = {"amount": Decimal("1.50"), "at": datetime(2024, 1, 2, tzinfo=UTC)}

        assert len({fingerprint(kind(**values)) for kind in (Plain, Fast, Checked)}) == 1

    def test_defaults_made_at_each_call_do_not_count(self) -> None:
        """A pydantic model counts what was given, so that a default such as "now" does not make two sendings differ."""
        ticks = iter(range(10))

        class Model(pydantic.BaseModel):
            name: str
            tick: int = pydantic.Field(default_factory=lambda: next(ticks))

        assert fingerprint(Model(name="a")) == fingerprint(Model(name="a"))
        assert fingerprint(Model(name="a", tick=1)) != fingerprint(Model(name="a"))
