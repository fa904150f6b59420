"""One operation's figures at one time, as the user's own code saves and loads them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotation

import msgspec


class PerformanceBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one operation; `metrics` are seconds, bytes and operations per second by name.

    A `timestamp` without a time zone, as `datetime.now()` gives, is local time.
    """

    test_name: str
    operation_type: str
    timestamp: datetime
    metrics: dict[str, float]
