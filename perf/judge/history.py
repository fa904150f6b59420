"""What a history of runs says: where its level changed, and whether new runs are slower than its present level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.comparison import Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePoint:
    """A step: `index` is the first value at the new level, `ratio` the new level / the old one."""

    index: int
    ratio: float


def change_points(values: Sequence[float], *, tolerance: float = 0.05, confidence: float = 0.99) -> list[ChangePoint]:
    """Return where the level of `values` (one a run, in order) stepped by more than `tolerance`."""
    raise NotImplementedError


def compare_to_history(
    history: Sequence[float],
    current: Sequence[float],
    *,
    tolerance: float = 0.05,
    confidence: float = 0.99,
    higher_is_better: bool = False,
) -> Comparison:
    """Judge one or more new run-level values against the present level of a history of run-level values."""
    raise NotImplementedError
