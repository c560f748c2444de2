"""Tests of forks: locks found open, inherited objects neither used nor ended, and renewal in place (C5)."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers as di

from tests.containers.forking import in_child
from wellwired.containers import Container, providers, scope
from wellwired.containers._fork import ForkLock, generation, keep_for_ever
from wellwired.errors import NoScopeError

# Forking with threads about is what these tests are for.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Pool:
    """A pool that notes in which process what was done to it."""

    def __init__(self, name: str = "pool") -> None:
        self.name, self.log = name, [("open", os.getpid())]

    def renew(self) -> None:
        """Notes a renewal."""
        self.log.append(("renew", os.getpid()))

    def close(self) -> None:
        """Notes a closing."""
        self.log.append(("close", os.getpid()))


class Shop(Container):
    """A pool that can be renewed, one that cannot, and what stands on them."""

    renewed = providers.Resource(Pool, "renewed").closed_by(Pool.close).renewed_by(Pool.renew)
    plain = providers.Resource(Pool, "plain").closed_by(Pool.close)
    on_renewed = providers.Singleton(dict[str, Any], pool=renewed)
    on_plain = providers.Singleton(dict[str, Any], pool=plain)
    clock = providers.Singleton(object)


def test_a_renewed_resource_is_the_same_object_made_fit() -> None:
    """The child renews it in place, once, so that what stands on it stays; closing it is the child's own business."""
    with Shop() as shop:
        pool, service = shop.renewed(), shop.on_renewed()

        def child() -> Any:
            same = shop.renewed() is pool and shop.on_renewed() is service
            shop.stop()
            return same, [what for what, pid in pool.log if pid == os.getpid()]

        assert in_child(child) == (True, ["renew", "close"])
        assert pool.log == [("open", os.getpid())]


def test_a_resource_without_renewal_is_opened_anew() -> None:
    """The child forgets the parent's object without closing it, and everything that was built on it."""
    with Shop() as shop:
        pool, service = shop.plain(), shop.on_plain()

        def child() -> Any:
            forgotten = not shop.plain.initialized
            fresh = shop.plain() is not pool and shop.on_plain() is not service
            fresh = fresh and shop.on_plain()["pool"] is shop.plain()
            own = shop.plain()
            shop.stop()
            return forgotten, fresh, [what for what, pid in pool.log if pid == os.getpid()], len(own.log)

        assert in_child(child) == (True, True, [], 2)
        assert shop.plain() is pool and shop.on_plain() is service


def test_what_needs_no_resource_stays() -> None:
    """A singleton that is only memory is the same object in the child."""
    shop = Shop()
    clock = shop.clock()
    assert in_child(lambda: shop.clock() is clock)


def test_the_child_of_a_started_container_may_start_it() -> None:
    """In the child it is not started; starting opens what is missing, and stop closes it."""
    with Shop() as shop:

        def child() -> Any:
            before = shop.started
            shop.start()
            opened = shop.plain.initialized and shop.started
            shop.stop()
            return before, opened, shop.plain.initialized

        assert in_child(child) == (False, True, False)
        assert shop.started


def test_a_child_that_only_stops_touches_nothing() -> None:
    """stop() in the child, as an inherited exit handler would call it, leaves the parent's objects alone."""
    with Shop() as shop:
        pool = shop.plain()

        def child() -> list[str]:
            shop.stop()
            return [what for what, pid in pool.log if pid == os.getpid()]

        assert in_child(child) == []


def test_a_dependent_of_a_lost_resource_is_not_renewed() -> None:
    """A renewal must not meet a dependency that the child has lost; the dependent is opened anew instead."""

    class Stacked(Container):
        pool = providers.Resource(Pool)
        store = providers.Resource(dict[str, Any], pool=pool).renewed_by(lambda it: it["pool"].renew())

    with Stacked() as stacked:
        pool, store = stacked.pool(), stacked.store()

        def child() -> Any:
            result = stacked.store() is not store and stacked.store()["pool"] is stacked.pool()
            renewals = [what for what, pid in pool.log if pid == os.getpid()]
            stacked.stop()
            return result, renewals

        assert in_child(child) == (True, [])


