"""The Django writer where Django itself puts blocks around everything: ATOMIC_REQUESTS and test cases."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.urls import path

from tests.integrations.django.writer_kit import Account, Alias, balances, doing, insert, ledger
from wellwired.handlers import Registry, after_commit, handler
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.operations import WriteRequest
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.writers import WriteManager


class TestAtomicRequests:
    """Every view has a block around it."""

    @pytest.fixture
    def alias(self, sql_url: str) -> Iterator[Alias]:
        """A fresh database with the setting."""
        with ledger(sql_url, ATOMIC_REQUESTS=True) as made:
            yield made

    def ask(self, alias: Alias, view: Callable[[WriteManager], Any], url: str = "/") -> tuple[Any, list[str]]:
        """What a view answers, and what has followed its commits."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            after_commit(lambda: seen.append("after"))

        manager = WriteManager([DjangoWriter(alias.name, Registry(doing(work)))])

        def answer(_request: HttpRequest) -> HttpResponse:
            return HttpResponse(str(view(manager)))

        @transaction.non_atomic_requests(using=alias.name)
        def free(request: HttpRequest) -> HttpResponse:
            return answer(request)

        class Urls:
            urlpatterns: ClassVar[list[Any]] = [
                path("", answer),
                path("free", free),
            ]

        with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[]):
            return Client(raise_request_exception=False).get(url), seen

    def request(self, alias: Alias) -> WriteRequest:
        """The write of every view."""
        return WriteRequest(f"django.{alias.name}", "test", {"id": 1, "balance": 0})

    def test_a_write_is_pending_until_the_view_has_answered(self, alias: Alias) -> None:
        """Then it is committed, and what follows is done."""

        def view(manager: WriteManager) -> Any:
            return manager.write(self.request(alias)).pending, balances(alias)

        response, seen = self.ask(alias, view)
        assert response.content == b"(True, {})"
        assert (balances(alias), seen) == ({1: 0}, ["after"])

    def test_a_view_that_fails_takes_its_writes_with_it(self, alias: Alias) -> None:
        """And nothing follows."""

        def view(manager: WriteManager) -> Any:
            manager.write(self.request(alias))
            raise ZeroDivisionError

        response, seen = self.ask(alias, view)
        assert (response.status_code, balances(alias), seen) == (500, {}, [])

    def test_a_view_without_a_block_commits_at_once(self, alias: Alias) -> None:
        """`non_atomic_requests` lets a view know what became of its write."""

        def view(manager: WriteManager) -> Any:
            return manager.write(self.request(alias)).pending, balances(alias)

        response, seen = self.ask(alias, view, "/free")
        assert (response.content, seen) == (b"(False, {1: 0})", ["after"])


