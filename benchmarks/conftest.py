"""The benchmarks use the fixtures of the tests: the same servers, fresh databases."""

from tests.conftest import *  # noqa: F403
from tests.conftest import _databases, _redis_databases  # noqa: F401
