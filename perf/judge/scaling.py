"""Up to how many tasks at once does an operation scale? The universal scalability law, fitted to its steps."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perf.record.run import Measurement

_FEWEST = 4
_GAIN = 1.1
_STARTS = ((0.01, 1e-5), (0.5, 1e-3), (0.99, 1e-2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Throughput over tasks at once: rate_of_one N / (1 + contention (N-1) + coherency N (N-1)).

    `rate_of_one` is per second, `contention` the share that is done one at a time, `coherency` what tasks cost each
    other, `error` the root mean square of the steps' relative distance from the curve.
    """

    rate_of_one: float
    contention: float
    coherency: float
    error: float

    def throughput(self, tasks: float) -> float:
        """Return the operations a second that the law says of so many tasks at once."""
        return self.rate_of_one * tasks / (1 + self.contention * (tasks - 1) + self.coherency * tasks * (tasks - 1))

    def stops_at(self, most: int) -> int | None:
        """Return from how many tasks on twice as many bring less than a tenth more; None if up to `most` none do."""
        numbers = range(1, most // 2 + 1)
        return next((one for one in numbers if self.throughput(2 * one) < _GAIN * self.throughput(one)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingVerdict:
    """`stops_at` tasks at once an operation stops scaling, None where it scales as far as was tried, up to `most`.

    `others` is the same with each step left out in turn: how far it hangs on one of them.
    """

    service: str
    operation: str
    scaling: Scaling
    most: int
    stops_at: int | None
    others: tuple[int | None, ...]


def judge_scaling(measurements: Iterable[Measurement]) -> list[ScalingVerdict]:
    """Return a verdict on each operation that was measured at four steps of concurrency or more."""
    curves: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for one in measurements:
        if one.kind == "load" and one.origin.category == "scalability" and "throughput" in one.metrics:
            curves[one.origin.service, one.operation][one.concurrency] = one.metrics["throughput"].value
    return [
        verdict
        for (service, operation), curve in sorted(curves.items())
        if (verdict := _judged(service, operation, sorted(curve.items())))
    ]


def _judged(service: str, operation: str, steps: list[tuple[int, float]]) -> ScalingVerdict | None:
    scaling = fit_scaling(*zip(*steps, strict=True))
    if scaling is None:
        return None
    most = steps[-1][0]
    fits = [fit_scaling(*zip(*(steps[:left] + steps[left + 1 :]), strict=True)) for left in range(len(steps))]
    return ScalingVerdict(
        service=service,
        operation=operation,
        scaling=scaling,
        most=most,
        stops_at=scaling.stops_at(most),
        others=tuple(fit.stops_at(most) for fit in fits if fit),
    )


def fit_scaling(tasks: Sequence[float], throughput: Sequence[float]) -> Scaling | None:
    """Return the law fitted to `throughput`, per second, at each number of `tasks`; None with too few steps.

    Least squares of the logarithms, so that each step counts by its relative distance. Gunther, "Guerrilla Capacity
    Planning" (2007), chapter 4. Four different numbers of tasks are needed, and a throughput above 0 at each.
    """
    if len(set(tasks)) < _FEWEST or min(throughput) <= 0:
        return None
    import numpy as np
    from scipy.optimize import least_squares

    number, seen = np.array(tasks, float), np.log(np.array(throughput, float))

    def distances(law: Sequence[float]) -> object:
        rate, contention, coherency = law
        return rate + np.log(number / (1 + contention * (number - 1) + coherency * number * (number - 1))) - seen

    first = float((seen - np.log(number)).max())
    bounds = ([-math.inf, 0.0, 0.0], [math.inf, 1.0, 1.0])
    fits = [least_squares(distances, (first, *start), bounds=bounds, x_scale=(1.0, 0.1, 1e-3)) for start in _STARTS]
    best = min(fits, key=lambda fit: float(fit.cost))
    rate, contention, coherency = map(float, best.x)
    return Scaling(
        rate_of_one=math.exp(rate),
        contention=contention,
        coherency=coherency,
        error=math.sqrt(2 * float(best.cost) / len(number)),
    )