class TestTestCases:
    """In Django's test cases a write behaves as it would outside, as far as a transaction that is undone allows."""

    @pytest.fixture
    def alias(self, sql_url: str) -> Iterator[Alias]:
        """A fresh database with its tables."""
        with ledger(sql_url) as made:
            yield made

    def run(self, alias: Alias, test: Callable[[Any], None], kind: type[TransactionTestCase] = TestCase) -> None:
        """Runs a test as its runner would."""
        case = type("Case", (kind,), {"databases": {alias.name}, "test_it": test, "available_apps": None})
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        assert (result.errors, result.failures, result.testsRun) == ([], [], 1)

    def test_it_is_as_good_as_committed(self, alias: Alias) -> None:
        """Not pending; `after_commit` runs and stores are evicted; `require_durable` is content; nothing is left."""
        store: DelegatedStore[str] = DelegatedStore(
            [Layer(MemoryStore(), name="copies"), Layer(MemoryStore(), primary=True)]
        )
        store.set("account:1", "old")
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            after_commit(lambda: seen.append("after"))

        def test(case: TestCase) -> None:
            writer = DjangoWriter(alias.name, Registry(doing(work)), require_durable=True)
            manager = WriteManager([writer], stores={"stores.accounts": store})
            changes = {"stores.accounts": ["account:1"]}
            result = manager.write(WriteRequest(writer.name, "test", {"id": 1, "balance": 0}, changes=changes))
            assert (result.pending, result.message, seen) == (False, "committed", ["after"])
            assert store.lookup("account:1").layer != "copies"  # type: ignore[union-attr]
            assert Account.objects.using(alias.name).count() == 1

        self.run(alias, test)
        assert balances(alias) == {}

    def test_an_error_leaves_the_rest_of_the_test_usable(self, alias: Alias) -> None:
        """A refused write is undone alone, so that a test can look at what is there."""

        def test(case: TestCase) -> None:
            writer = DjangoWriter(alias.name, Registry(doing(insert)))
            manager = WriteManager([writer])
            request = WriteRequest(writer.name, "test", {"id": 1, "balance": 0})
            answers = manager.write_many([request, request, request.with_payload({"id": 2, "balance": 0})])
            assert list(answers.failed) == [1] and Account.objects.using(alias.name).count() == 2

        self.run(alias, test)
        assert balances(alias) == {}

    def test_a_block_of_the_application_is_one_in_a_test_too(self, alias: Alias) -> None:
        """What is pending in production is pending in its test; Django's own way captures what follows."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            after_commit(lambda: seen.append("after"))

        def test(case: TestCase) -> None:
            writer = DjangoWriter(alias.name, Registry(doing(work)))
            manager = WriteManager([writer])
            with case.captureOnCommitCallbacks(using=alias.name, execute=True):
                with transaction.atomic(using=alias.name):
                    assert manager.write(WriteRequest(writer.name, "test", {})).pending
                assert seen == []
            assert seen == ["after"]

        self.run(alias, test)

    def test_what_follows_a_write_in_a_handler_follows_in_a_test_too(self, alias: Alias) -> None:
        """When the outer write is as good as committed; what was undone inside it is left out."""
        seen: list[str] = []

        def inner(request: WriteRequest, connection: Any) -> None:
            after_commit(lambda: seen.append(request.payload["name"]))

        def outer(request: WriteRequest, connection: Any) -> None:
            manager.write(WriteRequest(writer.name, "inner", {"name": "inner"}))
            with suppress(KeyError), transaction.atomic(using=alias.name):
                manager.write(WriteRequest(writer.name, "inner", {"name": "undone"}))
                raise KeyError
            transaction.on_commit(lambda: seen.append("django's"), using=alias.name)
            after_commit(lambda: seen.append("outer"))
            assert seen == []

        handlers = Registry(doing(outer), handler("inner", backend="django")(inner))
        writer = DjangoWriter(alias.name, handlers)
        manager = WriteManager([writer])

        def test(case: TestCase) -> None:
            with case.captureOnCommitCallbacks(using=alias.name) as captured:
                manager.write(WriteRequest(writer.name, "test", {}))
            assert seen == ["inner", "outer"] and len(captured) == 1
            with manager.transaction(writer.name):
                manager.write(WriteRequest(writer.name, "inner", {"name": "in a unit"}))
                assert len(seen) == 2
            assert seen == ["inner", "outer", "in a unit"]

        self.run(alias, test)

    def test_a_transaction_test_case_has_real_transactions(self, alias: Alias) -> None:
        """There a write commits."""

        def test(case: TransactionTestCase) -> None:
            writer = DjangoWriter(alias.name, Registry(doing(insert)))
            assert not WriteManager([writer]).write(WriteRequest(writer.name, "test", {"id": 1, "balance": 0})).pending
            assert balances(alias) == {1: 0}
            Account.objects.using(alias.name).all().delete()

        class Unflushed(TransactionTestCase):
            def _fixture_teardown(self) -> None:
                """The database is the test's own."""

        self.run(alias, test, Unflushed)


PYTEST_DJANGO = """
import django
import pytest
from django.conf import settings

from wellwired import Registry, WriteManager, WriteRequest, handler
from wellwired.handlers import after_commit
from wellwired.integrations.django.writer import DjangoWriter

seen = []


@handler("add", backend="django")
def add(request, connection):
    after_commit(lambda: seen.append("after"))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (id int)")
        cursor.execute("INSERT INTO t VALUES (1)")


def send():
    return WriteManager([DjangoWriter("default", Registry(add))]).write(WriteRequest("django.default", "add", {}))


def test_db(db):
    assert not send().pending and seen == ["after"]


@pytest.mark.django_db(transaction=True)
def test_real_transactions():
    assert not send().pending


def test_without_the_mark():
    with pytest.raises(Exception) as caught:
        send()
    assert "Database access not allowed" in str(caught.value.__cause__)
"""


def test_pytest_djangos_fixtures(tmp_path: Path) -> None:
    """With `db` a write is as good as committed, with `transaction=True` it is; without either, its cause says so."""
    (tmp_path / "chosen.py").write_text(
        "SECRET_KEY = 'x'\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    (tmp_path / "test_it.py").write_text(PYTEST_DJANGO)
    command = [sys.executable, "-m", "pytest", "-q", "--ds=chosen", "-p", "no:cacheprovider", "-p", "no:xdist"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