def test_a_renewal_that_fails_gives_a_new_object() -> None:
    """The child is warned and goes on with one of its own."""

    def failing(pool: Pool) -> None:
        raise OSError("cannot renew")

    class Failing(Container):
        pool = providers.Resource(Pool).renewed_by(failing)
        service = providers.Singleton(dict[str, Any], pool=pool)

    import warnings

    with Failing() as container:
        pool, service = container.pool(), container.service()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")

            def child() -> Any:
                fresh = container.pool() is not pool and container.service() is not service
                container.stop()
                return fresh

            assert in_child(child)


def test_a_failed_renewal_warns_with_the_name() -> None:
    """The warning names the resource and the kind of error, not its text."""

    def failing(pool: Pool) -> None:
        raise OSError("secret")

    class Failing(Container):
        pool = providers.Resource(Pool).renewed_by(failing)

    with Failing() as container:
        with pytest.warns(RuntimeWarning, match=r"pool could not be renewed.*OSError") as caught:
            renewed = container.pool.adopt()
        assert not renewed
    assert "secret" not in str(caught[0].message)


def test_a_resource_without_a_container_is_renewed_or_forgotten() -> None:
    """A resource that nobody owns is not used by the child either, unless it was declared renewable."""
    renewed = providers.Resource(Pool).renewed_by(Pool.renew)
    plain = providers.Resource(Pool)
    first, second = renewed(), plain()
    assert in_child(lambda: (renewed() is first, first.log[-1][0], plain() is second)) == (True, "renew", False)
    assert renewed() is first and plain() is second
    renewed.close()
    plain.close()


def foreign(log: list[str]) -> Iterator[str]:
    """A resource of dependency-injector's own kind, with a loud end."""
    try:
        yield "foreign"
    finally:
        log.append("closed")


def test_a_resource_of_dependency_injector_is_forgotten_untouched() -> None:
    """Its ending, hidden in its compiled state, is neither run nor finalised in the child."""

    class Mixed(Container):
        log = providers.Object([])
        pool = di.Resource(foreign, log)

    with Mixed() as mixed:

        def child() -> Any:
            forgotten = not mixed.pool.initialized
            gc.collect()
            mixed.stop()
            unheard = list(mixed.log())
            mixed.pool()
            mixed.stop()
            return forgotten, unheard, mixed.log()

        assert in_child(child) == (True, [], ["closed"])
        assert mixed.log() == []


def test_members_of_families_are_renewed_too() -> None:
    """However a resource was declared, its container's fork handling finds it."""

    class Family(Container):
        sql = providers.Named(
            {"a": 1, "b": 2}, lambda key, it: providers.Resource(Pool, key).renewed_by(Pool.renew).closed_by(Pool.close)
        )

    with Family() as family:
        pools = family.sql()

        def child() -> Any:
            result = [pool.log[-1] == ("renew", os.getpid()) for pool in pools.values()], family.sql() == pools
            family.stop()
            return result

        assert in_child(child) == ([True, True], True)


def test_scopes_start_empty_in_a_child() -> None:
    """A request's objects are at work in the parent; the child builds its own and does not end those."""
    log: list[tuple[str, int]] = []

    def session() -> Iterator[int]:
        log.append(("open", os.getpid()))
        yield os.getpid()
        log.append(("close", os.getpid()))

    scoped = providers.Scoped(session)
    with scope() as s:
        assert scoped() == os.getpid()

        def child() -> Any:
            own = scoped() == os.getpid()
            s.close()
            return own, [what for what, pid in log if pid == os.getpid()]

        assert in_child(child) == (True, ["open", "close"])

        def child_without_use() -> Any:
            s.close()
            with pytest.raises(NoScopeError):
                scoped()
            return [what for what, pid in log if pid == os.getpid()]

        assert in_child(child_without_use) == []
    assert log == [("open", os.getpid()), ("close", os.getpid())]


def held(provider_of: Any, use: Any) -> None:
    """Forks while another thread is in the middle of `provider_of`'s initialiser, and uses everything in the child."""
    entered, release = threading.Event(), threading.Event()
    parent = os.getpid()

    def slow() -> int:
        if os.getpid() == parent:
            entered.set()
            assert release.wait(20)
        return os.getpid()

    shop = provider_of(slow)
    thread = threading.Thread(target=lambda: use(shop), daemon=True)
    thread.start()
    assert entered.wait(10)
    try:
        assert in_child(lambda: (use(shop), getattr(shop, "stop", int)())[0] == os.getpid())
    finally:
        release.set()
        thread.join(10)
    assert use(shop) == parent
    getattr(shop, "stop", int)()


