"""Tests of what follows a write: the keys that it changed leave the stores, whatever else goes wrong."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.writers.manager_kit import SECRET, Acting, Counted, failure, lost, managed, open_commit, put, request
from wellwired.errors import InvalidRequestError, Outcome, RegistrationError, UnknownProviderError
from wellwired.handlers import FunctionHandler, Registry, handler, traits
from wellwired.middleware import EvictionFailed, Notice, WriteNext
from wellwired.operations import StoreVerb, WriteOperation, WriteRequest, WriteResult
from wellwired.stores import DelegatedStore, MemoryStore
from wellwired.stores.receipts import LayerOutcome, LayerState, Receipt
from wellwired.writers import Evicts, MemoryWriter
from wellwired.writers._aftermath import Aftermath
from wellwired.writers._changes import changed


class Shelf:
    """A store that remembers what was evicted from it.

    Args:
        answer: what every eviction gives, or raises.
    """

    def __init__(self, answer: object = None) -> None:
        self.evicted: list[tuple[str, ...]] = []
        self._answer = answer

    def evict(self, keys: tuple[str, ...], /) -> object:
        """Keeps the keys."""
        self.evicted.append(keys)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


@handler("named", backend="memory", changes=lambda request: {"stores.users": [f"user:{request.payload['key']}"]})
def naming(request: WriteRequest, connection: Any) -> None:
    """Changes the key that its payload is about."""
    connection[str(request.payload["key"])] = 1


def failed_receipt() -> Receipt:
    """What a store reports when Redis is gone."""
    outcomes = (
        LayerOutcome("memory", 0, False, LayerState.DONE),
        LayerOutcome("redis.cache", 1, False, LayerState.FAILED, "ConnectionError"),
    )
    return Receipt(StoreVerb.DELETE_MANY, outcomes)


class Noticed(Counted):
    """Metrics that take notices."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[Notice] = []

    def notice(self, notice: Notice, /) -> None:
        """Keeps the notice."""
        self.notices.append(notice)


class Lines:
    """A logger in a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def _take(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def info(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._take("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._take("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._take("error", event, fields)


def test_the_keys_that_a_request_names_are_evicted_after_its_commit() -> None:
    """Once, when the data is there and before the caller has its answer."""
    writer = MemoryWriter("sql.main", handlers=Registry(put))
    seen: list[Any] = []

    class Looking(Shelf):
        def evict(self, keys: tuple[str, ...], /) -> object:
            seen.append(writer.data["a"])
            return super().evict(keys)

    users = Looking()
    manager, _ = managed(writer, stores={"stores.users": users})
    result = manager.write(request(changes={"stores.users": ["user:1", "user:1", "user:2"]}))
    assert users.evicted == [("user:1", "user:2")]
    assert seen == [SECRET]
    assert result.warnings == ()


def test_the_keys_that_a_handler_names_are_evicted_too() -> None:
    """Together with those of the request, each once; any iterable of keys will do, even one that runs dry."""
    users, orders = Shelf(), Shelf()
    manager, _ = managed(
        MemoryWriter("sql.main", handlers=Registry(naming)), stores={"stores.users": users, "stores.orders": orders}
    )
    own = {"stores.users": iter(["user:7", "user:a"]), "stores.orders": (key for key in ["o:1"])}
    manager.write(request("named", changes=own))
    assert users.evicted == [("user:7", "user:a")]
    assert orders.evicted == [("o:1",)]


def test_a_replayed_write_evicts_again() -> None:
    """The first eviction may have been lost with its process."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        return WriteResult(replayed=True)

    users = Shelf()
    manager, _ = managed(Acting(act), stores={"stores.users": users})  # type: ignore[arg-type]
    assert manager.write(request(changes={"stores.users": ["user:1"]})).replayed
    assert users.evicted == [("user:1",)]


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.PARTIAL])
def test_an_open_outcome_evicts_all_the_same(outcome: Outcome) -> None:
    """To evict is always safe, and the data may have changed."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        error = open_commit()
        error.outcome = outcome
        raise error

    users = Shelf()
    manager, _ = managed(Acting(act), stores={"stores.users": users})  # type: ignore[arg-type]
    error = failure(manager, request(changes={"stores.users": ["user:1"]}))
    assert error.outcome is outcome
    assert users.evicted == [("user:1",)]


def test_what_was_not_applied_evicts_nothing() -> None:
    """The copies are as good as before."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        raise lost()

    users = Shelf()
    manager, _ = managed(Acting(act), stores={"stores.users": users})  # type: ignore[arg-type]
    failure(manager, request(changes={"stores.users": ["user:1"]}))
    assert users.evicted == []


