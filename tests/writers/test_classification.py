"""The meaning of error codes: tables against the drivers' own exceptions, and rules that hold for every code."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ReadOnlyError
from sqlalchemy import exc

from wellwired.errors import ErrorCode, Outcome, Phase, Retry, wrap
from wellwired.middleware.policy import FAST_REASONS, RetryPolicy, Stop, Wait
from wellwired.writers._failures import _WORDS
from wellwired.writers._native import native_code, redis_word, shown_code
from wellwired.writers.classification import _TABLES, Kind, Native, Rule, Speed, Verdict, classify, find_rule

BEFORE = [Phase.ADMIT, Phase.CHECKOUT, Phase.BEGIN, Phase.EXECUTE]
DIALECTS = sorted(_TABLES)

codes: st.SearchStrategy[Any] = (
    st.none() | st.integers(0, 10_000) | st.sampled_from(sorted({str(c) for t in _TABLES.values() for c in t}))
)
words = st.text(max_size=8) | st.from_regex(r"[0-9A-Z]{5}", fullmatch=True)
natives: st.SearchStrategy[Any] = codes | st.integers(-(2**40), 2**40) | words
anything = st.tuples(st.sampled_from([*DIALECTS, "oracle", ""]) | words, natives)
rules: st.SearchStrategy[Any] = st.dictionaries(
    natives.filter(lambda native: native is not None),
    st.builds(Rule, st.sampled_from(list(Kind)), st.text(max_size=5), st.booleans()),
    max_size=2,
)
known = st.sampled_from([(dialect, code) for dialect, table in _TABLES.items() for code in table])


class TestRules:
    """What holds whatever the code."""

    @given(st.sampled_from(DIALECTS), codes, st.sampled_from(BEFORE), st.booleans(), st.booleans())
    def test_before_commit_nothing_is_applied(
        self, dialect: str, native: Native | None, phase: Phase, lost: bool, late: bool
    ) -> None:
        """Until COMMIT is sent the outcome is never in doubt."""
        assert classify(dialect, native, phase, lost=lost, late=late).outcome is Outcome.NOT_APPLIED

    @given(st.sampled_from(DIALECTS), codes, st.booleans(), st.booleans())
    def test_after_commit_there_is_no_timeout(
        self, dialect: str, native: Native | None, lost: bool, late: bool
    ) -> None:
        """TIMEOUT means not applied, so no failure of COMMIT is one."""
        assert classify(dialect, native, Phase.COMMIT, lost=lost, late=late).code is ErrorCode.BACKEND

    @given(st.sampled_from(DIALECTS), codes, st.booleans())
    def test_a_commit_on_a_lost_connection_is_open(self, dialect: str, native: Native | None, late: bool) -> None:
        """If the connection went during COMMIT nothing that was said before counts as definite."""
        verdict = classify(dialect, native, Phase.COMMIT, lost=True, late=late)

        assert verdict.outcome is Outcome.UNKNOWN
        assert verdict.retry is not Retry.SAFE
        assert verdict.renew

    @given(st.sampled_from(DIALECTS), codes, st.sampled_from(list(Phase)), st.booleans(), st.booleans())
    def test_only_what_is_not_applied_is_safe_to_retry(
        self, dialect: str, native: Native | None, phase: Phase, lost: bool, late: bool
    ) -> None:
        """SAFE and an open outcome never go together."""
        verdict = classify(dialect, native, phase, lost=lost, late=late)

        assert verdict.retry is not Retry.SAFE or verdict.outcome is Outcome.NOT_APPLIED

    @given(anything, rules, st.sampled_from(list(Phase)), st.tuples(st.booleans(), st.booleans()), st.booleans())
    def test_anything_gets_a_verdict_that_keeps_the_promises(
        self,
        entry: tuple[str, Native | None],
        rules: dict[Native, Rule],
        phase: Phase,
        lost_late: tuple[bool, bool],
        repeatable: bool,
    ) -> None:
        """Any backend, code, phase, and rules of the caller's: W1 and W2 hold, and the retry policy obeys them."""
        lost, late = lost_late
        verdict = classify(*entry, phase, lost=lost, late=late, rules=rules)
        sent = phase in (Phase.COMMIT, Phase.DONE)

        assert verdict.code in (ErrorCode.BACKEND, ErrorCode.TIMEOUT)
        assert verdict.code is not ErrorCode.TIMEOUT or (late and not sent)
        assert sent or verdict.outcome is Outcome.NOT_APPLIED
        assert verdict.outcome is Outcome.NOT_APPLIED or verdict.retry is not Retry.SAFE
        error = wrap(verdict.code, "", outcome=verdict.outcome, retry=verdict.retry, reason=verdict.reason)
        again = RetryPolicy().decide(error, attempt=1, repeatable=repeatable, left=1e9, draw=1.0)
        if isinstance(again, Wait):
            assert repeatable or verdict.outcome is Outcome.NOT_APPLIED
        if verdict.retry is Retry.NEVER:
            assert isinstance(again, Stop)

    @given(known, st.sampled_from(list(Phase)), st.booleans(), st.booleans())
    def test_every_verdict_has_words(self, entry: tuple[str, Native], phase: Phase, lost: bool, late: bool) -> None:
        """For every reason there is a sentence that says what to try next."""
        dialect, native = entry

        assert classify(dialect, native, phase, lost=lost, late=late).reason in _WORDS

    @given(known)
    def test_what_is_fast_here_is_fast_for_the_retry_policy(self, entry: tuple[str, Native]) -> None:
        """The retry loop knows the reason only; both agree on which obstacles pass quickly."""
        verdict = classify(entry[0], entry[1], Phase.EXECUTE)

        if verdict.retry is Retry.SAFE:
            assert (verdict.speed is Speed.FAST) is (verdict.reason in FAST_REASONS)

    @pytest.mark.parametrize("phase", list(Phase))
    @pytest.mark.parametrize("dialect", [*DIALECTS, "oracle"])
    def test_an_unknown_code_is_permanent_with_the_outcome_of_its_phase(self, dialect: str, phase: Phase) -> None:
        """What nobody knows is never sent again, and after COMMIT its outcome is open."""
        native: Native = 99_999 if dialect != "sqlite" else 0xFE
        verdict = classify(dialect, native, phase)

        assert (verdict.retry, verdict.reason) == (Retry.NEVER, "unclassified")
        expected = Outcome.UNKNOWN if phase in (Phase.COMMIT, Phase.DONE) else Outcome.NOT_APPLIED
        assert verdict.outcome is expected

    def test_without_a_code_the_connection_decides(self) -> None:
        """No code: not reached yet, lost on the way, or simply refused by the driver."""
        assert classify("postgresql", None, Phase.CHECKOUT).retry is Retry.SAFE
        assert classify("postgresql", None, Phase.EXECUTE, lost=True).reason == "connection"
        assert classify("postgresql", None, Phase.EXECUTE).retry is Retry.NEVER

    def test_what_could_be_retried_is_a_timeout_when_late(self) -> None:
        """Past the deadline a lock is a TIMEOUT, and a duplicate is still a duplicate."""
        assert classify("mysql", 1205, Phase.EXECUTE, late=True).code is ErrorCode.TIMEOUT
        assert classify("mysql", 1062, Phase.EXECUTE, late=True).code is ErrorCode.BACKEND

    def test_the_callers_rules_come_first(self) -> None:
        """An application may teach codes that are not in the tables, or see them otherwise."""
        rules = {1644: Rule(Kind.CONFLICT, "lock"), 4711: Rule(Kind.CAPACITY, "capacity")}

        assert classify("mariadb", 1644, Phase.EXECUTE, rules=rules).retry is Retry.SAFE
        assert classify("mariadb", 4711, Phase.EXECUTE, rules=rules).speed is Speed.SLOW
        assert classify("mariadb", 1644, Phase.EXECUTE).retry is Retry.NEVER


