"""Tests of Resource: opened once whatever the race; entered, closed, pinged and renewed as declared."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from dependency_injector import providers as di
from dependency_injector.resources import Resource as ResourceClass

from tests.containers.racing import race, race_all
from wellwired.containers import Container, providers
from wellwired.errors import CycleError, DeclarationError, StateError

EVENTS = list[str]


class Connection:
    """An object that has an end, and that could be entered by mistake."""

    def __init__(self, log: EVENTS, name: str = "one") -> None:
        self.log, self.name = log, name
        log.append(f"open {name}")

    def __enter__(self) -> str:
        self.log.append(f"enter {self.name}")
        return f"entered {self.name}"

    def __exit__(self, *error: object) -> None:
        self.log.append(f"leave {self.name}")

    def close(self) -> None:
        """Writes down the closing."""
        self.log.append(f"close {self.name}")


def generator(log: EVENTS, name: str = "one") -> Iterator[str]:
    """An initialiser that yields once."""
    log.append(f"open {name}")
    try:
        yield name
    finally:
        log.append(f"close {name}")


@pytest.mark.parametrize("round_", range(40))
def test_racing_threads_open_it_once(round_: int) -> None:
    """Eight threads that ask at the same moment share one opening."""
    log: EVENTS = []
    inside = threading.Event()

    def opening() -> Connection:
        inside.wait(0.001)
        return Connection(log)

    resource = providers.Resource(opening)
    found = race(resource)
    assert log == ["open one"]
    assert len({id(one) for one in found}) == 1


def test_threads_that_use_and_close_it_never_share_an_opening() -> None:
    """However uses and closings interleave, every opening is closed exactly once."""
    opened: list[object] = []
    closed: list[object] = []

    def opening() -> object:
        opened.append(object())
        return opened[-1]

    resource = providers.Resource(opening).closed_by(closed.append)

    def using() -> None:
        for _ in range(300):
            resource()

    def closing() -> None:
        for _ in range(300):
            resource.close()

    race_all([using, using, closing, closing])
    resource.close()
    assert sorted(map(id, opened)) == sorted(map(id, closed))


def test_a_generator_function_is_closed_behind_its_yield() -> None:
    """What it yields is the object; what follows the yield closes it, once."""
    log: EVENTS = []
    resource = providers.Resource(generator, log)
    assert resource() == "one" and resource() == "one"
    assert resource.initialized and resource.value == "one"
    resource.shutdown()
    resource.shutdown()
    assert log == ["open one", "close one"]
    assert not resource.initialized and resource.value is None


def test_a_function_under_contextmanager_is_entered() -> None:
    """`contextmanager` makes managers that exist to be entered."""
    log: EVENTS = []
    resource = providers.Resource(contextlib.contextmanager(generator), log)
    assert resource() == "one"
    resource.close()
    assert log == ["open one", "close one"]


def test_a_resource_class_of_dependency_injector_is_entered() -> None:
    """Its classes with init and shutdown keep working."""
    log: EVENTS = []

    class Legacy(ResourceClass[str]):
        def init(self, *args: Any, **kwargs: Any) -> str:
            log.append("init")
            return "legacy"

        def shutdown(self, resource: str | None) -> None:
            log.append(f"shutdown {resource}")

    resource = providers.Resource(Legacy)
    assert resource() == "legacy"
    resource.close()
    assert log == ["init", "shutdown legacy"]


def test_an_object_that_could_be_entered_is_not() -> None:
    """A client, a lock or an engine with `__enter__` is used as the initialiser returned it."""
    log: EVENTS = []
    resource = providers.Resource(Connection, log)
    assert isinstance(resource(), Connection)
    resource.close()
    assert log == ["open one"]


def test_a_mock_stays_the_mock() -> None:
    """A MagicMock, which can be entered, is not exchanged for what its `__enter__` returns."""
    mock = MagicMock()
    resource = providers.Resource(lambda: mock)
    assert resource() is mock
    resource.close()
    mock.__enter__.assert_not_called()


def test_a_lock_comes_out_open() -> None:
    """A lock is neither taken nor turned into True."""
    lock = threading.Lock()
    assert providers.Resource(lambda: lock)() is lock
    assert not lock.locked()


def test_a_declared_context_manager_is_entered() -> None:
    """`.entered()` says that the object is what entering yields."""
    log: EVENTS = []
    resource = providers.Resource(Connection, log).entered()
    assert resource() == "entered one"
    resource.close()
    assert log == ["open one", "enter one", "leave one"]


def test_the_declared_function_closes_after_the_generator() -> None:
    """Both endings run, the initialiser's own first, and the second even if the first fails."""
    log: EVENTS = []

    def failing() -> Iterator[str]:
        yield "value"
        log.append("generator")
        raise OSError("generator failed")

    resource = providers.Resource(failing).closed_by(lambda value: log.append(f"closer {value}"))
    resource()
    with pytest.raises(OSError, match="generator failed"):
        resource.close()
    assert log == ["generator", "closer value"]
    assert not resource.initialized


