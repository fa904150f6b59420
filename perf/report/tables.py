"""A table with its legend, and the two ways it is written: for a terminal, and as Markdown."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tabulate import tabulate

from perf.judge.limits import BROKEN, INCONCLUSIVE, KNOWN_FAULT, MISSING, NOT_SELECTED, PASSED
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.limits import LimitVerdict
    from perf.judge.thresholds import Limit

MARKS = {PASSED: "✓", BROKEN: "✗", INCONCLUSIVE: "?", MISSING: "?", NOT_SELECTED: "·", KNOWN_FAULT: "·"}

_RIGHT = {
    "actual", "n", "at once", "in flight", "throughput", "p50", "p95", "p99", "failed", "calls", "growth",
    "planned", "sent", "done", "p99.9", "in service", "late", "loop lag", "rate", "p95 there",
    "alone", "contention", "coherency", "off by", "Python keeps", "process keeps", "peak", "gc pauses", "total",
    "longest", "share",
    "kept per call", "freed by gc", "gc pause", "value", "old", "new", "change", "sees", "geometric mean", "runs",
}  # fmt: skip
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#@$])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under a title; `notes` are lines below the legend. Without rows it is written as nothing."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    legend: str = ""
    notes: Sequence[str] = ()


def as_text(table: Table) -> str:
    """Return the table for a terminal."""
    if not table.rows:
        return ""
    rows = [[plain(str(cell)) for cell in row] for row in table.rows]
    body = tabulate(rows, table.header, tablefmt="simple", colalign=_align(table), disable_numparse=True)
    return "\n".join(part for part in (table.title, body, table.legend, *map(plain, table.notes)) if part)


def as_markdown(table: Table) -> str:
    """Return the table as GitHub's Markdown, in which nothing a name holds can be markup."""
    if not table.rows:
        return ""
    rows = [[escape(str(cell)) for cell in row] for row in table.rows]
    body = tabulate(rows, table.header, tablefmt="github", colalign=_align(table), disable_numparse=True)
    notes = "\n".join(f"- {escape(note)}" for note in table.notes)
    return "\n\n".join(part for part in (f"### {table.title}", body, escape(table.legend), notes) if part)


def plain(text: str) -> str:
    """Return `text` on one line, without what would move a terminal's cursor."""
    return _UNPRINTABLE.sub(" ", text)


def escape(text: str) -> str:
    """Return `text` as Markdown that shows just that: no markup, no HTML, no cell or line of its own."""
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(text), quote=False))


def _align(table: Table) -> list[str]:
    return ["right" if name in _RIGHT else "left" for name in table.header]


def limits_table(verdicts: Sequence[LimitVerdict], profile: str) -> Table:
    """Return the limits that were judged: rule and actual on one line, and where each was set."""
    return Table(
        title=f"Limits of profile {profile}",
        header=["", "service", "limit", "rule", "actual", "n", "verdict", "from"],
        rows=[
            [MARKS[one.verdict], one.limit.service, one.limit.name, rule(one.limit), actual(one), one.samples or "",
             one.verdict, one.limit.source]
            for one in verdicts
            if one.verdict != NOT_SELECTED
        ],
        legend=(
            "p95 of operations measured one at a time, by linear interpolation (type 7), of the worst benchmark; "
            "throughput: the\nlowest of all steps; growth: the largest of all memory tests. "
            "✓ held  ✗ broken  ? no verdict  · not judged"
        ),
        notes=[
            f"{MARKS[one.verdict]} {one.limit.service}.{one.limit.name}: {one.reason}"
            for one in verdicts
            if one.verdict in {INCONCLUSIVE, MISSING, KNOWN_FAULT}
        ],
    )  # fmt: skip


def rule(limit: Limit) -> str:
    """Return a limit's rule in words: "p95 ≤ 5 ms"."""
    sign = "≥" if limit.statistic in {"throughput", "count"} else "≤"
    return f"{limit.statistic} {sign} {format_quantity(limit.bound, _unit(limit))}"


def actual(verdict: LimitVerdict) -> str:
    """Return what a limit was judged on, and where that was measured."""
    if verdict.actual is None:
        return "-"
    figure = format_quantity(verdict.actual, _unit(verdict.limit))
    return f"{figure} ({verdict.where})" if verdict.where not in {"", verdict.limit.operation} else figure


def _unit(limit: Limit) -> str:
    return {"growth": "B", "per operation": "B", "throughput": "1/s", "overhead": "1", "count": "1"}.get(
        limit.statistic, "s"
    )
