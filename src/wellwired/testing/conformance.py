"""The contract of writers, handlers and layers as tests: inherit a suite, supply what it asks for, and it is checked.

::

    from wellwired.testing.conformance import WriterSuite

    class TestMyWriter(WriterSuite):
        @pytest.fixture
        def writer(self, connection):              # fresh, on a backend of its own
            return MyWriter("mine.main", connection)

        def put(self, connection, text):           # within a handler: writes one text
            connection.append("texts", text)

        def written(self, writer):                 # by another way: what is there for good
            return other_connection().read("texts")

        def refuse(self, connection):              # within a handler: what the backend refuses
            connection.append("no such list", 1)

What a writer promises is what its attribute `capabilities` says (`wellwired.writers.protocol.WriterCapabilities`), and
what can be told by looking at it (`Transacts`, `WritesMany`). A test of something that is not promised is skipped and
says so. What holds for every writer is always tested: a success is there once, the outcome of an error is true, an
error survives pickling and shows neither payload nor secret, nothing is tried twice, nothing hangs.

A layer of a store needs one fixture, and says with ``abilities`` which protocols it claims::

    class TestMyStore(LayerSuite):
        abilities = (Many, Fenced)

        @pytest.fixture
        def store(self):                           # fresh and empty
            return MyStore()

With `pass_time` it can let time pass for the store, so that lives are tested as well, and with `another` it gives a
second store on the same data, so that what holds between processes is. Both are skipped otherwise.

pytest is needed, and comes with the extra ``test``; `wellwired` and `wellwired.testing` do without.
"""

from __future__ import annotations

import sys

try:
    import pytest
except ImportError as error:
    from wellwired.errors import MissingExtraError

    raise MissingExtraError("pytest", extra="test", purpose="wellwired.testing.conformance") from error

_PARTS = (
    "_suite",
    "_suite_changes",
    "_suite_fences",
    "_suite_handlers",
    "_suite_layers",
    "_suite_leases",
    "_suite_many",
    "_suite_writes",
)
# Before they are imported: a failing assert in them is to be as talkative as one in a test.
pytest.register_assert_rewrite(*(f"{__package__}.{p}" for p in _PARTS if f"{__package__}.{p}" not in sys.modules))

from wellwired.testing._suite_changes import Exchanges  # noqa: E402 - see above
from wellwired.testing._suite_fences import Fences, Shared, Stale, Tags  # noqa: E402
from wellwired.testing._suite_handlers import HandlerSuite  # noqa: E402
from wellwired.testing._suite_layers import Basics  # noqa: E402
from wellwired.testing._suite_leases import Loads  # noqa: E402
from wellwired.testing._suite_many import Batches, Keys, Processes, Units  # noqa: E402
from wellwired.testing._suite_writes import AfterCommit, Failures, Names, Time  # noqa: E402

__all__ = ["HandlerSuite", "LayerSuite", "WriterSuite"]


class LayerSuite(Basics, Fences, Exchanges, Stale, Tags, Loads, Shared):
    """What a layer must be. A subclass overrides `store`, and if it can `another` and `pass_time`.

    It may say with ``VALUES``, ``KEYS``, ``ONE`` and ``TWO`` what its store can keep, and with ``abilities`` which of
    the protocols `Many`, `Fenced`, `FencedMany`, `Ordered`, `Atomic`, `Adds`, `KeepsStale`, `Tagged`, `Leases` and
    `LeasesMany` it claims. (`Timed` is about waiting, which no suite can see: test it with a server that hangs.)
    """


class WriterSuite(Names, Failures, Time, AfterCommit, Keys, Units, Batches, Processes):
    """What a writer must be. A subclass overrides `writer`, `put`, `written` and, if it can, `refuse`.

    It also says with ``shared = False`` that its backend lives in its process, and with `after_fork` what its
    application does in a forked child.
    """
