"""Views of a Django project get what they mark, under WSGI and under ASGI."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.integrations.django.asking import ask_asgi, text

ANSWERS = {
    "/hello": "hello from pool",
    "/soon": "soon hello from pool",
    "/shelf/books": "hello from pool books",
    "/late/books": "late hello from pool books",
}


@pytest.mark.parametrize(("path", "answer"), ANSWERS.items())
def test_views_get_what_they_mark(client: Client, path: str, answer: str) -> None:
    """Functions and classes, plain and asynchronous, get their objects, next to the arguments of the route."""
    assert text(client.get(path)) == answer


@pytest.mark.parametrize(("path", "answer"), ANSWERS.items())
def test_views_get_what_they_mark_under_asgi(path: str, answer: str) -> None:
    """They do from an asynchronous server too."""
    assert ask_asgi(path).body.decode() == answer
