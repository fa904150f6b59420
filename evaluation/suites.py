"""Whole suites of unchanged code: how often any operation of them is called a regression, as a gate asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation import data as sources
from evaluation.table import Table, rate, share
from perf.judge.changes import holm, judge_changes, that_stand
from perf.record.run import Metric
from perf.record.summary import Figures, Operation, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evaluation.data import Values

_HISTORY = 20
_OPERATIONS = 60
_ALPHA = 0.01
_SLOWED = 1.5
_PROJECTS = ("satchecker", "safetensors")


def tables(data: Path | None, *, quick: bool) -> Iterator[Table]:
    """Give the table of suites; real ones only where `data` is given."""
    trials = 10 if quick else 200
    random = np.random.default_rng(60)
    suites = {f"simulated, spread {spread:.1%}": _simulated(random, spread) for spread in (0.013, 0.05)}
    if data is not None:
        suites |= {name: _aligned(sources.pytest_histories(data, name)) for name in _PROJECTS}
    yield Table(
        title="Whole suites",
        header=["suite", "operations", "new runs", "tolerance", "suites falsely failed", "one slowed by half, found"],
        rows=[
            [name, str(suite.shape[1]), str(new), f"{tolerance:.0%}", *_row(suite, new, tolerance, trials)]
            for name, suite in suites.items()
            for new in (1, 3)
            for tolerance in (0.05, 0.2)
        ],
        note=(
            f"{trials} suites each: {_HISTORY} runs and new ones, real or simulated, in random order, the same for all "
            "operations. A regression of any, as `invoke release-gate` judges by Holm at 99 %, fails the suite."
        ),
    )


def _simulated(random: np.random.Generator, spread: float) -> Values:
    """Return runs by operations: each differs by `spread`, and in one run of fifty all operations are disturbed."""
    noise = random.normal(0, spread, (400, _OPERATIONS))
    disturbed = random.random((400, 1)) < 0.02
    return np.exp(noise + disturbed * random.exponential(0.1, (400, _OPERATIONS)))


def _aligned(series: list[Values]) -> Values:
    """Return runs by operations, of the newest runs that all series have."""
    length = min(map(len, series))
    return np.stack([one[-length:] for one in series], axis=1)


def _row(suite: Values, new: int, tolerance: float, trials: int) -> list[str]:
    random = np.random.default_rng([new, int(100 * tolerance)])
    false, found = 0, []
    for _ in range(trials):
        start = random.integers(len(suite) - _HISTORY - new + 1)
        rows = random.permutation(suite[start : start + _HISTORY + new])
        false += bool(_regressed(rows, new, tolerance))
        slowed, one = rows.copy(), int(random.integers(suite.shape[1]))
        slowed[-new:, one] *= _SLOWED
        found.append(f"operation_{one}" in _regressed(slowed, new, tolerance))
    return [rate(false, trials), share(found)]


def _regressed(rows: Values, new: int, tolerance: float) -> set[str]:
    runs = [_run(number, row) for number, row in enumerate(rows)]
    history, current = runs[:-new], runs[-new:]
    changes = judge_changes(history[-1:], current, history[:-1], tolerance=tolerance, confidence=1 - _ALPHA)
    standing = that_stand(changes, _ALPHA, holm, at_each_run=True)
    return {one.operation.name for one in standing if one.verdict == "regressed"}


def _run(number: int, times: Values) -> RunSummary:
    names = [f"operation_{index}" for index in range(len(times))]
    return RunSummary(
        number=number,
        name=f"{number:04}",
        profile="prod",
        created="2026-11-25T00:00:00+00:00",
        commit=None,
        build="",
        verdict="passed",
        machine="",
        settings="",
        untimed=None,
        figures=[
            Figures(Operation("s", name, name, name, "latency", 1), {"median": Metric(float(time), "s", "lower")}, 30)
            for name, time in zip(names, times, strict=True)
        ],
    )
