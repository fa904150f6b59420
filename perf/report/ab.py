"""What a comparison of two builds has beside its changes: sentinels, likely causes, instruction counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perf.report.tables import Table
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perf.judge.comparison import Comparison
    from perf.record.ab import PairedRun

Sentinels = tuple["Comparison", "Comparison"] | None
"""What became of the baseline against itself, and against itself slowed; None where neither was measured."""


def tables_of(run: PairedRun, sentinels: Sentinels) -> list[Table]:
    """Return the evidence of a comparison that its changes do not hold."""
    return [_sentinels(run, sentinels), _causes(run), _instructions(run)]


def as_data(run: PairedRun, sentinels: Sentinels) -> dict[str, Any]:
    """Return the same as data, for the JSON report: times are seconds."""
    return {
        "baseline": run.baseline.spec,
        "current": run.current.spec,
        "seconds": run.seconds,
        "sentinels": [
            {"slowed_by": slowed_by, "verdict": one.verdict, "low": one.low, "high": one.high}
            for slowed_by, one in _watched(run, sentinels)
        ],
        "causes": msgspec.to_builtins(run.causes),
        "instructions": msgspec.to_builtins(run.instructions),
    }


def _watched(run: PairedRun, sentinels: Sentinels) -> list[tuple[float, Comparison]]:
    if sentinels is None or run.sentinels is None:
        return []
    return list(zip((0.0, run.sentinels.slowed_by), sentinels, strict=True))


def _sentinels(run: PairedRun, sentinels: Sentinels) -> Table:
    return Table(
        title="Sentinels",
        header=["", "compared", "must be", "change", "interval", "n", "verdict"],
        rows=[
            [
                "✓" if one.verdict == expected else "✗",
                "the baseline with itself" + (f", slowed by {slowed_by:.1%}" if slowed_by else ""),
                expected,
                "-" if one.ratio is None else f"{one.ratio - 1:+.1%}",
                "-" if one.low is None or one.high is None else f"{one.low - 1:+.1%} … {one.high - 1:+.1%}",
                len(pairs),
                one.verdict,
            ]
            for (slowed_by, one), expected, pairs in zip(
                _watched(run, sentinels), ("passed", "regressed"), _pairs(run), strict=False
            )
        ],
        legend=f"the same code in two processes ({', '.join(run.sentinels.operations)})" if run.sentinels else "",
    )


def _pairs(run: PairedRun) -> Sequence[Sequence[object]]:
    return (run.sentinels.same, run.sentinels.slowed) if run.sentinels else ()


def _causes(run: PairedRun) -> Table:
    return Table(
        title="Where the time went",
        header=["operation", "function", "where", "old", "new", "grew by"],
        rows=[
            [cause.operation.name, one.function, f"{one.file}:{one.line}", format_quantity(one.before, "s"),
             format_quantity(one.after, "s"), format_quantity(one.after - one.before, "s")]
            for cause in run.causes
            for one in cause.grown
        ],
        legend="own time per call of the operation, under cProfile, which itself takes time; the most grown first",
        notes=[f"{cause.operation.name}: {' and '.join(cause.profiles)}" for cause in run.causes],
    )  # fmt: skip


def _instructions(run: PairedRun) -> Table:
    return Table(
        title="Instructions per call",
        header=["service", "operation", "old", "new", "change"],
        rows=[
            [one.operation.service, one.operation.name, f"{one.before:,.0f}", f"{one.after:,.0f}",
             f"{one.after / one.before - 1:+.2%}" if one.before else "-"]
            for one in run.instructions
        ],
        legend="by callgrind, start-up subtracted; blind to waiting, locks and caches, so it is no verdict",
    )  # fmt: skip


def record_of(runs: Iterable[tuple[str, PairedRun, Sentinels]], totals: Sequence[str]) -> Table:
    """Return how the sentinels of all saved comparisons fared; `totals` are lines on what that amounts to."""
    return Table(
        title="Sentinels of all comparisons",
        header=["comparison", "tolerance", "with itself", "with itself slowed", "by"],
        rows=[
            [
                name,
                f"{run.tolerance:.1%}",
                *([one.verdict for one in sentinels] if sentinels else ["not measured"] * 2),
                f"{run.sentinels.slowed_by:.1%}" if run.sentinels else "-",
            ]
            for name, run, sentinels in runs
        ],
        legend="the baseline with itself must pass, with itself slowed must be regressed; else the comparison is void",
        notes=totals,
    )
