"""The universal scalability law fitted to steps of concurrency, on curves whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perf.judge.scaling import Scaling, fit_scaling, judge_scaling
from perf.record.run import Measurement, Metric, Origin

STEPS = [1, 5, 10, 25, 50]
TRIALS = 60


def law(contention: float, coherency: float) -> Scaling:
    return Scaling(rate_of_one=1000.0, contention=contention, coherency=coherency, error=0.0)


def fitted(true: Scaling, noise: float) -> list[Scaling]:
    random = np.random.default_rng(20261125)
    fits = []
    for _ in range(TRIALS):
        seen = [true.throughput(tasks) * math.exp(random.normal(0.0, noise)) for tasks in STEPS]
        fit = fit_scaling(STEPS, seen)
        assert fit is not None
        fits.append(fit)
    return fits


def load(tasks: int, throughput: float, operation: str = "plans_at_once", category: str = "scalability") -> Measurement:
    return Measurement(
        origin=Origin(test="a test", service="planning", category=category, operation=operation),
        kind="load",
        operation=operation,
        subject="a subject",
        concurrency=tasks,
        metrics={"throughput": Metric(throughput, "1/s", "higher")} if throughput else {},
    )


@pytest.mark.parametrize(("contention", "coherency"), [(0.0, 0.0), (1.0, 0.0), (0.1, 0.0), (0.05, 0.002), (0.3, 0.01)])
def test_a_curve_without_noise_is_found_again(contention: float, coherency: float) -> None:
    """The law's own figures come back from the throughputs that it says, in whatever order."""
    true = law(contention, coherency)

    fit = fit_scaling(STEPS[::-1], [true.throughput(tasks) for tasks in STEPS[::-1]])

    assert fit is not None
    assert (fit.rate_of_one, fit.contention) == pytest.approx((1000.0, contention), rel=1e-3, abs=1e-3)
    assert fit.coherency == pytest.approx(coherency, rel=1e-2, abs=1e-5)
    assert fit.error < 1e-3


@pytest.mark.parametrize(
    ("contention", "coherency", "stops"),
    [(1.0, 0.0, 1), (0.05, 0.95 / 20**2, 12), (0.2, 0.8 / 10**2, 6), (0.1, 0.9 / 5**2, 3)],
)
def test_where_scaling_stops_is_found_in_noise(contention: float, coherency: float, stops: int) -> None:
    """With 5 % of noise the place is found within a fifth of it, or one task, nineteen times in twenty."""
    true = law(contention, coherency)

    found = [fit.stops_at(50) for fit in fitted(true, 0.05)]

    assert true.stops_at(50) == stops
    near = [one for one in found if one is not None and abs(one - stops) <= max(1, stops / 5)]
    assert len(near) >= 0.95 * TRIALS


@pytest.mark.parametrize("contention", [0.0, 0.02])
def test_what_scales_does_not_stop(contention: float) -> None:
    """A curve that rises to the end is never said to stop."""
    assert {fit.stops_at(50) for fit in fitted(law(contention, 0.0), 0.05)} == {None}


def test_the_error_says_how_badly_the_law_fits() -> None:
    """What is no curve of this law at all is far off it, what is one in noise by about the noise."""
    bad = fit_scaling(STEPS, [100.0, 1000.0, 100.0, 1000.0, 100.0])
    typical = np.median([fit.error for fit in fitted(law(0.1, 0.001), 0.05)])

    assert bad is not None
    assert bad.error > 0.5
    assert 0.01 < typical < 0.06


@pytest.mark.parametrize(
    ("tasks", "throughput"),
    [([1, 5, 10], [1.0, 2.0, 3.0]), ([1, 1, 5, 10], [1.0, 1.0, 2.0, 3.0]), (STEPS, [1.0, 2.0, 0.0, 3.0, 4.0])],
)
def test_too_few_steps_have_no_law(tasks: list[float], throughput: list[float]) -> None:
    """Three steps, however often, or a step at which nothing was done, give no verdict."""
    assert fit_scaling(tasks, throughput) is None


def test_operations_are_judged_by_their_steps_and_by_all_but_one() -> None:
    """Each operation with enough steps has a verdict; loads that are no steps, or did nothing, have no part in it."""
    flat = [load(tasks, 12.0) for tasks in STEPS]
    rising = [load(tasks, 12.0 * tasks, "cache_at_once") for tasks in STEPS]
    others = [load(100, 12.0, "stress", "stress"), load(7, 0.0), load(1, 5.0, "short"), load(5, 5.0, "short")]

    cache, plans = judge_scaling([*flat, *rising, *others])

    assert (cache.operation, cache.stops_at, set(cache.others)) == ("cache_at_once", None, {None})
    assert (plans.service, plans.operation, plans.stops_at, plans.most) == ("planning", "plans_at_once", 1, 50)
    assert plans.others == (1,) * len(STEPS)


def test_a_verdict_that_hangs_on_one_step_shows_it() -> None:
    """Where one step of a steep curve is broken the verdict with that step left out is another."""
    curve = [load(tasks, 10.0 * tasks if tasks < 50 else 60.0) for tasks in STEPS]

    (verdict,) = judge_scaling(curve)

    assert verdict.stops_at is not None
    assert verdict.others[-1] is None
