"""The scope of a request under ASGI: the same promises, over waits, threads, and clients that go away."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import AsyncClient, override_settings

from tests.integrations.django.asking import Asked, ask_asgi, log
from tests.integrations.django.shelf import views
from wellwired.containers import providers
from wellwired.integrations.django import _streams, container, middleware


@pytest.fixture(autouse=True)
def told() -> list[str]:
    """What bodies find when they are closed."""
    views.told.clear()
    return views.told


@pytest.mark.parametrize("path", ["/visit", "/avisit"])
def test_a_request_has_a_scope(path: str) -> None:
    """One object for a request, in a view of either colour, ended with it."""
    assert json.loads(ask_asgi(path).body)["same"]
    assert log() == ["opened", "visit 1 ended well"]


SCOPE = "wellwired.integrations.django.middleware.request_scope"
PLAIN = "tests.integrations.django.shelf.middleware.Plain"
GZIP = "django.middleware.gzip.GZipMiddleware"


@pytest.mark.parametrize("middleware", [[PLAIN, SCOPE], [SCOPE, PLAIN], [PLAIN, SCOPE, PLAIN], [GZIP, SCOPE]])
@pytest.mark.parametrize("path", ["/visit", "/avisit", "/astream"])
def test_other_middleware_may_have_any_colour(middleware: list[str], path: str) -> None:
    """The scope goes with the request through the threads that Django then needs, and through what is made of it."""
    with override_settings(MIDDLEWARE=middleware):
        body = ask_asgi(path, headers={"accept-encoding": "gzip"} if GZIP in middleware else {}).body
    body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    assert b"true" in body or body == b"at work True;" * 3
    assert log() == ["opened", "visit 1 ended well"]


def test_requests_at_once_have_scopes_of_their_own() -> None:
    """Tasks that take turns in one thread do not see each other's objects."""

    async def ask() -> list[Any]:
        client = AsyncClient()
        return [json.loads(each.content) for each in await asyncio.gather(*(client.get("/avisit") for _ in range(8)))]

    answers = asyncio.run(ask())
    assert sorted(each["number"] for each in answers) == list(range(1, 9))
    assert all(each["same"] for each in answers)


def test_a_streamed_body_is_inside_the_scope(told: list[str]) -> None:
    """Every piece of it has the request's objects, which end after the last one."""
    assert ask_asgi("/astream").body == b"at work True;" * 3
    assert (told, log()[-1]) == (["at work True"], "visit 1 ended well")


def test_a_plain_iterator_is_inside_the_scope() -> None:
    """Django reads it in a thread, where the scope is active too."""
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        assert ask_asgi("/stream").body == b"at work True;" * 3
    assert log()[-1] == "visit 1 ended well"


def test_a_file_lasts_as_long_as_the_scope() -> None:
    """The object is at work while the file is read."""
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        assert ask_asgi("/file").body == b"file: at work"
    assert log()[-1] == "visit 1 ended well"


@pytest.mark.parametrize("path", ["/fail", "/afail"])
def test_an_error_of_a_view_ends_the_scope_as_an_error(path: str) -> None:
    """What rolls back on an error does so, although Django answers with a page."""
    assert ask_asgi(path).status == 500
    assert log()[-1] == "visit 1 ended by RuntimeError"


def test_an_error_of_inner_middleware_ends_the_scope_as_an_error() -> None:
    """Django answers it before the scope sees it, and in another thread."""
    assert ask_asgi("/avisit", headers={"inner": "fail"}).status == 500
    assert log()[-1] == "visit 1 ended by RuntimeError"


def test_a_body_that_breaks_ends_the_scope_as_an_error() -> None:
    """Also when the first pieces have been sent."""
    with pytest.raises(RuntimeError, match="torn"):
        ask_asgi("/atorn")
    assert log()[-1] == "visit 1 ended by RuntimeError"


@pytest.mark.parametrize(("act", "end"), [("fail", "by RuntimeError"), ("replace", "well")])
def test_a_streamed_response_that_is_never_sent_ends_the_scope(act: str, end: str) -> None:
    """Middleware above that fails or answers otherwise drops the response; the scope ends all the same."""
    ask_asgi("/astream", headers={"outer": act})
    assert log()[-1] == f"visit 1 ended {end}"


