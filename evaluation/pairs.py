"""Two sides compared: `compare_samples` beside the rules of other tools."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from evaluation import data as sources
from evaluation.rules import SAMPLE_RULES
from evaluation.table import Table, rate, share
from perf import compare_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from evaluation.data import Values

_SLOWER = (1.02, 1.05, 1.10)


def tables(data: Path | None, *, quick: bool) -> Iterator[Table]:
    """Give the tables of comparisons of two sides; those on real data only where `data` is given."""
    if data is not None:
        yield _testbed(data)
    yield _simulated(40 if quick else 400)


def _regressed(old: Sequence[Values], new: Sequence[Values], tolerance: float, *, paired: bool) -> bool:
    sides = [[list(one) for one in side] for side in (old, new)]
    return compare_samples(*sides, tolerance=tolerance, paired=paired).verdict == "regressed"


def _testbed(data: Path) -> Table:
    """Both orders of each benchmark's two sides, as they are and with the second slowed."""
    sides = [order for one in sources.testbed(data).values() for order in (one, one[::-1])]

    def row(name: str, found: dict[float, list[bool]]) -> list[str]:
        return [name, rate(sum(found[1.0]), len(sides)), *(share(found[factor]) for factor in _SLOWER)]

    ours = {f: [_regressed(a, [f * x for x in b], 0.01, paired=True) for a, b in sides] for f in (1.0, *_SLOWER)}
    rows = [row("compare_samples, paired, 1 %", ours)]
    for name, rule in SAMPLE_RULES.items():
        flat = [(np.concatenate(a), np.concatenate(b)) for a, b in sides]
        rows.append(row(name, {f: [rule(a, f * b) for a, b in flat] for f in (1.0, *_SLOWER)}))
    return Table(
        title="Interleaved pairs with known truth",
        header=["rule", "false alarms", "found at +2 %", "+5 %", "+10 %"],
        rows=rows,
        note=f"The same code twice, {len(sides)} comparisons: 21 benchmarks on three cloud machines, either side "
        "first; 15 pairs of one round. Slowed by multiplying one side. In brackets the 95 % upper bound.",
    )


def _simulated(trials: int) -> Table:
    """Runs that differ by chance, rounds within them that hardly do: what every tool meets and few look at."""
    rows = []
    for sigma, runs in product((0.01, 0.03, 0.10), (5, 10)):
        random = np.random.default_rng([int(1000 * sigma), runs])
        sides = [[_runs(random, sigma, runs) for _ in range(2)] for _ in range(trials)]
        for name in ("compare_samples, 5 %", *SAMPLE_RULES):
            found = {f: [_called(name, a, [f * x for x in b]) for a, b in sides] for f in (1.0, 1.05, 1.1, 1.2)}
            rows.append(
                [
                    f"{sigma:.0%}, {runs} a side",
                    name,
                    rate(sum(found[1.0]), trials),
                    *map(share, list(found.values())[1:]),
                ]
            )
    return Table(
        title="Two sets of runs",
        header=["spread between runs", "rule", "false alarms", "called at +5 %", "+10 %", "+20 %"],
        rows=rows,
        note=f"Simulated, {trials} trials each: logs of runs normal with that spread, 20 rounds a run within 1 %. "
        "The other rules pool all rounds, as their tools do. At +5 % the change is just the tolerance: no regression.",
    )


def _runs(random: np.random.Generator, sigma: float, runs: int) -> list[Values]:
    return [np.exp(random.normal(0, sigma) + random.normal(0, 0.01, 20)) for _ in range(runs)]


def _called(name: str, old: list[Values], new: list[Values]) -> bool:
    if name in SAMPLE_RULES:
        return SAMPLE_RULES[name](np.concatenate(old), np.concatenate(new))
    return _regressed(old, new, 0.05, paired=False)
