"""Verdicts on growth of memory, and on how far an operation scales, where the truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation.table import Table, rate, share
from perf import judge_growth
from perf.judge.leaks import TOLERANCE
from perf.judge.scaling import Scaling, fit_scaling
from perf.measure.growth import BATCHES, TRACED_BATCHES, Growth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from evaluation.data import Values

    Draw = Callable[[np.random.Generator], Values]

CALLS = 1000
KIB, MIB = 1024.0, 1024.0**2
BATCH = np.arange(1.0, BATCHES + 1)
STEPS = (1, 5, 10, 25, 50)


def noise(random: np.random.Generator, size: float) -> Values:
    """Return what each reading is off by."""
    return random.normal(0.0, size, BATCHES)


def fills(batches: float, size: float = 50 * MIB) -> Values:
    """Return a cache that is two thirds full after so many batches, and full only in the limit."""
    return size * (1.0 - np.exp(-BATCH / batches))


NO_LEAKS: dict[str, Draw] = {
    "nothing": lambda _: 0.0 * BATCH,
    "noise of 10 MiB": lambda random: noise(random, 10 * MIB),
    "wandering by 100 KiB": lambda random: np.cumsum(noise(random, 100 * KIB)),
    "one step of 30 MiB": lambda random: 30 * MIB * (random.integers(0, BATCHES) < BATCH),
    "arenas of 4 MiB, now and then": lambda random: np.cumsum((random.random(BATCHES) < 0.1) * 4 * MIB),
    "two thirds full after 2": lambda random: fills(2) + noise(random, 50 * KIB),
    "two thirds full after 5": lambda random: fills(5) + noise(random, 50 * KIB),
    "two thirds full after 10": lambda random: fills(10) + noise(random, MIB),
    "two thirds full after 20": lambda random: fills(20) + noise(random, 50 * KIB),
    "full after 12": lambda random: MIB * np.minimum(BATCH, 12) + noise(random, 50 * KIB),
    "full after 20": lambda random: MIB * np.minimum(BATCH, 20) + noise(random, 50 * KIB),
}
HARD: dict[str, Draw] = {"wandering by 10 MiB": lambda random: np.cumsum(noise(random, 10 * MIB))}
"""No leak either, and hardly to be told from one."""
LEAKS: dict[str, Draw] = {
    "1000 B a call": lambda _: 1000.0 * CALLS * BATCH,
    "1000 B, noise of 200 KiB": lambda random: 1000.0 * CALLS * BATCH + noise(random, 200 * KIB),
    "1000 B, wandering by 200 KiB": lambda random: 1000.0 * CALLS * BATCH + np.cumsum(noise(random, 200 * KIB)),
    "1000 B, after a warm-up": lambda random: 1000.0 * CALLS * BATCH + fills(1, 5 * MIB) + noise(random, 50 * KIB),
    "200 B, noise of 40 KiB": lambda random: 200.0 * CALLS * BATCH + noise(random, 40 * KIB),
}


def growth(own: Iterable[float], traced: Iterable[float] = (0.0,) * TRACED_BATCHES) -> Growth:
    """Return a measurement of memory that held so much, of the whole process and of Python's, after its batches."""
    return Growth(
        calls=CALLS,
        rss=[],
        uss=[int(size) for size in own],
        traced=[int(size) for size in traced],
        blocks=[0] * TRACED_BATCHES,
        peak=0.0,
        sites=[],
        pauses=(0, 0.0, 0.0, 0.0),
        before={},
        after={},
    )


def tables(_data: Path | None, *, quick: bool) -> Iterator[Table]:
    """Give the tables, which are all of simulated memory and throughput."""
    trials = 40 if quick else 400
    yield _leaks(trials)
    yield _scaling(trials)


def _leaks(trials: int) -> Table:
    rows = []
    for name, draw in {**NO_LEAKS, **HARD, **LEAKS}.items():
        random = np.random.default_rng(6)
        drawn = [draw(random) for _ in range(trials)]
        words = [judge_growth(growth(own)).verdict for own in drawn]
        rows.append(
            [
                name,
                "leak" if name in LEAKS else "none",
                rate(words.count("leaking"), trials),
                *(share([word == one for word in words]) for one in ("stable", "inconclusive")),
                share([(own[-1] - own[0]) / CALLS / (BATCHES - 1) > TOLERANCE for own in drawn]),
                share([_line(own) > TOLERANCE for own in drawn]),
            ]
        )
    return Table(
        title="Growth of memory",
        header=["memory", "truth", "called leaking", "stable", "inconclusive", "last against first", "fitted line"],
        rows=rows,
        note=f"Simulated, {trials} trials each: the whole process's memory after {BATCHES} batches of {CALLS} calls, "
        f"nothing of it traced, tolerance {TOLERANCE:.0f} B a call. What other checks would call leaking: the last "
        "reading above the first by more than the tolerance; a line by least squares, its 99 % lower bound above it.",
    )


def _line(own: Values) -> float:
    """Return the one-sided 99 % lower bound of the slope of a line by least squares, in bytes a call."""
    from scipy.stats import linregress, t

    line = linregress(BATCH * CALLS, own)
    return float(line.slope - t.ppf(0.99, BATCHES - 2) * line.stderr)


def _scaling(trials: int) -> Table:
    rows = []
    for contention, peak in ((1.0, None), (0.0, None), (0.1, None), (0.05, 20), (0.2, 10), (0.1, 5)):
        coherency = (1 - contention) / peak**2 if peak else 0.0
        true = Scaling(rate_of_one=1000.0, contention=contention, coherency=coherency, error=0.0)
        stops = true.stops_at(STEPS[-1])
        random = np.random.default_rng(6)
        found = [_stops(true, random) for _ in range(trials)]
        rows.append(
            [
                f"{contention:g}",
                f"{coherency:.2g}",
                "never" if stops is None else str(stops),
                share([one == stops for one in found]),
                share([_near(one, stops) for one in found]),
            ]
        )
    return Table(
        title="Where scaling stops",
        header=["contention", "coherency", "stops at", "just there", "within a fifth, or one"],
        rows=rows,
        note=f"Simulated, {trials} trials each: throughput at {', '.join(map(str, STEPS))} at once, each off by 5 %.",
    )


def _stops(true: Scaling, random: np.random.Generator) -> int | None:
    seen = [true.throughput(tasks) * np.exp(random.normal(0.0, 0.05)) for tasks in STEPS]
    fit = fit_scaling(STEPS, seen)
    return fit.stops_at(STEPS[-1]) if fit else None


def _near(found: int | None, stops: int | None) -> bool:
    if found is None or stops is None:
        return found == stops
    return abs(found - stops) <= max(1, stops / 5)