def test_a_fork_in_the_middle_of_a_singleton() -> None:
    """The child of a fork taken while a thread builds the singleton builds its own; nobody waits for ever."""
    held(providers.Singleton, lambda provider: provider())


def test_a_fork_in_the_middle_of_an_opening() -> None:
    """The same for a resource of a container, at first use."""

    def container(slow: Any) -> Any:
        class One(Container):
            pool = providers.Resource(slow)

        return One()

    held(container, lambda one: one.pool())


def test_a_fork_in_the_middle_of_a_start() -> None:
    """The same while the container's own lock is held by a thread that starts it."""

    def container(slow: Any) -> Any:
        class One(Container):
            pool = providers.Resource(slow)

        return One()

    held(container, lambda one: one.start().pool())


def test_a_fork_in_the_middle_of_an_expansion() -> None:
    """The same for a family that is being expanded."""

    def container(slow: Any) -> Any:
        class One(Container):
            sql = providers.Named(providers.Callable(lambda: {"main": slow()}), lambda key, it: providers.Object(it))

        return One()

    held(container, lambda one: one.sql["main"]())


def test_a_fork_in_the_middle_of_a_scoped_object() -> None:
    """The same for an object of a scope that several threads share."""
    shared = scope()

    def use(provider: Any) -> Any:
        with shared.entered():
            return provider()

    held(providers.Scoped, use)
    shared.close()


def test_a_fork_while_a_provider_is_looked_at() -> None:
    """The lock that all providers share for their overrides is open in the child, whoever held it."""
    made = Container()
    made.start()
    taken, enough = threading.Event(), threading.Event()

    def look() -> None:
        with di.Provider.overriding_lock, di.ThreadSafeSingleton.storage_lock:  # type: ignore[attr-defined]
            taken.set()
            enough.wait(20)

    thread = threading.Thread(target=look)
    thread.start()
    taken.wait(20)
    free = in_child(lambda: [list(providers.Object(1).related), di.Provider.overriding_lock.acquire(blocking=False)])  # type: ignore[attr-defined]
    enough.set()
    thread.join()
    made.stop()
    assert free == [[], True]


def test_forks_among_busy_threads() -> None:
    """Thirty forks while threads build, open, close, reset and override: every child uses everything and ends."""

    class Busy(Container):
        pool = providers.Resource(Pool).closed_by(Pool.close)
        single = providers.Singleton(dict[str, Any], pool=pool)
        sql = providers.Named({"a": 1}, lambda key, it: providers.Resource(Pool, key))

    busy = Busy()
    done = threading.Event()

    def using() -> None:
        while not done.is_set():
            busy.single()
            busy.sql()
            busy.single.reset()

    def opening() -> None:
        while not done.is_set():
            busy.start()
            busy.stop()

    def overriding() -> None:
        while not done.is_set():
            with busy.overriding({"pool": "fake"}):
                busy.single()

    threads = [threading.Thread(target=each, daemon=True) for each in (using, opening, overriding)]
    for thread in threads:
        thread.start()

    def child() -> bool:
        busy.start()
        busy.single()
        busy.sql()
        with busy.overriding({"pool": "other"}):
            busy.single()
        busy.stop()
        return True

    try:
        assert all(in_child(child) for _ in range(30))
    finally:
        done.set()
        for thread in threads:
            thread.join(20)
        busy.stop()


@pytest.fixture
def server() -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A server that answers each line, and everything that was ever sent to it (``b""`` for an end)."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            while True:
                line = connection.recv(100)
                heard.append(line)
                if not line:
                    return
                connection.sendall(b"+" + line)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listening.getsockname(), heard
    listening.close()


