"""A table of results, with the uncertainty of every rate in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a title, and a note that says what they mean."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    def render(self, style: str) -> str:
        """Return the table in a style of tabulate's: "simple", or "github" for Markdown."""
        title = f"### {self.title}" if style == "github" else self.title
        return "\n\n".join([title, tabulate(self.rows, self.header, tablefmt=style, disable_numparse=True), self.note])


def bound(k: int, n: int) -> float:
    """Return the one-sided 95 % upper bound of a rate seen `k` times in `n`: Clopper and Pearson (1934)."""
    from scipy.special import betaincinv

    return 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.95))


def rate(k: int, n: int) -> str:
    """Return a rate with its upper bound: "0.4 % (≤ 0.7 %)"."""
    return f"{k / n:.1%} (≤ {bound(k, n):.1%})"


def share(hits: Collection[Any]) -> str:
    """Return the share of `hits` in whole percents."""
    return f"{sum(map(bool, hits)) / len(hits):.0%}"
