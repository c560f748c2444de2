"""The URLconf of the test project."""

from __future__ import annotations

from django.urls import path

from tests.integrations.django.shelf import views

urlpatterns = [
    path("hello", views.hello),
    path("soon", views.soon),
    path("shelf/<name>", views.Shelf.as_view()),
    path("late/<name>", views.LateShelf.as_view()),
    path("visit", views.visit),
    path("avisit", views.avisit),
    path("stream", views.stream),
    path("astream", views.astream),
    path("file", views.file),
    path("pieces", views.pieces_as_file),
    path("fail", views.fail),
    path("afail", views.afail),
    path("missing", views.missing),
    path("exit", views.exit_worker),
    path("torn", views.torn),
    path("atorn", views.atorn),
    path("hang", views.hang),
    path("astream-hang", views.astream_hang),
    path("hold", views.hold),
]
