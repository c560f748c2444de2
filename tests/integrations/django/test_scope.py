"""The scope of a request under WSGI: in the view and the streamed body, ended once, with what went wrong."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.integrations.django.asking import ask_wsgi, log, text
from tests.integrations.django.shelf import views
from wellwired.containers import providers
from wellwired.integrations.django import container


@pytest.fixture(autouse=True)
def told() -> list[str]:
    """What bodies find when they are closed."""
    views.told.clear()
    return views.told


def test_a_request_has_a_scope(client: Client) -> None:
    """One object for a request, whoever asks, ended with it; the next request has another."""
    assert client.get("/visit").json() == {"same": True, "number": 1}
    assert client.get("/visit").json() == {"same": True, "number": 2}
    assert log() == ["opened", "visit 1 ended well", "visit 2 ended well"]


def test_an_asynchronous_view_has_the_scope(client: Client) -> None:
    """Also one that a WSGI server calls through a loop of its own."""
    assert client.get("/avisit").json()["same"]
    assert log() == ["opened", "visit 1 ended well"]


def test_a_whole_response_ends_the_scope_before_it_is_sent() -> None:
    """So that an ending that fails can still be answered with an error."""
    response = ask_wsgi("/visit")
    assert log()[-1] == "visit 1 ended well"
    response.close()


def test_an_ending_that_fails_is_an_error_page(client: Client) -> None:
    """What could not be committed is not answered as if it were."""

    def failing() -> Iterator[str]:
        yield "visit"
        raise ConnectionError("no commit today")

    with container(start=False).overriding({"visit": providers.Scoped(failing)}):
        assert client.get("/hold").status_code == 500


def test_a_streamed_body_is_inside_the_scope(told: list[str]) -> None:
    """Every piece of it has the request's objects, and so has its end, which ends them."""
    response = ask_wsgi("/stream")
    assert b"".join(response) == b"at work True;" * 3
    assert log() == ["opened"]
    response.close()
    assert log()[-1] == "visit 1 ended well"
    assert told == ["at work True"]


def test_an_asynchronous_body_is_inside_the_scope(told: list[str]) -> None:
    """Also where Django has to read it as a whole."""
    response = ask_wsgi("/astream")
    with pytest.warns(Warning, match="asynchronous iterators"):
        assert b"".join(response) == b"at work True;" * 3
    response.close()
    assert (told, log()[-1]) == (["at work True"], "visit 1 ended well")


def test_a_body_that_nobody_reads_ends_the_scope() -> None:
    """As that of a request for headers only."""
    for number, path in enumerate(["/stream", "/astream", "/file"], 1):
        ask_wsgi(path).close()
        assert log()[-1] == f"visit {number} ended well"


def test_a_client_that_goes_away_ends_the_scope(told: list[str]) -> None:
    """A server that closes a response before its end closes the body inside the scope, and ends that."""
    response = ask_wsgi("/stream")
    next(iter(response))
    response.close()
    assert (told, log()[-1]) == (["at work True"], "visit 1 ended well")


def test_a_closed_response_leaves_no_garbage() -> None:
    """It refers to nothing that refers to it, and is gone without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for path in ("/stream", "/file"):
            response = ask_wsgi(path)
            seen = weakref.ref(response)
            list(response)
            response.close()
            del response
            assert seen() is None
    finally:
        gc.enable()


def test_a_file_lasts_as_long_as_the_scope(client: Client) -> None:
    """Objects of the request are at work while the file is read, and pieces given as a file are made in the scope."""
    assert text(client.get("/file")) == "file: at work"
    assert text(client.get("/pieces")) == "True;True;"
    assert log()[1:] == ["visit 1 ended well", "visit 2 ended well"]


def test_a_file_is_left_to_the_server() -> None:
    """A server that sends files by itself is handed the very object, and ends the scope by closing it."""

    class Wrapper:
        def __init__(self, file: io.BytesIO, size: int = 8192) -> None:
            self.file = file

    response = ask_wsgi("/file", file_wrapper=Wrapper)
    assert response.file.read() == b"file: at work"
    assert log() == ["opened"]
    response.file.close()
    assert log()[-1] == "visit 1 ended well"


@pytest.mark.parametrize("path", ["/fail", "/afail"])
def test_an_error_of_a_view_ends_the_scope_as_an_error(client: Client, path: str) -> None:
    """What rolls back on an error does so, although Django answers with a page."""
    assert client.get(path).status_code == 500
    assert log()[-1] == "visit 1 ended by RuntimeError"
    with pytest.raises(RuntimeError, match="after visit 2"):
        Client().get(path)
    assert log()[-1] == "visit 2 ended by RuntimeError"


def test_an_exception_that_means_not_found_ends_the_scope_as_an_error(client: Client) -> None:
    """As a transaction around the view would roll back."""
    assert client.get("/missing").status_code == 404
    assert log()[-1] == "visit 1 ended by Http404"


def test_a_worker_that_is_told_to_end_ends_the_scope(client: Client) -> None:
    """As gunicorn does in the middle of a request that takes too long: no exception that Django would answer."""
    with pytest.raises(SystemExit):
        client.get("/exit")
    assert log()[-1] == "visit 1 ended by SystemExit"


@pytest.mark.parametrize(("act", "status", "end"), [("fail", 500, "by RuntimeError"), ("missing", 404, "well")])
def test_an_error_of_inner_middleware_ends_the_scope(client: Client, act: str, status: int, end: str) -> None:
    """Django answers it before the scope sees it; of an error the scope hears, and "not found" is none to Django."""
    assert client.get("/visit", headers={"inner": act}).status_code == status
    assert log()[-1] == f"visit 1 ended {end}"


def test_a_body_that_breaks_ends_the_scope_as_an_error() -> None:
    """Also when the first pieces have been sent."""
    response = ask_wsgi("/torn")
    with pytest.raises(RuntimeError, match="torn"):
        list(response)
    response.close()
    assert log()[-1] == "visit 1 ended by RuntimeError"


@pytest.mark.parametrize(("act", "end"), [("fail", "by RuntimeError"), ("missing", "well"), ("replace", "well")])
def test_a_streamed_response_that_is_never_sent_ends_the_scope(act: str, end: str) -> None:
    """Middleware above that fails or answers otherwise drops the response; the scope ends with what is sent instead."""
    response = ask_wsgi("/stream", headers={"outer": act})
    assert log() == ["opened"]
    response.close()
    assert log()[-1] == f"visit 1 ended {end}"


def test_an_error_of_outer_middleware_leaves_a_finished_scope_alone(client: Client) -> None:
    """A whole response had ended the scope before."""
    assert client.get("/visit", headers={"outer": "fail"}).status_code == 500
    assert log()[-1] == "visit 1 ended well"


def test_an_ending_that_fails_after_a_stream_is_heard(client: Client) -> None:
    """Django passes over what closing a response raises; the server is told all the same."""

    def failing() -> Iterator[Any]:
        yield "visit"
        raise ConnectionError("no commit today")

    with container(start=False).overriding({"visit": providers.Scoped(failing)}):
        response = ask_wsgi("/hold?stream")
        with pytest.raises(ExceptionGroup, match="closing a scope failed"):
            response.close()
