"""Up to how many tasks at once each operation scales, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.report.tables import Table
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.scaling import ScalingVerdict


def scaling_table(verdicts: Sequence[ScalingVerdict]) -> Table:
    """Return one line for each operation with steps of concurrency enough to fit a law to them."""
    return Table(
        title="Scaling",
        header=["service", "operation", "stops scaling at", "without one step", "alone", "contention", "coherency",
                "off by"],
        rows=[
            [
                one.service,
                one.operation,
                _at(one.stops_at, one.most),
                _others(one),
                format_quantity(one.scaling.rate_of_one, "1/s"),
                f"{one.scaling.contention:.2g}",
                f"{one.scaling.coherency:.2g}",
                format_quantity(100 * one.scaling.error, "%"),
            ]
            for one in verdicts
        ],
        legend=(
            "stops scaling: from so many tasks at once on twice as many bring less than a tenth more, by the\n"
            "universal scalability law fitted to the steps, and to all but one; alone: what one task does;\n"
            "contention: the share done one at a time; coherency: what tasks cost each other; off by: how far steps are"
        ),
    )  # fmt: skip


def _at(tasks: int | None, most: int) -> str:
    return f"scales to {most}" if tasks is None else str(tasks)


def _others(one: ScalingVerdict) -> str:
    if not one.others:
        return "-"
    found = [tasks for tasks in one.others if tasks is not None]
    ends = sorted({min(found), max(found)}) if found else []
    unending = [None] if len(found) < len(one.others) else []
    return " … ".join(_at(tasks, one.most) for tasks in [*ends, *unending])
