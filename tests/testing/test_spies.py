"""Spies on real objects: they count what was called, the object goes on to work, and nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.testing.shop import Shop, orders, place
from wellwired import Layer, MemoryStore, WriteRequest
from wellwired.errors import StateError, UnknownProviderError
from wellwired.stores.protocols import Fenced, Many, Ordered
from wellwired.stores.redis import RedisStore
from wellwired.testing._intercept import intercepted, methods_of
from wellwired.testing._spies import Spy
from wellwired.writers import Writer

Put = Callable[..., Spy]


@pytest.fixture(scope="module")
def wellwired_container_source() -> Any:
    """The shop."""
    return Shop


@pytest.fixture
def shop(wellwired_in_memory: Any) -> Any:
    """A shop in memory, with its table."""
    orders.create(wellwired_in_memory.sql["main"]())
    return wellwired_in_memory


def test_a_spy_on_a_writer_sees_its_writes(shop: Any, wellwired_spy: Put) -> None:
    """With their arguments, although whoever writes holds the writer since long before."""
    manager, writer = shop.write_manager(), shop.writers["sql.main"]()
    spy = wellwired_spy("writers.sql.main")
    assert manager.write(place("o-1")).success
    spy.write.assert_called_once()
    assert spy.write.call_args.args[0].payload.order_id == "o-1"
    assert spy.write.spy_return.success and spy.real is writer
    assert isinstance(writer, Writer) and isinstance(writer, shop.writers["sql.main"]().__class__)


def test_a_spy_on_a_handler_sees_requests(shop: Any, wellwired_spy: Put) -> None:
    """Of the type that it does; those of a batch in one call where it can do many."""
    spy = wellwired_spy("handlers", "order_add")
    shop.write_manager().write(place("o-1"))
    assert spy.handle.call_count == 1 and spy.handle.call_args.args[0].payload.order_id == "o-1"
    shop.write_manager().write_many([place("a"), place("b")])
    assert spy.handle_many.call_count == 1


def test_a_spy_on_a_function_handler_sees_requests(shop: Any, wellwired_spy: Put) -> None:
    """Although such a handler holds its function itself."""
    before = {one.type: one.handle for one in shop.handlers()}
    spy = wellwired_spy("handlers", "mail_send")
    shop.handlers().find("mail_send").handle("request", None)
    spy.handle.assert_called_once_with("request", None)
    assert spy.real.handle is not before["mail_send"]


def test_a_spy_on_a_layer_is_that_layer(shop: Any, wellwired_spy: Put) -> None:
    """With all its abilities, its data and its place; the memory layer, to which a store has shorter ways, as well."""
    shop.stores["prices"]().set("tea", 350)
    memory = wellwired_spy("stores.prices", "memory")
    redis = wellwired_spy("stores.prices", "redis.cache")
    store = shop.stores["prices"]()
    assert store.get("tea") == 350
    assert len(memory.calls) == 1 and memory.calls[0][1] == ("tea",) and redis.calls == []
    store.delete("tea")
    assert store.get("tea", None) is None
    assert redis.calls
    for layer, kind in zip(store.layers, (MemoryStore, RedisStore), strict=False):
        assert isinstance(layer.store, kind)
        assert all(isinstance(layer.store, ability) for ability in (Many, Fenced, Ordered))
    assert isinstance(store.layers[0], Layer) and store.layers[0].store is memory.real


def test_a_spy_on_any_other_object(shop: Any, wellwired_spy: Put) -> None:
    """By its id; with the errors that it raises."""
    spy = wellwired_spy("redis.cache")
    shop.redis["cache"]().set("k", "v")
    spy.set.assert_called_once_with("k", "v")
    handlers = wellwired_spy("handlers")
    with pytest.raises(TypeError):
        shop.handlers().find()
    assert isinstance(handlers.find.spy_exception, TypeError) or not handlers.find.called


def test_calls_of_an_object_on_itself_do_not_count(shop: Any, wellwired_spy: Put) -> None:
    """A spy tells what others want of it."""
    spy = wellwired_spy("redis.cache")
    assert shop.redis["cache"]().hgetall("h") == {}
    assert [name for name, *_ in spy.calls] == ["hgetall"]


def test_two_spies_and_a_fault_on_one_object(shop: Any, wellwired_spy: Put, wellwired_faults: Any) -> None:
    """What comes later sees a call first, and all of them see it."""
    one = wellwired_spy("writers.sql.main")
    wellwired_faults.writer("sql.main").fails(outcome="UNKNOWN")
    other = wellwired_spy("writers.sql.main")
    with pytest.raises(Exception, match="UNKNOWN"):
        shop.write_manager().write(place("o-1"))
    assert (one.write.call_count, other.write.call_count) == (1, 1)
    assert one.write.spy_exception is None and other.write.spy_exception is not None


@pytest.mark.parametrize(
    ("words", "error", "why"),
    [
        (("writers.sql.mian",), UnknownProviderError, "sql.main"),
        (
            ("handlers", "order"),
            UnknownProviderError,
            "no handler of 'order'; there are: mail_send, order_add, value_s",
        ),
        (("stores.prices", "redis"), UnknownProviderError, "it has memory, redis.cache, sql.main"),
        (("desk", "memory"), StateError, "no layered store"),
    ],
)
def test_what_is_not_there_is_refused(
    shop: Any, wellwired_spy: Put, words: tuple[str, ...], error: type[Exception], why: str
) -> None:
    """With the names that there are."""
    with pytest.raises(error, match=why):
        wellwired_spy(*words)


def test_a_type_with_several_handlers_needs_a_backend(shop: Any, wellwired_spy: Put) -> None:
    """One has to be chosen."""
    from wellwired import handler

    for backend in ("sql", "redis"):
        shop.handlers().register(handler("twice", backend=backend)(lambda request, connection: None))
    with pytest.raises(StateError, match="backend=, one of 'sql', 'redis'"):
        wellwired_spy("handlers", "twice")
    assert wellwired_spy("handlers", "twice", backend="redis").real.backend == "redis"
    with pytest.raises(UnknownProviderError, match="for 'mongo'"):
        wellwired_spy("handlers", "twice", backend="mongo")


def test_an_unknown_method_is_named(shop: Any, wellwired_spy: Put) -> None:
    """With those that there are, instead of a recorder that nobody calls."""
    spy = wellwired_spy("handlers")
    with pytest.raises(AttributeError, match=r"Registry has no public method 'fnd'; it has find, register, types"):
        spy.fnd.assert_not_called()
    assert repr(spy) == "<spy on a Registry, 0 calls>"


# --- interception


class Slotted:
    """Has no dictionary."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def outer(self, word: str) -> str:
        """Calls another of its own."""
        return self.inner(word) + "!"

    def inner(self, word: str) -> str:
        """Notes a word."""
        self.seen.append(word)
        return word.upper()

    @property
    def size(self) -> int:
        """Is no method."""
        return len(self.seen)