class TestCodes:
    """Single codes, as the servers' manuals tell them."""

    @pytest.mark.parametrize(
        ("dialect", "native", "reason", "retry", "speed"),
        [
            ("mariadb", 1213, "deadlock", Retry.SAFE, Speed.FAST),
            ("mysql", 1205, "lock", Retry.SAFE, Speed.FAST),
            ("mariadb", 1020, "serialization", Retry.SAFE, Speed.FAST),
            ("mysql", 2013, "connection", Retry.SAFE, Speed.SLOW),
            ("mysql", 1040, "connections", Retry.SAFE, Speed.SLOW),
            ("mysql", 1290, "read_only", Retry.SAFE, Speed.SLOW),
            ("mariadb", 4025, "constraint", Retry.NEVER, Speed.SLOW),
            ("mysql", 3819, "constraint", Retry.NEVER, Speed.SLOW),
            ("mysql", 1045, "permission", Retry.NEVER, Speed.SLOW),
            ("postgresql", "40001", "serialization", Retry.SAFE, Speed.FAST),
            ("postgresql", "40P01", "deadlock", Retry.SAFE, Speed.FAST),
            ("postgresql", "57P01", "shutdown", Retry.SAFE, Speed.SLOW),
            ("postgresql", "53300", "connections", Retry.SAFE, Speed.SLOW),
            ("postgresql", "25006", "read_only", Retry.SAFE, Speed.SLOW),
            ("postgresql", "22P02", "data", Retry.NEVER, Speed.SLOW),
            ("postgresql", "42P01", "statement", Retry.NEVER, Speed.SLOW),
            ("cockroachdb", "40001", "serialization", Retry.SAFE, Speed.FAST),
            ("sqlite", 5, "lock", Retry.SAFE, Speed.FAST),
            ("sqlite", 261, "lock", Retry.SAFE, Speed.FAST),
            ("sqlite", 517, "serialization", Retry.SAFE, Speed.FAST),
            ("sqlite", 13, "capacity", Retry.SAFE, Speed.SLOW),
            ("sqlite", 2067, "duplicate", Retry.NEVER, Speed.SLOW),
            ("sqlite", 787, "constraint", Retry.NEVER, Speed.SLOW),
            ("redis", "OOM", "capacity", Retry.SAFE, Speed.SLOW),
            ("redis", "READONLY", "read_only", Retry.SAFE, Speed.SLOW),
            ("redis", "WRONGTYPE", "data", Retry.NEVER, Speed.SLOW),
        ],
    )
    def test_a_code_means_what_its_manual_says(
        self, dialect: str, native: Native, reason: str, retry: Retry, speed: Speed
    ) -> None:
        """Deadlocks, locks, lost connections, capacity and bad data are told apart by their code alone."""
        verdict = classify(dialect, native, Phase.EXECUTE)

        assert (verdict.reason, verdict.retry) == (reason, retry)
        if retry is Retry.SAFE:
            assert verdict.speed is speed

    @pytest.mark.parametrize(
        ("dialect", "native", "outcome"),
        [
            ("postgresql", "40001", Outcome.NOT_APPLIED),  # raised before the commit record is written
            ("postgresql", "23503", Outcome.NOT_APPLIED),  # a deferred constraint
            ("postgresql", "57P01", Outcome.UNKNOWN),
            ("postgresql", "08006", Outcome.UNKNOWN),
            ("postgresql", "40003", Outcome.UNKNOWN),
            ("mysql", 1180, Outcome.UNKNOWN),
            ("mysql", 2013, Outcome.UNKNOWN),
            ("mysql", 1213, Outcome.NOT_APPLIED),  # group replication certifies at COMMIT
            ("mariadb", 1969, Outcome.UNKNOWN),
            ("sqlite", 5, Outcome.NOT_APPLIED),
            ("sqlite", 1034, Outcome.UNKNOWN),
        ],
    )
    def test_at_commit_only_a_definite_refusal_is_not_applied(
        self, dialect: str, native: Native, outcome: Outcome
    ) -> None:
        """A server that says no to COMMIT is believed; one that falls silent or dies is not."""
        assert classify(dialect, native, Phase.COMMIT).outcome is outcome

    def test_mariadb_and_mysql_share_a_table(self) -> None:
        """SQLAlchemy has two names for the dialect; both find the codes."""
        assert find_rule("mariadb", 1213) == find_rule("mysql", 1213) is not None

    def test_a_server_that_must_be_left_is_left(self) -> None:
        """After a lost connection or a read-only server the connection is dropped, after a deadlock it is kept."""
        assert classify("mysql", 1290, Phase.EXECUTE).renew
        assert classify("mysql", 2006, Phase.EXECUTE).renew
        assert not classify("mysql", 1213, Phase.EXECUTE).renew

    def test_a_verdict_is_a_value(self) -> None:
        """Equal questions have equal answers."""
        assert classify("mysql", 1213, Phase.BEGIN) == classify("mysql", 1213, Phase.EXECUTE)
        assert isinstance(classify("mysql", 1213, Phase.BEGIN), Verdict)


