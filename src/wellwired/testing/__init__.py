"""What users need to test their own code: so far, a clock that a test moves by hand."""

from wellwired.testing.clock import VirtualClock

__all__ = ["VirtualClock"]
