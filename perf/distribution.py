"""Percentiles by one stated method, used wherever a percentile is printed, saved or judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentile(values: Sequence[float], q: float) -> float:
    """Return the `q`-th percentile (0 to 100) of `values`, in their unit.

    Linear interpolation between order statistics: type 7 of Hyndman & Fan, "Sample quantiles in
    statistical packages", The American Statistician 50 (1996). Raises ValueError on no values.
    """
    return percentiles(values, (q,))[0]


def percentiles(values: Sequence[float], qs: Sequence[float]) -> list[float]:
    """Return several percentiles of the same values with one sort; see `percentile`."""
    import numpy as np

    if not len(values):
        raise ValueError("a percentile of no values does not exist")
    return [float(value) for value in np.percentile(values, qs, method="linear")]


def samples_needed(q: float) -> int:
    """Return the fewest samples of which the slowest has no weight in the `q`-th percentile.

    Between order statistics that takes 1 / (1 - q/100) + 1 samples: 3 for p50, 21 for p95, 101 for p99.
    """
    return round(100.0 / (100.0 - q)) + 1