class TestExtraction:
    """Where drivers keep the code."""

    @pytest.mark.parametrize("kind", [pymysql.err.OperationalError, pymysql.err.IntegrityError])
    def test_pymysql_has_it_as_first_argument(self, kind: type[Exception]) -> None:
        """Whatever class the driver chose."""
        assert native_code(kind(1364, "no default")) == 1364

    def test_pymysql_inside_pymysql(self) -> None:
        """Its dialect may leave one exception inside another."""
        assert native_code(pymysql.err.OperationalError(pymysql.err.OperationalError(2013, "lost"))) == 2013

    def test_a_number_of_zero_is_no_code(self) -> None:
        """PyMySQL raises InterfaceError(0, "") on a closed connection."""
        assert native_code(pymysql.err.InterfaceError(0, "")) is None

    def test_psycopg_has_it_as_sqlstate(self) -> None:
        """On the class, for errors that came from the server; none for those that did not."""
        assert native_code(psycopg.errors.SerializationFailure("x")) == "40001"
        assert native_code(psycopg.OperationalError("lost")) is None

    def test_psycopg2_and_connector_names_are_known(self) -> None:
        """Drivers that are not installed here keep it in `pgcode` and in `errno`."""

        class Psycopg2Error(Exception):
            pgcode = "40P01"

        class ConnectorError(Exception):
            errno = 1213
            sqlstate = "40001"

        assert native_code(Psycopg2Error("deadlock")) == "40P01"
        assert native_code(ConnectorError("deadlock")) == 1213

    def test_sqlite_has_a_code_and_a_name(self) -> None:
        """The extended code is looked up, and its name is shown."""
        with sqlite3.connect(":memory:") as connection:
            connection.execute("CREATE TABLE t (a INTEGER UNIQUE)")
            connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(sqlite3.IntegrityError) as caught:
                connection.execute("INSERT INTO t VALUES (1)")
        connection.close()

        assert native_code(caught.value) == 2067
        assert shown_code(caught.value, 2067) == "SQLITE_CONSTRAINT_UNIQUE"

    def test_sqlalchemys_wrapping_is_looked_through(self) -> None:
        """What SQLAlchemy wraps is found in `orig`."""
        wrapped = exc.DBAPIError("SELECT 1", {}, psycopg.errors.DeadlockDetected("x"))

        assert native_code(wrapped) == "40P01"
        assert shown_code(wrapped, "40P01") == "40P01"

    def test_what_has_no_code_has_none(self) -> None:
        """Exceptions of Python's own have no code, whatever their arguments."""
        assert native_code(ValueError("40001")) is None
        assert native_code(OSError(111, "refused")) == 111
        assert native_code(RuntimeError()) is None

    @pytest.mark.parametrize(
        ("error", "word"),
        [
            (redis.ResponseError("WRONGTYPE Operation against a key"), "WRONGTYPE"),
            (redis.ResponseError("BUSYGROUP Consumer Group name already exists"), "BUSYGROUP"),
            (redis.ResponseError("unknown command", status_code="ERR"), "ERR"),
            (ReadOnlyError("You can't write", status_code="READONLY"), "READONLY"),
            (redis.ResponseError("Command # 2 (LPUSH s x) of pipeline caused error: WRONGTYPE Operation"), "WRONGTYPE"),
            (redis.ConnectionError("max number of clients reached", status_code="ERR"), "MAXCLIENTS"),
            (redis.ConnectionError("Connection closed by server."), None),
            (redis.TimeoutError("Timeout reading from 127.0.0.1:6379"), None),
            (redis.ConnectionError("Error 111 connecting to localhost:6379. Connection refused."), None),
            (redis.DataError("Invalid input of type: 'dict'."), None),
        ],
    )
    def test_redis_has_a_first_word(self, error: Exception, word: str | None) -> None:
        """redis-py keeps it in the text or in `status_code`; what is no reply has none."""
        assert redis_word(error) == word