def test_an_object_without_a_dictionary_can_be_intercepted() -> None:
    """In place, and is of its own class again afterwards, also after an error."""
    target, calls = Slotted(), []

    def around(name: str, call: Any, args: Any, kwargs: Any) -> Any:
        calls.append((name, args, kwargs))
        return call(*args, **kwargs)

    def work() -> None:
        with intercepted(target, around):
            assert target.outer("a") == "A!" and target.inner(word="b") == "B" and target.size == 2
            assert type(target) is not Slotted and repr(type(target)) == repr(Slotted)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert type(target) is Slotted and target.outer("c") == "C!"
    assert calls == [("outer", ("a",), {}), ("inner", (), {"word": "b"})]
    assert methods_of(target) == ("inner", "outer")


def test_what_cannot_be_intercepted_says_so() -> None:
    """Objects of builtin classes."""
    with pytest.raises(StateError, match=r"a dict cannot be intercepted .* override it"), intercepted({}, print):
        pass


def test_a_request_for_nothing_special(shop: Any, wellwired_spy: Put) -> None:
    """A spy that sees nothing says so in the words of mock."""
    spy = wellwired_spy("writers.redis.cache")
    spy.write.assert_not_called()
    shop.write_manager().write(WriteRequest("redis.cache", "value_set", {"key": "k", "value": "v"}))
    with pytest.raises(AssertionError):
        spy.write.assert_not_called()


_seen: list[Any] = []


def test_a_spy_is_there(shop: Any, wellwired_spy: Put) -> None:
    """First half: notes what it was put on."""
    handler = shop.handlers().find("mail_send")
    _seen.append((handler, dict(vars(handler)), type(handler)))
    wellwired_spy("handlers", "mail_send")
    assert dict(vars(handler)) != _seen[0][1]


def test_a_spy_is_gone() -> None:
    """Second half: it is as it was."""
    if _seen:
        handler, before, kind = _seen.pop()
        assert dict(vars(handler)) == before and type(handler) is kind
