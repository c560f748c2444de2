"""Tests of the integration with Django, in one configured project."""
