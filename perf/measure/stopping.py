"""Limits that end a load before its time, held against each new outcome once, so that looking costs nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perf.distribution import samples_needed
from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perf.measure.outcomes import Outcome

_RESPONSE = {f"{name}_response_time": q for name, q in (("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("p99_9", 99.9))}
ERROR_RATE = "error_rate"
_FEWEST = 20


def check_limits(limits: Mapping[str, float]) -> None:
    """Raise MeasurementError on a limit that no load can be held against."""
    known = (*_RESPONSE, ERROR_RATE)
    for name, bound in limits.items():
        if name not in known:
            raise MeasurementError(f"abort_on_fail: {name} is none of {', '.join(known)}")
        if not 0 <= bound < math.inf:
            raise MeasurementError(f"abort_on_fail: {name} must be a finite number, 0 or more, not {bound!r}")


def broken_limit(limits: Mapping[str, float], figures: Mapping[str, Any]) -> str:
    """Return which limit the figures of a finished load break, in words; "" when all hold."""
    for name, bound in limits.items():
        value = figures[name]
        if value is None:
            return f"{name} is not known: no operation succeeded"
        if value > bound:
            return f"{name} {value:.4g} > {bound:g}"
    return ""


@dataclass
class Watch:
    """Holds `limits` against the outcomes of a load under way; nothing counts before enough operations ended."""

    limits: Mapping[str, float]
    _seen: int = 0
    _failed: int = 0
    _over: dict[str, int] = field(default_factory=dict)

    def broken(self, outcomes: Sequence[Outcome], waiting: Iterable[float] = ()) -> str:
        """Return which limit is broken, in words, "" while all hold; `waiting` are ages of operations under way.

        An operation that already waits for longer than a bound will be above it, so a service that stalls for good is
        seen.
        """
        for intended, _, ended, error in outcomes[self._seen :]:
            self._failed += bool(error)
            for name in _RESPONSE.keys() & self.limits.keys():
                self._over[name] = self._over.get(name, 0) + (not error and ended - intended > self.limits[name])
        self._seen = len(outcomes)
        ages = list(waiting) if _RESPONSE.keys() & self.limits.keys() else []
        for name, bound in self.limits.items():
            if name == ERROR_RATE:
                if self._seen >= _FEWEST and self._failed > bound * self._seen:
                    return f"{name} {self._failed / self._seen:.3g} > {bound:g} after {self._seen} operations"
                continue
            late = sum(age > bound for age in ages)
            over, total = self._over.get(name, 0) + late, self._seen - self._failed + late
            if total >= samples_needed(_RESPONSE[name]) and over > (1 - _RESPONSE[name] / 100) * total:
                return f"{name} > {bound:g}: {over} of {total} operations took longer"
        return ""
