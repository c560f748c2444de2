"""The pytest plugin in runs of their own, as a project has them: its errors, its settings, other plugins beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytest_plugins = ["pytester"]

SHOP = """
from wellwired import Application, Container, providers, Settings

def settings():
    dead = "127.0.0.1:1"
    return Settings(
        _environ={}, _env_file=None, log={"level": "CRITICAL"},
        sql={"main": {"url": f"postgresql://u:p@{dead}/x"}},
        redis={"cache": {"url": f"redis://{dead}"}, "other": {"url": f"redis://{dead}"}},
        stores={"users": {"layers": "memory:60,redis.cache:3600,sql.main!"}},
    )

class Shop(Application):
    settings = providers.Singleton(settings)

class Plain(Container):
    pool = providers.Object("pool")

SHOP = Shop()
PLAIN = Plain()
"""

NAMED = "[pytest]\nwellwired_container = shop:Shop\n"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a container."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(shop=SHOP)
    pytester.makeini(NAMED)
    return pytester


def run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    """Runs the project's tests in a process of their own, strictly."""
    return project.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", "--strict-markers", *words)


def test_the_setting_names_the_container(project: pytest.Pytester) -> None:
    """A project that says so in one line has every fixture; nothing connects, although every address is dead."""
    project.makepyfile(
        """
        def test_memory(wellwired_in_memory, wellwired_writes):
            store = wellwired_in_memory.stores["users"]()
            store.set("a", 1)
            store.flush(10)
            assert [layer.store.get("a").value for layer in store.layers] == [1, 1, 1]
            assert wellwired_in_memory.health().status == "up"
            wellwired_writes.assert_nothing_written()
        """
    )
    run(project).assert_outcomes(passed=1)


def test_the_option_comes_before_the_setting(project: pytest.Pytester) -> None:
    """And takes an instance as well as a class."""
    project.makepyfile("def test_it(wellwired_container): assert wellwired_container.title == 'Plain'")
    run(project, "--wellwired-container", "shop:Plain").assert_outcomes(passed=1)
    run(project, "--wellwired-container=shop:PLAIN").assert_outcomes(passed=1)


def test_what_is_wrong_is_said_in_a_line(project: pytest.Pytester) -> None:
    """No container, a wrong place, an unknown id, a mark that means nothing: without a traceback of ours."""
    project.makeini("[pytest]\n")
    project.makepyfile("def test_it(wellwired_container): ...")
    cases = {
        (): "*wellwired_container = shop.containers:Shop, or define a fixture wellwired_container_source*",
        ("--wellwired-container=shop:Shopp",): "*no container for test_it: module 'shop' has no 'Shopp'*",
        ("--wellwired-container=shop",): "*'shop' is no place of a container*",
    }
    for words, text in cases.items():
        result = run(project, *words)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([text])
        result.stdout.no_fnmatch_line("*Traceback*")


def test_a_wrong_mark_is_said_in_a_line(project: pytest.Pytester) -> None:
    """With the ids that there are, and the form that it has."""
    project.makepyfile(
        """
        import pytest

        @pytest.mark.wellwired_override({"redis.cash": 1})
        def test_unknown(wellwired_container): ...

        @pytest.mark.wellwired_override(redis=1)
        def test_keyword(): ...

        @pytest.mark.wellwired_override("redis.cache", 1)
        def test_two(): ...

        @pytest.mark.wellwired_override
        def test_none(): ...

        @pytest.mark.wellwired_override({7: 1})
        def test_number(): ...
        """
    )
    result = run(project)
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(
        [
            "*test_unknown: *'cash'*redis*cache*",
            "*test_keyword: it takes no keywords, since ids have dots (redis)*",
            "*test_two: it takes one mapping from ids to what stands in, and not str, int*",
            "*test_none: it takes one mapping*not nothing*@pytest.mark.wellwired_override({*",
            "*test_number: a int is no provider of Shop*",
        ]
    )


LEAKING = """
    import pytest
    from shop import SHOP, PLAIN

    @pytest.fixture
    def wellwired_container_source():
        return SHOP

    def test_recorded(wellwired_container):
        wellwired_container.overriding({"redis.other": 5}).__enter__()

    def test_by_hand(wellwired_container):
        wellwired_container.logging.override(7)

    def test_clean(wellwired_container):
        assert not any(one.overridden for one in SHOP.ids().values())

    def test_without_fixtures():
        PLAIN.overriding({"pool": 1}).__enter__()

    def test_clean_too():
        assert PLAIN.pool() == "pool"

    def test_unreachable():
        type(PLAIN.pool)
        from shop import Plain
        Plain().overriding({"pool": 1}).__enter__()

    @pytest.fixture(scope="module")
    def wide():
        with PLAIN.overriding({"pool": "wide"}):
            yield

    def test_wide(wide):
        assert PLAIN.pool() == "wide"

    def test_still_wide():
        assert PLAIN.pool() == "wide"
"""


