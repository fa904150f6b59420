"""A new run against a history, and steps within one, beside the rules of other tools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from evaluation import data as sources
from evaluation.rules import HISTORY_RULES, seed_history
from evaluation.table import Table, rate, share
from perf import PerformanceBenchmark, RegressionDetector, change_points
from perf.judge.history import compare_to_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evaluation.data import Values

    Source = Callable[[np.random.Generator, int], Values]

_LENGTH = 30
_LATER = 6
_PROJECTS = ("microsoft-authentication-library-for-python", "safetensors", "satchecker")


def tables(data: Path | None, *, quick: bool) -> Iterator[Table]:
    """Give the tables of histories; those on real data only where `data` is given."""
    trials = 60 if quick else 2000
    real: dict[str, Source] = {}
    if data is not None:
        real["sunpy, hosted CI"] = _shuffled(sources.sunpy(data))
        real |= {name: _shuffled(sources.pytest_histories(data, name)) for name in _PROJECTS}
    for name, source in {**dict(list(real.items())[:1]), "simulated, spread 1.3 %": quiet}.items():
        yield _one_run(name, source, trials)
    yield _several_runs(real | {"simulated, spread 1.3 %": quiet}, trials)
    yield _steps(real | {"simulated, spread 1.3 %": quiet, "the same, depending by 0.3": dependent}, trials // 4)
    if data is not None:
        yield _known(sources.tigerbeetle(data))
    yield _detector(trials // 4)


def quiet(random: np.random.Generator, length: int) -> Values:
    """Return run-level times as of a desktop: within 1.3 %, one in fifty far too slow."""
    noise = random.normal(0, 0.013, length)
    return np.exp(np.where(random.random(length) < 0.02, random.exponential(0.1, length), noise))


def dependent(random: np.random.Generator, length: int) -> Values:
    """Return run-level times within 1.3 % of which each depends on the one before: correlated by 0.3."""
    steps = random.normal(0, 0.013, length)
    values = np.empty(length)
    values[0] = steps[0]
    for index in range(1, length):
        values[index] = 0.3 * values[index - 1] + steps[index] * np.sqrt(1 - 0.3**2)
    return np.exp(values)


def _shuffled(series: Sequence[Values]) -> Source:
    """Return a source of neighbouring values in random order: the noise of real runs, and no step."""

    def draw(random: np.random.Generator, length: int) -> Values:
        long_enough = [one for one in series if len(one) >= length]
        one = long_enough[random.integers(len(long_enough))]
        start = random.integers(len(one) - length + 1)
        return random.permutation(one[start : start + length])

    return draw


def _p_value(history: Values, new: Sequence[float], tolerance: float = 0.02) -> float:
    found = compare_to_history(list(history), list(new), tolerance=tolerance)
    return 1.0 if found.p_value is None else found.p_value


def _one_run(name: str, source: Source, trials: int) -> Table:
    random = np.random.default_rng(30)
    draws = [source(random, _LENGTH + 1) for _ in range(trials)]
    windows = [(one[:-1], float(one[-1])) for one in draws]
    p_values = {
        f: np.array([_p_value(history, [f * value]) for history, value in windows]) for f in (1, 1.05, 1.1, 1.2)
    }
    rows = [_row("ours, tolerance 2 %, confidence 99 %", {f: p < 0.01 for f, p in p_values.items()}, [])]
    for rule_name, rule in HISTORY_RULES.items():
        found = {f: np.array([rule(history, f * value) for history, value in windows]) for f in p_values}
        equal = np.quantile(p_values[1], found[1].mean(), method="lower")
        rows.append(_row(rule_name, found, [share(p_values[f] <= equal) for f in (1.05, 1.1, 1.2)]))
    return Table(
        title=f"One new run against {_LENGTH}: {name}",
        header=[
            "rule",
            "false alarms",
            "found at +5 %",
            "+10 %",
            "+20 %",
            "ours, with as many: +5 %",
            "+10 %",
            "+20 %",
        ],
        rows=rows,
        note=f"{trials} windows of {_LENGTH + 1} neighbouring runs in random order, the last one new. The last three "
        "columns: what ours finds when its confidence is set for as many false alarms as that rule gives.",
    )


def _row(name: str, found: Mapping[float, NDArray[np.bool_]], equal: list[str]) -> list[str]:
    hits = list(found.values())
    return [name, rate(int(np.sum(hits[0])), len(hits[0])), *map(share, hits[1:]), *(equal or ["", "", ""])]


def _several_runs(places: dict[str, Source], trials: int) -> Table:
    rows = []
    for name, source in places.items():
        for new in (1, 3):
            random = np.random.default_rng(new)
            draws = [source(random, _LENGTH + new) for _ in range(trials // 2)]
            verdicts = {
                f: [compare_to_history(list(one[:-new]), list(f * one[-new:]), tolerance=0.05).verdict for one in draws]
                for f in (1.0, 1.1, 1.2, 1.5)
            }
            hits = {f: [one == "regressed" for one in found] for f, found in verdicts.items()}
            passes = share([one == "passed" for one in verdicts[1.0]])
            rows.append(
                [name, str(new), rate(sum(hits[1.0]), len(draws)), *(share(hits[f]) for f in (1.1, 1.2, 1.5)), passes]
            )
    return Table(
        title="One new run, and three, at a tolerance of 5 %",
        header=[
            "history",
            "new runs",
            "false alarms",
            "found at +10 %",
            "+20 %",
            "+50 %",
            "passed when nothing changed",
        ],
        rows=rows,
        note="What is neither found nor passed is inconclusive: measure again, or compare the two builds interleaved.",
    )


def _steps(places: dict[str, Source], trials: int) -> Table:
    rows = []
    for name, source in places.items():
        for length in (30, 60, 100):
            random = np.random.default_rng(length)
            false = found = 0
            for _ in range(trials):
                values = source(random, length)
                false += bool(change_points(list(values)))
                values[-_LATER:] *= 1.1
                places_found = [one.index for one in change_points(list(values)) if one.ratio > 1]
                found += any(abs(index - (length - _LATER)) <= _LATER // 2 for index in places_found)
            rows.append([name, str(length), rate(false, trials), f"{found / trials:.0%}"])
    return Table(
        title="Steps in a history",
        header=["history", "runs", "a step where there is none", f"+10 % found with {_LATER} later runs"],
        rows=rows,
        note=f"`change_points` at a tolerance of 5 % and a confidence of 99 %, {trials} series each; found: within "
        "three runs of its place.",
    )


def _known(values: list[float]) -> Table:
    found = change_points(values)
    return Table(
        title="TigerBeetle's series",
        header=["found at", "level after / before"],
        rows=[[str(one.index), f"{one.ratio:.3f}"] for one in found],
        note="Its maintainers name changes at 15 or 16, at 71 and at 97, and an outlier at 10. The change at 97 "
        "is of 4 %, less than the tolerance of 5 %.",
    )


def _detector(trials: int) -> Table:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = []
    for sigma in (0.03, 0.10, 0.18):
        random = np.random.default_rng(int(100 * sigma))
        draws = [np.exp(random.normal(0, sigma, 21)) for _ in range(trials)]
        for name, detects in {"RegressionDetector()": _detects(start), "ratio to the mean > 1.2": seed_history}.items():
            found = {f: [detects(one[:-1], f * float(one[-1])) for one in draws] for f in (1.0, 1.3, 1.5, 2.0)}
            hits = list(found.values())
            rows.append([f"{sigma:.0%}", name, rate(sum(hits[0]), trials), *map(share, hits[1:])])
    return Table(
        title="The detector of the library",
        header=["spread", "rule", "false alarms", "found at +30 %", "+50 %", "+100 %"],
        rows=rows,
        note=f"Simulated, {trials} histories of 20 runs each, threshold 1.2, confidence 95 %.",
    )


def _detects(start: datetime) -> Callable[[Values, float], bool]:
    detector = RegressionDetector()

    def detects(history: Values, value: float) -> bool:
        saved = [
            PerformanceBenchmark(
                test_name="t",
                operation_type="o",
                timestamp=start + timedelta(days=day),
                metrics={"avg_operation_time": float(one)},
            )
            for day, one in enumerate(history)
        ]
        return bool(detector.detect_regression({"avg_operation_time": value}, saved)["regression_detected"])

    return detects
