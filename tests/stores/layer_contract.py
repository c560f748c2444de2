"""The suite of layers under the name that the tests of this room know it by."""

from __future__ import annotations

from wellwired.testing._suite_layers import PassTime
from wellwired.testing.conformance import LayerSuite as LayerContract

__all__ = ["LayerContract", "PassTime"]
