"""Real benchmark data from a folder: series of run-level times, and interleaved pairs with known truth."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Pairs = dict[str, tuple[list[Values], list[Values]]]


def sunpy(data: Path) -> list[Values]:
    """Return sunpy's four time series: asv on hosted runners, one value a commit, in seconds."""
    with gzip.open(data / "asv-sunpy-ghactions" / "values.csv.gz", "rt") as file:
        rows = [row for row in csv.reader(file) if ".time_" in row[0]]
    series = [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]
    return [one[np.isfinite(one)] for one in series]


def pytest_histories(data: Path, name: str, least: int = 100) -> list[Values]:
    """Return a project's pytest-benchmark series of at least so many runs, in seconds."""
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with gzip.open(data / f"gab-{name}" / "series.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            series[row["bench"]].append((int(row["date_ms"]), 1 / float(row["value"])))
    return [np.array([value for _, value in sorted(one)]) for one in series.values() if len(one) >= least]


def testbed(data: Path) -> Pairs:
    """Return the same code measured twice, interleaved: for each benchmark and machine 15 pairs of a round a side."""
    rounds: dict[str, dict[str, dict[str, Values]]] = defaultdict(lambda: defaultdict(dict))
    with (data / "fbs-testbed-ab" / "mb-main-main.csv").open() as file:
        for place, benchmark, version, path, _, seconds, *_ in csv.reader(file):
            machine, _, pair = place.partition("-")
            rounds[f"{path} {benchmark} {machine}"][pair][version] = np.array([float(seconds)])
    return {
        benchmark: tuple([pair[version] for pair in pairs.values()] for version in ("1", "2"))  # type: ignore[misc]
        for benchmark, pairs in rounds.items()
    }


def tigerbeetle(data: Path) -> list[float]:
    """Return a series whose maintainers name three changes, at 15 or 16, 71 and 97, and an outlier at 10."""
    return json.loads((data / "otava" / "tigerbeetle.json").read_text())["values"]  # type: ignore[no-any-return]