def test_what_a_test_leaves_behind_is_its_error(project: pytest.Pytester) -> None:
    """By name, and the next test is clean; what a wider fixture has overridden is not the test's."""
    project.makepyfile(LEAKING)
    result = run(project)
    result.assert_outcomes(passed=8, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_recorded*",
            "overrides were left behind, and have been taken back: redis.other; use overriding() with `with`",
            "*ERROR at teardown of test_by_hand*",
            "overrides were left behind, and have been taken back: logging;*",
            "*ERROR at teardown of test_without_fixtures*",
            "overrides were left behind, and have been taken back: pool;*",
        ]
    )


def test_what_is_left_behind_may_be_a_warning(project: pytest.Pytester) -> None:
    """The next test is clean all the same."""
    project.makeini(NAMED + "wellwired_leaks = warn\n")
    project.makepyfile(LEAKING)
    result = run(project)
    result.assert_outcomes(passed=8, warnings=3)
    result.stdout.fnmatch_lines(["*PytestWarning: overrides were left behind, and have been taken back: redis.other*"])


def test_the_check_can_be_turned_off(project: pytest.Pytester) -> None:
    """Then nobody looks at what the project's own containers have; a borrowed one is given back clean."""
    project.makeini(NAMED + "wellwired_leaks = off\n")
    project.makepyfile(LEAKING.replace('assert PLAIN.pool() == "pool"', "assert PLAIN.pool() == 1"))
    result = run(project)
    result.assert_outcomes(passed=8)


def test_a_wider_fixture_that_leaks_is_found(project: pytest.Pytester) -> None:
    """At its own end; and a teardown that fails by itself is not hidden."""
    project.makepyfile(
        """
        import pytest
        from shop import PLAIN

        @pytest.fixture(scope="module")
        def wide():
            PLAIN.overriding({"pool": "wide"}).__enter__()

        @pytest.fixture
        def failing():
            yield
            PLAIN.overriding({"pool": "failing"}).__enter__()
            raise KeyError("its own error")

        def test_one(wide): ...
        def test_two(failing): ...
        def test_three(): ...
        """
    )
    result = run(project)
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_two*",
            "E   *KeyError: 'its own error'",
            "E   *overrides were left behind*",
            "*ERROR at teardown of test_three*",
            "overrides were left behind*pool*",
        ]
    )


def test_a_wrong_setting_is_a_usage_error(project: pytest.Pytester) -> None:
    """At the start, with the words that mean something."""
    project.makeini(NAMED + "wellwired_leaks = maybe\n")
    project.makepyfile("def test_it(): ...")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*wellwired_leaks is 'maybe'; it is one of error, warn, off"])


def test_the_mark_and_the_fixtures_are_listed(project: pytest.Pytester) -> None:
    """With a line each, by `pytest --markers` and `pytest --fixtures`."""
    marks = run(project, "--markers").stdout.str()
    assert "@pytest.mark.wellwired_override(replacements): overrides providers" in marks
    fixtures = run(project, "--fixtures").stdout.str()
    for line in (
        "A container of this test's own, started",
        "The container of this test with every real backend swapped for its twin in memory.",
        "A clock that stands still until the test moves it",
        "Every write that the container of this test leads",
        "Layers and writers of this test's container that are slow, flaky, dead or hung on demand.",
        "Puts a spy on a real object",
        "What containers are made of",
    ):
        assert line in fixtures
    assert "_wellwired_stage" not in fixtures
    assert "wellwired_leaks (string)" in run(project, "--help").stdout.str()


def test_the_plugin_can_be_left_out(project: pytest.Pytester) -> None:
    """Then its fixtures are unknown, and a project without them runs."""
    project.makeini("[pytest]\n")
    project.makepyfile("def test_it(): ...\ndef test_other(wellwired_container): ...")
    result = run(project, "-p", "no:wellwired")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'wellwired_container' not found"])