def test_a_closing_that_fails_counts_as_closed() -> None:
    """The next use opens a new object; the failed closing is not repeated."""
    log: EVENTS = []

    def closing(connection: Connection) -> None:
        connection.close()
        raise OSError("gone")

    resource = providers.Resource(Connection, log).closed_by(closing)
    first = resource()
    with pytest.raises(OSError, match="gone"):
        resource.close()
    assert resource() is not first
    assert log == ["open one", "close one", "open one"]


def test_a_generator_that_yields_twice_is_an_error() -> None:
    """An initialiser that goes on after its end is reported when it is closed."""

    def twice() -> Iterator[int]:
        yield 1
        yield 2

    resource = providers.Resource(twice)
    resource()
    with pytest.raises(RuntimeError, match="didn't stop"):
        resource.close()


def test_an_opening_that_fails_names_the_resource_and_is_tried_again() -> None:
    """The error keeps its type, gains a note with the name, and the next use tries anew."""
    attempts: list[int] = []

    def opening() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("refused")
        return "open"

    class Pools(Container):
        main = providers.Resource(opening)

    pools = Pools()
    with pytest.raises(ConnectionError, match="refused") as caught:
        pools.main()
    assert caught.value.__notes__ == ["while opening main"]
    assert pools.main() == "open"
    pools.stop()


def test_none_is_an_object() -> None:
    """An initialiser that returns None is called once and closed once."""
    log: EVENTS = []
    resource = providers.Resource(lambda: log.append("open")).closed_by(lambda value: log.append(f"close {value}"))
    assert resource() is None and resource() is None
    resource.close()
    assert log == ["open", "close None"]


def test_closing_waits_for_an_opening_under_way() -> None:
    """A closing that comes while the initialiser is at work closes what that opens."""
    log: EVENTS = []
    entered, release = threading.Event(), threading.Event()

    def opening() -> Connection:
        entered.set()
        assert release.wait(10)
        return Connection(log)

    resource = providers.Resource(opening).closed_by(Connection.close)
    using = threading.Thread(target=resource)
    using.start()
    assert entered.wait(10)
    closing = threading.Thread(target=resource.close)
    closing.start()
    release.set()
    using.join(10)
    closing.join(10)
    assert log == ["open one", "close one"]


def test_an_ending_may_wait_for_a_thread_that_wants_the_object() -> None:
    """Endings run outside the lock: a worker that asks once more before it stops is no deadlock."""
    answered = threading.Event()
    stopping = threading.Event()

    def worker() -> None:
        stopping.wait(10)
        resource()
        answered.set()

    thread = threading.Thread(target=worker, daemon=True)

    def opening() -> Iterator[str]:
        yield "worker"
        stopping.set()
        assert answered.wait(5), "the ending kept the lock"

    resource = providers.Resource(opening)
    resource()
    thread.start()
    resource.close()
    thread.join(5)