def test_a_program_that_is_being_ended_evicts_first() -> None:
    """COMMIT may have been sent."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        raise KeyboardInterrupt

    users = Shelf()
    manager, _ = managed(Acting(act), stores={"stores.users": users})  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        manager.write(request(changes={"stores.users": ["user:1"]}))
    assert users.evicted == [("user:1",)]


@pytest.mark.parametrize(
    ("stores", "said"),
    [
        ({"stores.users": Shelf()}, "'stores.usrs', which is not known; known: stores.users"),
        (None, "give the manager its stores="),
        ({}.__getitem__, "'stores.usrs', which is not known"),
    ],
)
def test_a_store_that_nobody_knows_is_refused_before_anything_is_sent(stores: Any, said: str) -> None:
    """INVALID_REQUEST, with the name: after the commit it would be too late to mend it."""
    manager, writer = managed(stores=stores)
    error = failure(manager, request(changes={"stores.usrs": ["user:1"]}))
    assert isinstance(error, InvalidRequestError)
    assert said in str(error)
    assert (error.reason, error.target, error.type) == ("changes", "sql.main", "put")
    assert not writer.data


def test_the_words_of_whoever_looked_for_the_store_are_kept() -> None:
    """A container says which environment variable would add it."""

    def find(name: str) -> Evicts:
        raise UnknownProviderError("set WELLWIRED__STORES__USERS__LAYERS")

    error = failure(managed(stores=find)[0], request(changes={"stores.users": ["a"]}))
    assert "set WELLWIRED__STORES__USERS__LAYERS" in str(error)


def test_a_handler_that_names_a_store_needs_one() -> None:
    """A manager without stores would leave old copies to be read, so it refuses the write."""
    manager, writer = managed(MemoryWriter("sql.main", handlers=Registry(naming)))
    assert failure(manager, request("named")).reason == "changes"
    assert not writer.data


@pytest.mark.parametrize(
    "wrong", [["stores.users"], {"stores.users": "user:1"}, {"stores.users": [1]}, {1: ["user:1"]}, {"stores.users": 5}]
)
def test_changes_that_are_no_such_thing_are_refused(wrong: Any) -> None:
    """A single key that stands where several belong above all: it would be taken letter by letter."""
    users = Shelf()
    error = failure(managed(stores={"stores.users": users})[0], request(changes=wrong))
    assert isinstance(error, InvalidRequestError)
    assert error.reason == "changes"
    assert users.evicted == []


def test_what_a_handler_names_is_judged_like_a_request() -> None:
    """Before anything is sent, and saying whose it is."""
    odd = FunctionHandler(put.handle, type="put", backend="memory", changes=lambda request: ["user:1"])  # type: ignore[arg-type,return-value]
    manager, _ = managed(MemoryWriter("sql.main", handlers=Registry(odd)), stores={})
    assert "handler" in str(failure(manager, request()))


def test_changes_of_a_handler_must_be_a_function() -> None:
    """It is said when the handler is registered."""
    with pytest.raises(RegistrationError, match="changes"):
        FunctionHandler(put.handle, type="put", changes={"stores.users": ["a"]})  # type: ignore[arg-type]
    assert traits(naming).changes is naming.changes
    assert traits(put).changes is None


def test_a_failing_eviction_is_a_warning_with_the_name_of_the_store() -> None:
    """In the result, in the log line, and as a notice to log and metrics; the write is done, and stays so (W6)."""
    metrics, lines, orders = Noticed(), Lines(), Shelf()
    stores = {"stores.users": Shelf(RuntimeError(SECRET)), "stores.orders": orders}
    manager, writer = managed(stores=stores, metrics=metrics, logger=lines)
    result = manager.write(request(changes={"stores.users": ["user:1", "user:2"], "stores.orders": ["o:1"]}))
    assert result.success
    assert result.warnings == ("2 keys could not be evicted from stores.users: RuntimeError",)
    assert writer.data["a"] == SECRET
    assert orders.evicted == [("o:1",)]
    assert metrics.notices == [EvictionFailed("stores.users", 2, "RuntimeError")]
    assert metrics.events[0].warnings == result.warnings
    levels = [(level, event) for level, event, _ in lines.lines]
    assert levels == [("warning", "wellwired.eviction_failed"), ("warning", "wellwired.write")]
    assert lines.lines[1][2]["warnings"] == list(result.warnings)
    assert SECRET not in repr(lines.lines)


def test_a_layer_that_failed_is_a_warning_too() -> None:
    """The store did not raise, but another process may read the old copy until it ends."""
    manager, _ = managed(stores={"stores.users": Shelf(failed_receipt())})
    result = manager.write(request(changes={"stores.users": ["user:1"]}))
    assert result.warnings == (
        "1 keys could not be evicted from stores.users: a layer failed (redis.cache: ConnectionError)",
    )


def test_a_failing_eviction_of_an_open_outcome_is_a_note() -> None:
    """The error stays what it is."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        raise open_commit()

    manager, _ = managed(Acting(act), stores={"stores.users": Shelf(OSError())})  # type: ignore[arg-type]
    error = failure(manager, request(changes={"stores.users": ["user:1"]}))
    assert error.reason == "commit_unknown"
    assert error.__notes__ == ["1 keys could not be evicted from stores.users: OSError"]
    assert pickle.loads(pickle.dumps(error)).__notes__ == error.__notes__


