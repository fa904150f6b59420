"""One operation's figures at one time, as the user's own code saves and loads them."""

from __future__ import annotations

import math
from datetime import datetime  # noqa: TC003 - msgspec reads the annotation

import msgspec

from perf.errors import MeasurementError


class PerformanceBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one operation; `metrics` are seconds, bytes and operations per second, by name.

    A `timestamp` without a time zone is local time. MeasurementError on a figure that is not finite.
    """

    test_name: str
    operation_type: str
    timestamp: datetime
    metrics: dict[str, float]

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise MeasurementError(f"{self.test_name}.{self.operation_type}: {name} is {value!r}, no finite number")