def test_an_object_of_another_process_is_forgotten_instead_of_closed() -> None:
    """Even where no fork handling has run: whoever did not open it does not close it."""
    log: EVENTS = []
    resource = providers.Resource(Connection, log).closed_by(Connection.close)
    resource()
    resource._pid -= 1
    resource.close()
    assert log == ["open one"] and not resource.initialized


def test_ping_and_renewal_are_part_of_the_declaration() -> None:
    """What was declared can be read, and copies keep it."""
    log: EVENTS = []
    resource = (
        providers.Resource(Connection, log)
        .entered()
        .closed_by(log.append)
        .pinged_by(log.append, timeout=0.5)
        .renewed_by(log.append)
    )
    for one in (resource, di.deepcopy(resource)):
        assert one.pinger == log.append and one.ping_timeout == 0.5
        assert one.renewer == log.append
        assert one() == "entered one"
        one.close()


def test_without_declarations_there_is_no_ping_and_no_renewal() -> None:
    """Nothing is assumed about an object."""
    resource = providers.Resource(dict[str, Any])
    assert resource.pinger is None and resource.renewer is None and resource.ping_timeout == 2.0


def test_an_open_one_cannot_be_copied() -> None:
    """Two containers must not close the same object; the error says where it went wrong."""

    class Pools(Container):
        main = providers.Resource(dict[str, Any])

    Pools.main()
    with pytest.raises(StateError, match="main is open and cannot be copied"):
        Pools()
    Pools.main.close()
    Pools()


def test_asynchronous_initialisers_are_refused_when_they_are_declared() -> None:
    """Neither a coroutine function nor an asynchronous generator can serve synchronous callers."""

    async def coroutine() -> None: ...

    async def stream() -> Any:
        yield 1

    for initialiser in (coroutine, stream):
        with pytest.raises(DeclarationError, match="asynchronous initialiser"):
            providers.Resource(initialiser)


def test_a_function_that_turns_out_to_be_asynchronous_is_refused() -> None:
    """A plain function that returns a coroutine is found out at the call."""

    async def coroutine() -> None: ...

    resource: providers.Resource[Any] = providers.Resource(lambda: [coroutine()][0])
    with pytest.raises(DeclarationError, match="asynchronous"):
        resource()


def test_one_that_needs_itself_says_so() -> None:
    """A ring that only shows at run time is a CycleError with the name."""

    class Ring(Container):
        pool: providers.Resource[Any] = providers.Resource(lambda: ring.pool())  # noqa: PLW0108

    ring: Any = Ring()
    with pytest.raises(CycleError, match="pool -> pool"):
        ring.pool()


def test_an_override_is_seen_at_once_and_opens_nothing() -> None:
    """An overridden resource answers with its stand-in, open or not."""
    log: EVENTS = []
    resource = providers.Resource(Connection, log)
    with resource.override("fake"):
        assert resource() == "fake"
    assert log == []
    real = resource()
    with resource.override("fake"):
        assert resource() == "fake"
    assert resource() is real


def test_arguments_are_provided_and_handed_over() -> None:
    """Providers among the arguments are called; those of the call come behind them."""
    seen: list[Any] = []
    resource = providers.Resource(lambda *args, **kwargs: seen.append((args, kwargs)), providers.Object(1), a=2)
    resource(3, b=4)
    assert seen == [((1, 3), {"a": 2, "b": 4})]


def test_it_serves_from_c() -> None:
    """Once open, what a call reaches is dependency-injector's own compiled Object provider."""
    resource = providers.Resource(dict[str, Any])
    resource()
    assert type(resource.__call__) is di.Object
    resource.close()
    assert type(resource.__call__) is not di.Object


def test_init_opens_it() -> None:
    """The name that dependency-injector gives to opening works."""
    resource = providers.Resource(dict[str, Any], a=1)
    assert resource.init() == {"a": 1} and resource.initialized