def test_a_run_that_does_not_use_it_pays_next_to_nothing(project: pytest.Pytester) -> None:
    """Nothing heavy is loaded by the plugin, and no part of wellwired but the empty root and the plugin itself."""
    project.makepyfile(
        """
        import json, sys

        def test_it(request):
            heavy = "wellwired sqlalchemy redis pydantic dependency_injector structlog msgspec fakeredis".split()
            print("LOADED", json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in heavy)))
            print("USED", [name for name in request.fixturenames if "wellwired" in name])
        """
    )
    result = run(project, "-s", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1)
    (line,) = [line for line in result.outlines if "LOADED" in line]
    assert json.loads(line.partition("LOADED ")[2]) == ["wellwired", "wellwired.testing", "wellwired.testing.plugin"]
    result.stdout.fnmatch_lines(["*USED []*"])


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    """In a process of its own: pytest, and no library of ours or of our dependencies."""
    code = (
        "import sys, pytest; before = set(sys.modules); import wellwired.testing.plugin; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['wellwired']"


def test_a_spy_needs_pytest_mock(project: pytest.Pytester) -> None:
    """And says so only when it is asked for one."""
    project.makepyfile(
        """
        def test_unused(wellwired_spy): ...
        def test_used(wellwired_spy): wellwired_spy("handlers")
        """
    )
    result = run(project, "-p", "no:pytest_mock")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*wellwired_spy needs pytest-mock; install it with: pip install 'wellwired[[]test]'"])


def test_it_works_in_workers_of_xdist(project: pytest.Pytester) -> None:
    """Each has containers of its own; leaks are found in each."""
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(8))
        @pytest.mark.wellwired_override({"redis.other": "fake"})
        def test_many(number, wellwired_in_memory, wellwired_clock):
            store = wellwired_in_memory.stores["users"]()
            assert store.get("a", None) is None
            store.set("a", number)
            assert store.get("a") == number and wellwired_in_memory.redis["other"]() == "fake"

        def test_leak(wellwired_container):
            wellwired_container.overriding({"redis.other": 5}).__enter__()
        """
    )
    result = run(project, "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=9, errors=1)


def test_a_mark_on_one_parameter_is_about_that_one(project: pytest.Pytester) -> None:
    """The same function with other parameters gets no container that it has not asked for."""
    project.makepyfile(
        """
        import pytest

        MARKED = pytest.param(1, marks=pytest.mark.wellwired_override({"redis.other": "fake"}))

        @pytest.mark.parametrize("number", [MARKED, 2])
        def test_it(number, request):
            assert ("wellwired_container" in request.fixturenames) == (number == 1)
        """
    )
    run(project).assert_outcomes(passed=2)


def test_a_test_case_of_unittest_is_marked_too(project: pytest.Pytester) -> None:
    """It cannot ask for fixtures; the application's container is overridden for it all the same."""
    project.makeini("[pytest]\nwellwired_container = shop:PLAIN\n")
    project.makepyfile(
        """
        import unittest
        import pytest
        from shop import PLAIN

        class TestPool(unittest.TestCase):
            def setUp(self):
                self.seen = PLAIN.pool()

            @pytest.mark.wellwired_override({"pool": "fake"})
            def test_marked(self):
                assert self.seen == PLAIN.pool() == "fake"

            def test_unmarked(self):
                assert self.seen == PLAIN.pool() == "pool"
        """
    )
    run(project).assert_outcomes(passed=2)


FLASK = """
    import pytest
    from flask import Flask
    from wellwired import Application, Container, Provide, inject, providers
    from wellwired.integrations.flask import Wellwired, container_of

    class Shop(Container):
        opened = providers.Singleton(list)
        pool = providers.Resource(lambda opened: opened.append(1) or "pool", opened)
        greeting = providers.Singleton("hello from {}".format, pool)

    def create_app():
        app = Flask(__name__)

        @app.get("/")
        @inject
        def hello(greeting: str = Provide["greeting"]):
            return greeting

        globals()["hello"] = hello
        Wellwired(app, container=Shop)
        return app

    @pytest.fixture(scope="session")
    def app():
        return create_app()

    @pytest.fixture(scope="session")
    def wellwired_container_source(app):
        return container_of(app, start=False)

    def test_real(client, app):
        assert client.get("/").text == "hello from pool"
        container_of(app, start=False).stop()

    @pytest.mark.wellwired_override({"pool": "fake"})
    def test_fake(client, app):
        assert client.get("/").text == "hello from fake"
        assert container_of(app).opened() == [1]  # by the test before

    def test_real_again(client, app, wellwired_container):
        assert client.get("/").text == "hello from pool"
        assert wellwired_container is container_of(app)

    def test_and_again(client):
        assert client.get("/").text == "hello from pool"
"""


