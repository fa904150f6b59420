"""Is one side slower than the other by more than a tolerance? An interval, the smallest change seen, and one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED = "passed"
REGRESSED = "regressed"
IMPROVED = "improved"
INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What became of one comparison, with its evidence.

    `ratio` is current / baseline; `low` and `high` are its one-sided bounds, each at the confidence asked for;
    `smallest_detectable` is the smallest relative change that would have been seen nine times in ten (0.02 is 2 %);
    `p_value` is the chance of such a difference were the true change just the tolerance (small: regressed). Each
    is None where it cannot be computed. `warnings` say why, and what to do next.
    """

    verdict: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    smallest_detectable: float | None = None
    p_value: float | None = None
    warnings: tuple[str, ...] = ()


def compare_samples(
    baseline: Sequence[Sequence[float]],
    current: Sequence[Sequence[float]],
    *,
    tolerance: float = 0.05,
    confidence: float = 0.99,
    paired: bool = False,
    higher_is_better: bool = False,
) -> Comparison:
    """Compare two sides; each is a sequence of replicates (runs or pairs), each replicate a sequence of round times."""
    raise NotImplementedError
