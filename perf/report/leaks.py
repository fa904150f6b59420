"""What each call keeps, as a table: the verdict on each operation's memory, and where a leak comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.judge.leaks import INCONCLUSIVE, LEAKING, PYTHON, STABLE
from perf.measure.profiles import short_path
from perf.report.tables import Table
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.judge.leaks import GrowthVerdict
    from perf.record.run import Measurement

_MARKS = {STABLE: "✓", LEAKING: "✗", INCONCLUSIVE: "?"}
_SITES = 3


def leaks_table(judged: Sequence[tuple[Measurement, GrowthVerdict]]) -> Table:
    """Return one line for each operation whose growth was measured, and under them where leaks come from."""
    return Table(
        title="Memory per call",
        header=["", "service", "operation", "verdict", "keeps", "interval", "of", "peak", "gc pauses", "longest",
                "share", "calls"],
        rows=[_row(one, verdict) for one, verdict in judged],
        legend=(
            "keeps: what stays of each call, and where that lies with 99% confidence, of Python's allocations or of\n"
            "all the process's own memory; peak: what one call needs for a moment; share: of the time, in gc pauses"
        ),
        notes=[note for one, verdict in judged for note in _notes(one, verdict)],
    )  # fmt: skip


def _row(one: Measurement, verdict: GrowthVerdict) -> list[object]:
    growth, by = one.growth, verdict.by
    assert growth is not None  # noqa: S101 - only what has one is judged
    count, _, longest, share = growth.pauses
    return [
        _MARKS[verdict.verdict],
        one.origin.service,
        one.operation,
        verdict.verdict,
        format_quantity(by.per_call, "B"),
        f"{format_quantity(by.low, 'B')} … {format_quantity(by.high, 'B')}",
        by.memory,
        format_quantity(growth.peak, "B"),
        count,
        format_quantity(longest, "s"),
        format_quantity(100 * share, "%"),
        growth.calls * len(growth.rss),
    ]


def _notes(one: Measurement, verdict: GrowthVerdict) -> Iterator[str]:
    growth, name = one.growth, f"{one.origin.service} {one.operation}"
    assert growth is not None  # noqa: S101 - only what has one is judged
    if verdict.by.why:
        yield f"? {name}: {verdict.by.why}"
    if verdict.verdict == LEAKING and verdict.by.memory != PYTHON:
        yield f"✗ {name}: no line of Python's; it is memory that C code asked for by itself"
    elif verdict.verdict == LEAKING:
        for site in growth.sites[:_SITES]:
            size = format_quantity(site.size, "B")
            yield f"✗ {name}: {short_path(site.file)}:{site.line} +{size} a call in {site.blocks:.3g} blocks"
    for what, more in verdict.opened.items():
        yield f"? {name}: {more} more {what} than before, after {growth.calls * len(growth.rss)} calls and more"