async def _leave_at_once(asked: Asked) -> None:
    await asyncio.to_thread(views.hanging.wait)
    asked.left.set()


async def _leave_after_a_piece(asked: Asked) -> None:
    await asked.sent.wait()
    asked.left.set()


def test_a_client_that_leaves_a_view_ends_the_scope() -> None:
    """The view is cancelled where it waits, and its objects roll back."""
    views.hanging.clear()
    ask_asgi("/hang", meanwhile=_leave_at_once)
    assert log()[-1] == "visit 1 ended by CancelledError"


def test_a_client_that_leaves_a_stream_ends_the_scope(told: list[str]) -> None:
    """The body is cancelled where it waits, inside the scope."""
    ask_asgi("/astream-hang", meanwhile=_leave_after_a_piece)
    assert (told, log()[-1]) == (["at work"], "visit 1 ended by CancelledError")


class Deaf(Asked):
    """A server that takes one piece of a body, hears that the client has gone, and takes no other."""

    async def send(self, message: dict[str, Any]) -> None:
        """Never returns from the first piece."""
        await super().send(message)
        if self.body:
            self.left.set()
            await asyncio.Event().wait()


class Broken(Asked):
    """A server that raises where it should take a piece."""

    async def send(self, message: dict[str, Any]) -> None:
        """Raises at the first piece."""
        await super().send(message)
        if self.body:
            raise OSError("the client has gone")


def test_a_server_that_no_longer_takes_pieces_ends_the_scope(told: list[str]) -> None:
    """The body is closed at the piece that it had come to, inside the scope, and before that ends."""
    ask_asgi("/astream", client=Deaf())
    assert told == ["at work True"]
    assert log()[-1] == "visit 1 ended well"


def test_a_plain_iterator_that_breaks_ends_the_scope_at_once() -> None:
    """Django closes no such response."""
    with pytest.warns(Warning, match="synchronous iterators"), pytest.raises(RuntimeError, match="torn") as raised:
        ask_asgi("/torn")
    assert log()[-1] == "visit 1 ended by RuntimeError"
    del raised  # until here it held the response


def test_a_plain_iterator_that_was_read_has_ended_the_scope() -> None:
    """What the server does with its pieces is of no matter then, even if it raises."""
    with pytest.warns(Warning, match="synchronous iterators"), pytest.raises(OSError, match="gone") as raised:
        ask_asgi("/stream", client=Broken())
    assert log()[-1] == "visit 1 ended well"
    del raised


def test_a_response_that_is_closed_in_the_loop_ends_the_scope() -> None:
    """As Django's own client does; nothing can be waited for there, and the scope ends before its body."""

    async def ask() -> None:
        response: Any = await AsyncClient().get("/astream-hang")
        assert await anext(aiter(response)) == b"1"
        response.close()
        assert log()[-1] == "visit 1 ended well"

    asyncio.run(ask())


def test_a_server_that_raises_ends_the_scope() -> None:
    """Django closes no such response; its scope ends when it is collected, as an error, for nobody knows the end."""
    ask_asgi("/astream-hang", client=Broken(), until=lambda: len(log()) > 1)
    assert log()[-1] == "visit 1 ended by StateError"


@pytest.mark.parametrize("path", ["/soon", "/hello"])
def test_nothing_leaves_the_loop_that_need_not(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a started container with nothing to end costs no hop to a thread for the scope."""
    ask_asgi(path)
    hops = counted_hops(monkeypatch)
    ask_asgi(path)
    assert hops == []
    ask_asgi("/avisit")
    assert len(hops) == 1


def counted_hops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What our middleware has done in a thread from now on."""
    hops: list[Any] = []
    for module in (middleware, _streams):

        def counting(function: Any, hop: Any = module.sync_to_async) -> Any:
            hops.append(function)
            return hop(function)

        monkeypatch.setattr(module, "sync_to_async", counting)
    return hops


def test_an_ending_does_not_hold_up_the_loop() -> None:
    """What may wait for a server, as a commit does, is done in a thread."""
    threads: list[int] = []

    def waiting() -> Iterator[Any]:
        yield SimpleNamespace(number=1)
        threads.append(threading.get_ident())

    with container(start=False).overriding({"visit": providers.Scoped(waiting)}):
        answer = json.loads(ask_asgi("/avisit").body)
    assert len(threads) == 1 and threads != [answer["thread"]]
