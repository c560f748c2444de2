"""The pytest plugin: a container for each test, its backends replaced in one line, and a check that nothing is left.

pytest loads it in every project that has wellwired installed, so it costs next to nothing where it is not used: it
imports pytest and no other part of wellwired, and no fixture of it is there for a test that does not ask for it. What
the fixtures do is in the private modules beside it, imported when the first test asks.

::

    def test_an_order_is_written(wellwired_in_memory):
        wellwired_in_memory.orders().place("o-1", "tea")

    @pytest.mark.wellwired_override({"redis.cache": fake})
    def test_a_cold_cache(wellwired_container): ...

Which container it is says the option ``--wellwired-container``, the setting ``wellwired_container``, the project's own
fixture `wellwired_container_source`, or a Django project's ``WELLWIRED`` setting.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, MutableMapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance
    from wellwired.integrations._hosting import Source
    from wellwired.testing._spies import Spy
    from wellwired.testing._stage import Stage
    from wellwired.testing.clock import VirtualClock
    from wellwired.testing.faults import Faults
    from wellwired.testing.writes import RecordedWrites

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "wellwired_clock",
    "wellwired_container",
    "wellwired_container_source",
    "wellwired_faults",
    "wellwired_in_memory",
    "wellwired_spy",
    "wellwired_writes",
]

_MARK = "wellwired_override"
_WAYS = ("error", "warn", "off")
_LEFT = pytest.StashKey[list[str]]()
_STANDING = pytest.StashKey[list[Any]]()
_OWNERS = pytest.StashKey[MutableMapping[Any, pytest.FixtureDef[Any]]]()


# --- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option and the settings."""
    parser.getgroup("wellwired").addoption(
        "--wellwired-container",
        metavar="MODULE:CLASS",
        help="the container class that wellwired's fixtures make their containers of",
    )
    parser.addini("wellwired_container", "the same, as a setting: shop.containers:Shop")
    parser.addini("wellwired_leaks", "what an override left behind by a test is: error, warn or off", default="error")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the mark known, and refuses a setting that means nothing."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(replacements): overrides providers of wellwired's container by their ids for a test, a class or a "
        'module; the nearest mark wins: {"redis.cache": fake}',
    )
    way = config.getini("wellwired_leaks")
    if way not in _WAYS:
        raise pytest.UsageError(f"wellwired_leaks is {way!r}; it is one of {', '.join(_WAYS)}")
    config.stash[_OWNERS] = WeakKeyDictionary()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Gives a marked test its container, even if it does not ask for it by name."""
    names = getattr(item, "fixturenames", None)
    if names is not None and "wellwired_container" not in names and item.get_closest_marker(_MARK):
        # Before the test's own fixtures, such as a client of the application, and after those that are always there.
        asked = getattr(getattr(item, "_fixtureinfo", None), "argnames", ())
        first = min((names.index(name) for name in asked if name in names), default=len(names))
        # A list of its own, because pytest has one for all parameters of a function, and a mark may be about one.
        item.fixturenames = [*names[:first], "wellwired_container", *names[first:]]  # type: ignore[attr-defined]
    item.stash[_STANDING] = _standing()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Notes which overrides belong to a fixture that outlives the test."""
    if fixturedef.scope == "function":
        return (yield)
    before = _standing()
    try:
        return (yield)
    finally:
        owners = request.config.stash[_OWNERS]
        for one in _standing():
            if one not in before:
                owners.setdefault(one, fixturedef)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Takes back what the test has left overridden, and says so."""
    way = item.config.getini("wellwired_leaks")
    try:
        yield
    except BaseException as error:
        if way != "off" and (text := _left(item)):
            error.add_note(text)
        raise
    if way == "off" or not (text := _left(item)):
        return
    if way == "error":
        pytest.fail(text, pytrace=False)
    item.warn(pytest.PytestWarning(text))


def _left(item: pytest.Item) -> str:
    """What a test has left overridden, in words, once it has been taken back; "" for nothing."""
    left = item.stash.get(_LEFT, [])
    if _standing():
        from wellwired.testing._leaks import left_by

        before: list[Any] = item.stash.get(_STANDING, [])
        owners: Any = item.config.stash[_OWNERS]
        left = sorted({*left, *left_by(before, owners)})
    if not left:
        return ""
    return f"overrides were left behind, and have been taken back: {', '.join(left)}; use overriding() with `with`"


def _standing() -> list[Any]:
    """The overridings that have not ended; none if nobody has imported what makes them."""
    module: Any = sys.modules.get("wellwired.containers._overriding")
    found: list[Any] = [] if module is None else module.standing()
    return found


# --- fixtures


@pytest.fixture(scope="session")
def wellwired_container_source(pytestconfig: pytest.Config) -> Source:
    """What containers are made of: a class, an instance to be borrowed, or "module:Class"; yours to define anew."""
    place = pytestconfig.getoption("wellwired_container") or pytestconfig.getini("wellwired_container")
    source: Source | None = place or _of_django()
    if source is None:
        pytest.fail(
            "wellwired's fixtures need a container: set wellwired_container = shop.containers:Shop, or define a "
            "fixture wellwired_container_source that returns a class or an instance",
            pytrace=False,
        )
    return source


def _of_django() -> ContainerInstance | None:
    """The container of the Django project that is loaded, if it has one; does not import Django."""
    conf: Any = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured or not hasattr(conf.settings, "WELLWIRED"):
        return None
    from wellwired.integrations.django import container

    return container(start=False)


@pytest.fixture
def _wellwired_stage(request: pytest.FixtureRequest, wellwired_container_source: Source) -> Iterator[Stage]:
    """The container of this test, and what can be done to it."""
    from wellwired.errors import WellwiredError
    from wellwired.testing._marks import marked
    from wellwired.testing._stage import staged

    wanted = {name.removeprefix("wellwired_") for name in request.fixturenames}
    left: list[str] = []
    request.node.stash[_LEFT] = left
    with ExitStack() as stack:
        try:
            stage = stack.enter_context(staged(wellwired_container_source, marked(request.node), wanted, left))
        except WellwiredError as error:
            pytest.fail(f"no container for {request.node.name}: {error}", pytrace=False)
        yield stage


@pytest.fixture
def wellwired_container(_wellwired_stage: Stage) -> ContainerInstance:
    """A container of this test's own, started; stopped and as it was afterwards."""
    return _wellwired_stage.container


