"""What users need to test their own code: a clock that a test moves by hand; and in `conformance` the suites of tests
that their writers and handlers inherit, which need pytest and are imported by that name.
"""

from wellwired.testing.clock import VirtualClock

__all__ = ["VirtualClock"]
