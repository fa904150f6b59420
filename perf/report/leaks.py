"""What each call keeps, as a table: the verdict on each operation's memory, and where a leak comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.judge.leaks import INCONCLUSIVE, LEAKING, STABLE
from perf.measure.profiles import short_path
from perf.report.tables import Table
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.judge.leaks import GrowthVerdict, Slope
    from perf.record.run import Measurement

_MARKS = {STABLE: "✓", LEAKING: "✗", INCONCLUSIVE: "?"}
_SITES = 3


def leaks_table(judged: Sequence[tuple[Measurement, GrowthVerdict]]) -> Table:
    """Return one line for each operation whose growth was measured, and under them where leaks come from."""
    return Table(
        title="Memory per call",
        header=["", "service", "operation", "verdict", "Python keeps", "interval", "process keeps", "interval", "peak",
                "calls", "gc pauses", "total", "longest", "share"],
        rows=[_row(one, verdict) for one, verdict in judged],
        legend=(
            "keeps: what stays of each call, and where that lies with 99% confidence, of what Python allocates and of\n"
            "all the process's own memory; peak: what one call needs for a moment; share: of the time, in gc pauses"
        ),
        notes=[note for one, verdict in judged for note in _notes(one, verdict)],
    )  # fmt: skip


def _row(one: Measurement, verdict: GrowthVerdict) -> list[object]:
    growth = one.growth
    assert growth is not None  # noqa: S101 - only what has one is judged
    count, total, longest, share = growth.pauses
    return [
        _MARKS[verdict.verdict],
        one.origin.service,
        one.operation,
        verdict.verdict,
        *(text for slope in verdict.slopes for text in _keeps(slope)),
        format_quantity(growth.peak, "B"),
        growth.calls * len(growth.rss),
        count,
        format_quantity(total, "s"),
        format_quantity(longest, "s"),
        format_quantity(100 * share, "%"),
    ]


def _keeps(slope: Slope) -> list[str]:
    return [
        format_quantity(slope.per_call, "B"),
        f"{format_quantity(slope.low, 'B')} … {format_quantity(slope.high, 'B')}",
    ]


def _notes(one: Measurement, verdict: GrowthVerdict) -> Iterator[str]:
    growth, name = one.growth, f"{one.origin.service} {one.operation}"
    assert growth is not None  # noqa: S101 - only what has one is judged
    if verdict.by.why:
        yield f"? {name}: {verdict.by.why}"
    traced, _ = verdict.slopes
    if verdict.verdict == LEAKING and traced.verdict == STABLE:
        yield f"✗ {name}: no line of Python's; it is memory that C code asked for by itself"
    elif verdict.verdict == LEAKING:
        for site in growth.sites[:_SITES]:
            size = format_quantity(site.size, "B")
            caller = f", called from {short_path(site.caller)}" if site.caller else ""
            yield f"✗ {name}: {short_path(site.file)}:{site.line} +{size} a call in {site.blocks:.3g} blocks{caller}"
    for what, more in verdict.opened.items():
        yield f"? {name}: {more} more {what} than before, after {growth.calls * len(growth.rss)} calls and more"