class Talkative:
    """A connection with bad manners: it says goodbye when it is closed and when it is finalised."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)

    def ask(self, line: bytes) -> bytes:
        """Sends a line and returns the answer."""
        self.socket.sendall(line)
        return self.socket.recv(100)

    def close(self) -> None:
        """Says goodbye, once."""
        if self.socket.fileno() >= 0:
            self.socket.sendall(b"bye")
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    __del__ = close


def talking(address: tuple[str, int]) -> Iterator[Talkative]:
    """Opens and closes a talkative connection."""
    connection = Talkative(address)
    try:
        yield connection
    finally:
        connection.close()


@pytest.mark.parametrize("end", ["stop", "collect"])
def test_nothing_of_the_child_is_heard_on_the_parents_socket(
    server: tuple[tuple[str, int], list[bytes]], end: str
) -> None:
    """The child's stop, its garbage collector and its ordinary exit leave the parent's connection working."""
    address, heard = server

    class Talking(Container):
        line = providers.Resource(talking, address)
        user = providers.Singleton(dict[str, Any], line=line)

    with Talking() as container:
        assert container.user()["line"].ask(b"one") == b"+one"

        def child() -> bool:
            container.user.reset()
            if end == "stop":
                container.stop()
            gc.collect()
            return True

        assert in_child(child)
        assert container.user()["line"].ask(b"two") == b"+two"
        assert heard == [b"one", b"two"]


def test_the_interpreters_end_in_a_child_says_nothing_either(server: tuple[tuple[str, int], list[bytes]]) -> None:
    """When a child ends like any program, module by module, no finaliser of an inherited object runs."""
    address, heard = server
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from tests.containers.test_fork import Talkative, talking
from wellwired.containers import Container, providers
class Talking(Container):
    line = providers.Resource(talking, {address!r})
    plain = providers.Resource(Talkative, {address!r}).closed_by(Talkative.close)
container = Talking().start()
assert container.line().ask(b"one") == b"+one"
if os.fork() == 0:
    sys.exit()
os.wait()
assert container.line().ask(b"two") == b"+two"
assert container.plain().ask(b"three") == b"+three"
container.stop()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in heard if line.isalpha() and line != b"bye"] == [b"one", b"two", b"three"]
    assert heard.count(b"bye") == 2


def test_a_singleton_that_holds_the_connection_is_not_finalised_either(
    server: tuple[tuple[str, int], list[bytes]],
) -> None:
    """The child drops what was built on a lost resource; an object that closes it in its finaliser stays silent."""
    address, heard = server

    class Holder:
        def __init__(self, line: Talkative) -> None:
            self.line = line

        def __del__(self) -> None:
            self.line.close()

    class Talking(Container):
        line = providers.Resource(talking, address)
        holder = providers.Singleton(Holder, line)

    with Talking() as container:
        container.holder()

        def child() -> bool:
            gc.collect()
            return not container.holder.created

        assert in_child(child)
        assert container.line().ask(b"still") == b"+still"
        assert heard == [b"still"]
        container.holder.reset()


def test_a_child_may_open_its_own_connection(server: tuple[tuple[str, int], list[bytes]]) -> None:
    """The child talks on a socket of its own, and closes that one."""
    address, heard = server

    class Talking(Container):
        line = providers.Resource(talking, address)

    with Talking() as container:
        container.line().ask(b"parent")

        def child() -> bytes:
            answer = container.line().ask(b"child")
            container.stop()
            return answer

        assert in_child(child) == b"+child"
        assert container.line().ask(b"again") == b"+again"
    assert heard[:2] == [b"parent", b"child"] and b"again" in heard


def test_a_grandchild_is_a_child_too() -> None:
    """A fork of a fork renews once more."""
    with Shop() as shop:
        pool = shop.renewed()

        def grandchild() -> list[str]:
            return [what for what, _ in pool.log]

        assert in_child(lambda: in_child(grandchild)) == ["open", "renew", "renew"]


def test_a_lock_is_open_in_the_child() -> None:
    """Held in the parent, by this or another thread, it can be taken in the child, by all its threads in turn."""
    lock = ForkLock()

    def child() -> bool:
        taken: list[Any] = []

        def take() -> None:
            with lock.current() as one:
                taken.append(one)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        return len(taken) == 4

    with lock.current():
        assert in_child(child)
        before = generation()
        assert in_child(generation) == before + 1
    assert generation() == before


def test_a_lock_taken_before_a_fork_is_released_as_taken() -> None:
    """A block that forks inside releases the lock that it took, in both processes."""
    lock = ForkLock()
    with lock.current():
        pid = os.fork()
        if pid == 0:
            with lock.current():
                pass
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with lock.current():
        pass


def test_what_is_kept_for_ever_is_never_finalised() -> None:
    """Not by the garbage collector, and not at the end of the interpreter."""
    code = """
import gc
from wellwired.containers._fork import keep_for_ever
class Loud:
    def __del__(self): print("finalised", self.name, flush=True)
    def __init__(self, name): self.name = name
keep_for_ever(Loud("kept"))
Loud("dropped")
gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "finalised dropped\n"
    thing = object()
    before = sys.getrefcount(thing)
    keep_for_ever(thing)
    assert sys.getrefcount(thing) == before + 1
