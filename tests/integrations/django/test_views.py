"""A container in a Django project: wired views and no connection before the first request."""

from __future__ import annotations

from typing import Any

from django.test import Client

from wellwired.integrations.django import container


def log() -> list[str]:
    """What happened in the project's container."""
    found: list[str] = container(start=False).log()
    return found


def text(response: Any) -> str:
    """The body of a response."""
    return bytes(response.content).decode()


def test_views_get_what_they_mark(client: Client) -> None:
    """Functions and classes, plain and asynchronous, get their objects, next to the arguments of the route."""
    assert text(client.get("/hello")) == "hello from pool"
    assert text(client.get("/soon")) == "soon hello from pool"
    assert text(client.get("/shelf/books")) == "hello from pool books"
    assert text(client.get("/late/books")) == "late hello from pool books"