def test_middleware_that_makes_another_write_of_it_evicts_what_that_one_changes() -> None:
    """The handler of what was really written is asked."""

    def other(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            rewritten = replace(operation.request, type="named", payload={"key": "b"})
            return next(replace(operation, request=rewritten))

        return call

    users = Shelf()
    writer = MemoryWriter("sql.main", handlers=Registry(put, naming))
    manager, _ = managed(writer, middleware=[other], stores={"stores.users": users})
    manager.write(request(changes={"stores.users": ["user:a"]}))
    assert users.evicted == [("user:a", "user:b")]


def test_several_writes_are_evicted_together() -> None:
    """A store is asked once for all of them, each key once."""
    users = Shelf()
    aftermath = Aftermath({"stores.users": users})
    pairs = [(request("named", payload={"key": key}), naming) for key in ("a", "b", "a")]
    assert aftermath.committed(pairs) == ()
    assert users.evicted == [("user:a", "user:b")]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_and_a_transaction_evict_what_they_changed(atomic: bool) -> None:
    """After their commit, and every key; what failed by itself evicts nothing."""
    users = Shelf()
    manager, _ = managed(MemoryWriter("sql.main", handlers=Registry(naming)), stores={"stores.users": users})
    made = [request("named", payload={"key": key}) for key in ("a", "b")]
    manager.write_many([*made, *([] if atomic else [request("missing")])], atomic=atomic)
    assert {key for keys in users.evicted for key in keys} == {"user:a", "user:b"}
    users.evicted.clear()
    with manager.transaction("sql.main") as transaction:
        for one in made:
            transaction.write(one)
        assert users.evicted == []
    assert users.evicted == [("user:a", "user:b")]


def test_keys_that_cannot_be_named_after_a_commit_are_a_warning() -> None:
    """A handler's mistake cannot undo the write, and takes no other write's keys with it."""

    def broken(request: WriteRequest) -> Mapping[str, Iterable[str]]:
        raise ValueError(SECRET)

    odd = FunctionHandler(put.handle, type="odd", backend="memory", changes=broken)
    users = Shelf()
    warnings = Aftermath({"stores.users": users}).committed([(request("odd"), odd), (request("named"), naming)])
    assert users.evicted == [("user:a",)]
    assert warnings == ("the keys that 'odd' changed could not be named: ValueError",)


def test_changes_are_collected_once_and_survive_pickling() -> None:
    """What was collected is known as complete; a request that was sent elsewhere is asked again."""
    first = request("named", changes={"stores.users": ["user:z"]})
    full = replace(first, changes=changed(first, naming))
    assert changed(full, naming) is full.changes
    copy = pickle.loads(pickle.dumps(full))
    assert changed(copy, naming) == {"stores.users": ("user:z", "user:a")}


def test_without_stores_nothing_is_added_to_the_chain() -> None:
    """A write that names nothing costs what it cost before."""
    assert not managed()[0]._aftermath.evicts
    assert managed(stores={})[0]._aftermath.evicts


def test_a_delegated_store_can_be_evicted_from() -> None:
    """The layered stores are what the protocol says, and a fill that was under way brings nothing back."""
    primary = MemoryStore()
    store: DelegatedStore[Any] = DelegatedStore([MemoryStore(), primary], name="stores.users")
    named: Evicts = store
    with store:
        primary.set("user:1", "old")
        assert store.get("user:1") == "old"
        store.flush(10)
        primary.set("user:1", "new")
        managed(stores={"stores.users": named})[0].write(request(changes={"stores.users": ["user:1"]}))
        assert store.get("user:1") == "new"
