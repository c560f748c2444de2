"""Tests of scopes: one object per scope, ended in reverse, in whatever thread or body the scope is entered again."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.racing import race
from wellwired.containers import Container, Scope, providers, scope
from wellwired.errors import DeclarationError, NoScopeError, StateError


class Session:
    """An object with an identity."""

    def __init__(self, log: list[str] | None = None, name: str = "session") -> None:
        self.log, self.name = log if log is not None else [], name
        self.log.append(f"open {name}")

    def close(self) -> None:
        """Writes down the end."""
        self.log.append(f"close {self.name}")


def opened(log: list[str], name: str, *needs: Any) -> Iterator[str]:
    """A generator initialiser that writes down its life."""
    log.append(f"open {name}")
    try:
        yield name
    except ValueError:
        log.append(f"roll back {name}")
        raise
    finally:
        log.append(f"close {name}")


def test_a_scope_has_one_object_of_each() -> None:
    """The same object inside a scope, another in the next, and none before or after."""
    session = providers.Scoped(Session)
    with scope():
        first = session()
        assert session() is first
    with scope():
        assert session() is not first


def test_objects_end_in_reverse_order() -> None:
    """What was built last ends first, so nothing loses what it stands on."""
    log: list[str] = []
    connection = providers.Scoped(opened, log, "connection")
    session = providers.Scoped(opened, log, "session", connection)
    with scope():
        session()
    assert log == ["open connection", "open session", "close session", "close connection"]


@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (lambda log: providers.Scoped(Session, log), []),
        (lambda log: providers.Scoped(Session, log).closed_by(Session.close), ["close session"]),
    ],
)
def test_a_plain_object_ends_only_as_declared(make: Any, ends: list[str]) -> None:
    """A function or class makes the object; only `closed_by` says how it ends."""
    log: list[str] = []
    session = make(log)
    with scope():
        session()
    assert log == ["open session", *ends]


def test_a_declared_context_manager_is_entered() -> None:
    """`.entered()` says that the object is what entering yields."""
    lock = threading.Lock()
    held = providers.Scoped(lambda: lock).entered()
    with scope():
        assert held() is True and lock.locked()
    assert not lock.locked()


def test_an_error_that_ends_the_scope_is_raised_at_the_yield() -> None:
    """A session can roll back, and the error comes out as it was."""
    log: list[str] = []
    session = providers.Scoped(opened, log, "session")
    error = ValueError("stock")
    with pytest.raises(ValueError, match="stock") as caught, scope():  # noqa: PT012
        session()
        raise error
    assert caught.value is error
    assert log == ["open session", "roll back session", "close session"]


def broken(name: str) -> Iterator[str]:
    """An initialiser whose ending fails."""
    yield name
    raise OSError(f"{name} failed")


def test_every_ending_is_tried_and_the_failures_come_together() -> None:
    """One failed ending stops no other; each failure names its object."""
    log: list[str] = []

    class Shop(Container):
        first = providers.Scoped(broken, "first")
        second = providers.Scoped(opened, providers.Object(log), "second")
        third = providers.Scoped(broken, "third")

    shop = Shop()
    with pytest.raises(ExceptionGroup, match="closing a scope failed") as caught, scope():
        assert shop.first() + shop.second() + shop.third()
    assert [str(one) for one in caught.value.exceptions] == ["third failed", "first failed"]
    assert caught.value.exceptions[0].__notes__ == ["while closing third at the end of its scope"]
    assert log == ["open second", "close second"]


def test_a_failed_ending_does_not_hide_the_error_of_the_body() -> None:
    """The body's error comes out, with a note for each ending that failed too."""
    session = providers.Scoped(broken, "session")
    with pytest.raises(ValueError, match="stock") as caught, scope():  # noqa: PT012
        session()
        raise ValueError("stock")
    # A generator that is told of the error never reaches the code behind its yield.
    assert not hasattr(caught.value, "__notes__")

    closing = providers.Scoped(object).closed_by(lambda it: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(ValueError, match="stock") as caught, scope():  # noqa: PT012
        closing()
        raise ValueError("stock")
    assert caught.value.__notes__ == ["closing its scope failed too: OSError"]


def test_outside_a_scope_the_error_lists_the_causes() -> None:
    """Whoever gets the error learns what usually leads to it."""

    class Shop(Container):
        session = providers.Scoped(Session)

    with pytest.raises(NoScopeError) as caught:
        Shop().session()
    text = str(caught.value)
    assert text.startswith("session lives for a scope, and none is active here")
    for cause in ("with scope():", "start-up or in a shell", "a thread", "s.entered()", "streamed"):
        assert cause in text


def test_scopes_do_not_nest_but_come_back() -> None:
    """An inner scope starts empty, and afterwards the outer's objects are there again."""
    session = providers.Scoped(Session)
    with scope():
        outer = session()
        with scope():
            assert session() is not outer
        assert session() is outer


def test_a_thread_has_no_scope_until_it_enters_one() -> None:
    """A scope does not leak into threads; entered there it shares its objects."""
    session = providers.Scoped(Session)

    def plain() -> Any:
        with pytest.raises(NoScopeError):
            session()

    with scope() as s:
        here = session()

        def entering() -> Any:
            with s.entered():
                return session()

        assert race(plain, threads=2) == [None, None]
        assert race(entering, threads=4) == [here] * 4
        assert session() is here


@pytest.mark.parametrize("round_", range(20))
def test_threads_of_one_scope_build_once(round_: int) -> None:
    """Eight threads that enter the same scope and ask at the same moment share one object."""
    built: list[Session] = []
    wait = threading.Event()

    def build() -> Session:
        wait.wait(0.001)
        built.append(Session())
        return built[-1]

    session = providers.Scoped(build)
    with scope() as s:

        def entering() -> Any:
            with s.entered():
                return session()

        found = race(entering)
    assert len(built) == 1 and all(one is built[0] for one in found)


def test_twenty_requests_in_threads_have_twenty_objects() -> None:
    """Every request opens and closes its own."""
    log: list[str] = []
    session = providers.Scoped(opened, log, "session")

    def request() -> None:
        with scope():
            session()
            session()

    race(request, threads=20)
    assert sorted(log) == ["close session"] * 20 + ["open session"] * 20


def test_tasks_have_scopes_of_their_own() -> None:
    """Requests as tasks of one loop do not share, although they inherit the context of whoever made them."""
    session = providers.Scoped(Session)

    async def request() -> Session:
        with scope():
            first = session()
            await asyncio.sleep(0)
            assert session() is first
            return first

    async def main() -> list[Session]:
        return list(await asyncio.gather(request(), request(), request()))

    assert len({id(one) for one in asyncio.run(main())}) == 3


def test_a_streamed_body_enters_the_scope_again() -> None:
    """A scope made by hand lives until it is closed by hand, after the last chunk."""
    log: list[str] = []
    session = providers.Scoped(opened, log, "session")
    s = Scope()
    with s.entered():
        session()

    def body() -> Iterator[str]:
        with s.entered():
            yield session()
            yield session()

    assert list(body()) == ["session", "session"]
    assert log == ["open session"] and not s.closed
    s.close()
    s.close()
    assert log == ["open session", "close session"] and s.closed


def test_a_closed_scope_provides_nothing() -> None:
    """What comes too late is told so, whether it enters the scope or has entered it before."""
    session = providers.Scoped(Session)
    s = Scope()
    with s.entered():
        s.close()
        with pytest.raises(NoScopeError, match="the active scope has been closed"):
            session()
    with pytest.raises(StateError, match="this scope is closed"), s.entered():
        pass
    with pytest.raises(StateError, match="this scope is closed"), s:
        pass


def test_a_scope_is_entered_once_and_again_with_entered() -> None:
    """A second `with` on the same scope would close it too early; the error says what to write."""
    with scope() as s:
        with pytest.raises(StateError, match=r"with s\.entered\(\)"), s:
            pass
        with s.entered():
            pass


def test_a_block_that_is_left_in_another_context_closes_its_scope() -> None:
    """Frameworks enter and leave in different contexts; the objects end all the same."""
    log: list[str] = []
    session = providers.Scoped(opened, log, "session")
    s = scope()

    def entering() -> None:
        s.__enter__()
        session()

    contextvars.copy_context().run(entering)
    s.__exit__(None, None, None)
    assert log == ["open session", "close session"] and s.closed


def test_a_scope_that_is_dropped_open_warns() -> None:
    """Whoever forgets to close one hears which objects were not ended; those without an end are nobody's loss."""
    session = providers.Scoped(opened, [], "session")
    session.name = "session"
    with scope() as s:
        providers.Scoped(dict[str, Any])()
        s.__del__()
        session()
        with pytest.warns(ResourceWarning, match="dropped without being closed: session"):
            s.__del__()
    s.__del__()


def test_a_failed_construction_is_tried_again_and_leaves_nothing_to_end() -> None:
    """An object that was never made has no end."""
    attempts: list[int] = []
    log: list[str] = []

    def build() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("not yet")
        return "built"

    session = providers.Scoped(build).closed_by(log.append)
    with scope():
        with pytest.raises(OSError, match="not yet"):
            session()
        assert session() == "built"
    assert log == ["built"]


def test_none_is_an_object() -> None:
    """An initialiser that returns None is called once per scope."""
    log: list[str] = []
    session = providers.Scoped(lambda: log.append("built"))
    with scope():
        assert session() is None and session() is None
    assert log == ["built"]


def test_an_ending_may_wait_for_a_thread_of_the_scope() -> None:
    """Endings run outside the scope's lock."""
    answered, stopping = threading.Event(), threading.Event()
    other = providers.Scoped(Session)

    def ending(value: Any) -> None:
        stopping.set()
        assert answered.wait(5), "the ending kept the lock"

    session = providers.Scoped(Session).closed_by(ending)
    with scope() as s:
        session()

        def late() -> None:
            with s.entered():
                stopping.wait(10)
                with pytest.raises(NoScopeError):
                    other()
            answered.set()

        ready = threading.Thread(target=late, daemon=True)
        ready.start()
    ready.join(5)


def test_overrides_hold_inside_a_scope() -> None:
    """An overridden provider needs no scope, and the scope keeps the real object meanwhile."""
    session = providers.Scoped(Session)
    with session.override("fake"):
        assert session() == "fake"
    with scope():
        real = session()
        with session.override("fake"):
            assert session() == "fake"
        assert session() is real


def test_copies_keep_their_declaration() -> None:
    """A container's copy is entered and closed as declared."""
    log: list[str] = []
    lock = threading.Lock()

    class Shop(Container):
        held = providers.Scoped(lambda: lock).entered()
        session = providers.Scoped(Session, providers.Object(log)).closed_by(Session.close)

    shop = Shop()
    with scope():
        assert shop.held() is True
        shop.session()
    assert log == ["open session", "close session"] and not lock.locked()


def test_asynchronous_initialisers_are_refused() -> None:
    """As for resources, when they are declared or at the call."""

    async def connect() -> None: ...

    with pytest.raises(DeclarationError, match="asynchronous initialiser"):
        providers.Scoped(connect)
    found_out: providers.Scoped[Any] = providers.Scoped(lambda: [connect()][0])
    with scope(), pytest.raises(DeclarationError, match="asynchronous"):
        found_out()


def test_a_dropped_scope_is_forgotten() -> None:
    """A scope that nobody holds is not kept alive by the registry of scopes."""
    from wellwired.containers._scope import _Scopes

    held: providers.Scoped[Any] = providers.Scoped(dict)
    with Scope() as s:
        held()
    assert s in _Scopes.all
    before = len(_Scopes.all)
    del s
    gc.collect()
    assert len(_Scopes.all) < before
