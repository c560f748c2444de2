"""Middleware: what goes around a write or an operation of a store."""

from wellwired.middleware.batches import BatchEvent, BatchMiddleware, BatchNext, CountsBatches
from wellwired.middleware.breaker import Breaker, BreakerPolicy, BreakerState
from wellwired.middleware.breaking import Circuits
from wellwired.middleware.budget import RetryBudget
from wellwired.middleware.chain import (
    Middleware,
    Next,
    StoreMiddleware,
    StoreNext,
    WriteMiddleware,
    WriteNext,
    chain,
)
from wellwired.middleware.events import Observer, RetryEvent, WriteEvent
from wellwired.middleware.limit import time_limit
from wellwired.middleware.logging import SILENT, Logger, WriteLog, logged
from wellwired.middleware.metrics import Metrics, NoMetrics, Watched, Watching, measured
from wellwired.middleware.notices import CircuitChanged, EvictionFailed, LetterKept, LetterLost, Notice, Noticing
from wellwired.middleware.observe import observed
from wellwired.middleware.policy import RetryPolicy
from wellwired.middleware.retry import retrying
from wellwired.middleware.seal import sealed

__all__ = [
    "SILENT",
    "BatchEvent",
    "BatchMiddleware",
    "BatchNext",
    "Breaker",
    "BreakerPolicy",
    "BreakerState",
    "CircuitChanged",
    "Circuits",
    "CountsBatches",
    "EvictionFailed",
    "LetterKept",
    "LetterLost",
    "Logger",
    "Metrics",
    "Middleware",
    "Next",
    "NoMetrics",
    "Notice",
    "Noticing",
    "Observer",
    "RetryBudget",
    "RetryEvent",
    "RetryPolicy",
    "StoreMiddleware",
    "StoreNext",
    "Watched",
    "Watching",
    "WriteEvent",
    "WriteLog",
    "WriteMiddleware",
    "WriteNext",
    "chain",
    "logged",
    "measured",
    "observed",
    "retrying",
    "sealed",
    "time_limit",
]
