"""A project of its own, whose pages and sessions are in a cache."""