def test_it_works_beside_pytest_flask(project: pytest.Pytester) -> None:
    """The application's own container is borrowed, and what is overridden is never opened."""
    project.makeini("[pytest]\n")
    project.makepyfile(FLASK)
    run(project, "-p", "no:django").assert_outcomes(passed=4)


def test_it_works_beside_pytest_django(project: pytest.Pytester) -> None:
    """The project's own container is found by itself, overridden below its views, and given back."""
    project.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\n")
    project.makepyfile(
        site_settings="""
            SECRET_KEY = "x"
            ROOT_URLCONF = "site_urls"
            ALLOWED_HOSTS = ["*"]
            DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
            INSTALLED_APPS = ["wellwired.integrations.django"]
            MIDDLEWARE = ["wellwired.integrations.django.middleware.request_scope"]
            WELLWIRED = {"CONTAINER": "site_shop.Shop", "MODULES": ["site_views"]}
        """,
        site_shop="""
            from wellwired import Container, providers

            class Shop(Container):
                opened = providers.Singleton(list)
                pool = providers.Resource(lambda opened: opened.append(1) or "pool", opened)
                greeting = providers.Singleton("hello from {}".format, pool)
        """,
        site_views="""
            from django.http import HttpResponse
            from wellwired import Provide, inject

            @inject
            def hello(request, greeting: str = Provide["greeting"]):
                return HttpResponse(greeting)
        """,
        site_urls="""
            from django.urls import path
            from site_views import hello

            urlpatterns = [path("", hello)]
        """,
    )
    project.makepyfile(
        """
        import pytest
        from django.test import TestCase
        from wellwired.integrations.django import container

        def test_real(client):
            assert client.get("/").content == b"hello from pool"

        @pytest.mark.wellwired_override({"pool": "fake"})
        def test_fake(client):
            assert client.get("/").content == b"hello from fake"

        def test_one_container(wellwired_container, client):
            assert wellwired_container is container() and client.get("/").content == b"hello from pool"

        @pytest.mark.wellwired_override({"pool": "case"})
        class TestCaseOfDjango(TestCase):
            def test_it(self):
                assert self.client.get("/").content == b"hello from case"

        @pytest.mark.django_db
        def test_with_a_database(wellwired_container):
            from django.db import connection
            assert connection.cursor().execute("SELECT 1").fetchone() == (1,)
        """
    )
    run(project, "-p", "no:flask").assert_outcomes(passed=5)


def test_a_failing_start_is_the_test_s_error(project: pytest.Pytester) -> None:
    """With the faults that the container found, and nothing left open."""
    project.makepyfile(
        """
        import pytest
        from wellwired import Container, providers

        closed = []

        def fail(first):
            raise ConnectionError("no pool today")

        class Late(Container):
            first = providers.Resource(list).closed_by(closed.append)
            pool = providers.Resource(fail, first)

        @pytest.fixture(scope="session")
        def wellwired_container_source():
            return Late

        def test_it(wellwired_container): ...

        @pytest.mark.wellwired_override({"pool": "fake"})
        def test_fake(wellwired_container):
            assert closed == [[]] and wellwired_container.pool() == "fake"
        """
    )
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ConnectionError: no pool today"])


def test_a_failing_stop_is_the_test_s_error(project: pytest.Pytester) -> None:
    """It is told as what it is, and the next test has its own container."""
    project.makepyfile(
        """
        import pytest
        from wellwired import Container, providers

        def fail(opened):
            raise OSError("cannot close")

        class Sticky(Container):
            pool = providers.Resource(list).closed_by(fail)

        @pytest.fixture(scope="session")
        def wellwired_container_source():
            return Sticky

        def test_it(wellwired_container): ...

        @pytest.mark.wellwired_override({"pool": "fake"})
        def test_next(wellwired_container): ...
        """
    )
    result = run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*OSError: cannot close*"])


def test_this_run_has_the_plugin(pytestconfig: pytest.Config) -> None:
    """By its entry point: the tests beside this one are its users."""
    found: Any = pytestconfig.pluginmanager.get_plugin("wellwired")
    assert found is not None and found.__name__ == "wellwired.testing.plugin"
