"""When each operation of an open load is to start: a pure function of its number, tested without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING

from perf.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random


@dataclass(frozen=True, kw_only=True)
class ArrivalRate:
    """Operations a second: `first` at the beginning, `last` from `over` seconds on, and linear in between."""

    first: float
    last: float
    over: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no operation would ever arrive at; MeasurementError."""
        for name, value in (("arrival_rate", self.first), ("arrival_rate", self.last), ("ramp_up_seconds", self.over)):
            if not 0 <= value < math.inf:
                raise MeasurementError(f"{name} must be a finite number, 0 or more, not {value!r}")
        if not self.last and not (self.first and self.over):
            raise MeasurementError("arrival_rate must be above 0, or nothing would ever arrive")

    def start_of(self, number: float) -> float:
        """Return when operation `number`, counted from 0, is to start, in seconds; infinity if the rate ends before.

        That is when as many operations are due: the solution t of first t + (last - first) t² / (2 over) = number.
        """
        within_ramp = (self.first + self.last) / 2 * self.over
        if number >= within_ramp:
            return self.over + (number - within_ramp) / self.last if self.last else math.inf
        slope = (self.last - self.first) / self.over
        return 2 * number / (self.first + math.sqrt(self.first**2 + 2 * slope * number)) if number else 0.0

    def due(self, seconds: float) -> float:
        """Return how many operations are due before so many seconds: the integral of the rate."""
        ramp = min(seconds, self.over)
        reached = self.first + (self.last - self.first) * ramp / self.over if self.over else self.last
        return (self.first + reached) / 2 * ramp + self.last * (seconds - ramp)


def starts(
    rate: ArrivalRate,
    *,
    seconds: float = math.inf,
    operations: float = math.inf,
    poisson: Random | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[float]:
    """Give the intended start of each operation, in seconds, until `seconds` have passed or `operations` are given.

    With `poisson` they arrive as independent users do: the gaps between their numbers are exponential with mean 1,
    which makes them a Poisson process of that rate. A `share` of (k, n) is the k-th of n parts that together make the
    whole.
    """
    part, parts = share
    numbers = takewhile(lambda number: number < operations, count(part, parts))
    spread = _poisson(poisson, parts) if poisson else None
    for number in numbers:
        start = rate.start_of(next(spread) if spread else number)
        if start >= seconds:
            return
        yield start


def _poisson(random: Random, mean: float) -> Iterator[float]:
    number = 0.0
    while True:
        number += random.expovariate(1 / mean)
        yield number