@pytest.fixture
def wellwired_in_memory(_wellwired_stage: Stage) -> ContainerInstance:
    """The container of this test with every real backend swapped for its twin in memory."""
    _wellwired_stage.swap()
    return _wellwired_stage.container


@pytest.fixture
def wellwired_clock(_wellwired_stage: Stage) -> VirtualClock:
    """A clock that stands still until the test moves it, and that the container of this test goes by."""
    return _wellwired_stage.tell_time()


@pytest.fixture
def wellwired_writes(_wellwired_stage: Stage) -> RecordedWrites:
    """Every write that the container of this test leads, with what became of it, and assertions about them."""
    return _wellwired_stage.record()


@pytest.fixture
def wellwired_faults(_wellwired_stage: Stage) -> Faults:
    """Layers and writers of this test's container that are slow, flaky, dead or hung on demand."""
    return _wellwired_stage.faults


@pytest.fixture
def wellwired_spy(request: pytest.FixtureRequest, _wellwired_stage: Stage) -> Callable[..., Spy]:
    """Puts a spy on a real object: a writer, a handler, a layer, or any other of this test's container."""

    def spy(id: str, part: str = "", /, *, backend: str = "") -> Spy:
        if not request.config.pluginmanager.has_plugin("pytest_mock"):
            pytest.fail(
                "wellwired_spy needs pytest-mock; install it with: pip install 'wellwired[test]'", pytrace=False
            )
        return _wellwired_stage.spy(request.getfixturevalue("mocker"), id, part, backend)

    return spy
