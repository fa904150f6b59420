"""Saved runs and the history of each operation, as a person reads them in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.report.tables import Table, as_text, plain
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from perf.judge.series import Series, Step
    from perf.record.baselines import Promotion
    from perf.record.summary import RunSummary

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def render_runs(runs: Sequence[RunSummary], baselines: Collection[str]) -> str:
    """Return a line for each run, oldest first; those whose names are in `baselines` are marked."""
    table = Table(
        title="Saved runs",
        header=["", "number", "created", "profile", "verdict", "operations", "khive", "suite"],
        rows=[
            ["*" if one.name in baselines else "", one.number, one.created, one.profile, one.verdict,
             len(one.figures), one.build, one.commit or "no commit"]
            for one in runs
        ],
        legend="* the baseline of its profile",
    )  # fmt: skip
    return as_text(table) or "No run is saved."


def render_series(series: Sequence[Series]) -> str:
    """Return a sparkline for each operation, oldest run left, and below it each step with its commits."""
    if not series:
        return "No operation of that name was measured."
    width = max(len(_name(one)) for one in series)
    lines = [line for one in series for line in _lines(one, width)]
    legend = (
        f"lowest to highest of the last {_WIDTH} runs as {_BLOCKS[0]} to {_BLOCKS[-1]}, then the newest; "
        "a step lies in one of the commits after the first named and up to the second"
    )
    return plain_lines(["History", *lines, legend])


def _lines(series: Series, width: int) -> list[str]:
    newest = f"{format_quantity(series.values[-1], series.unit)} {series.metric} (n={len(series.values)})"
    head = f"{_name(series):{width}}  {sparkline(series.values[-_WIDTH:])}  {newest}"
    return [head, *(f"{'':{width}}  {_step(one)}" for one in series.steps)]


def _name(series: Series) -> str:
    at_once = f", {series.operation.concurrency} at once" if series.operation.kind == "load" else ""
    return f"{series.operation.service} {series.operation.name}{at_once}"


def _step(step: Step) -> str:
    word = f"{step.worse:.2f} times worse" if step.worse > 1 else f"{1 / step.worse:.2f} times better"
    return f"{'✗' if step.worse > 1 else '+'} {word} after {_place(step.before)}, up to {_place(step.after)}"


def _place(run: RunSummary) -> str:
    return f"run {run.number} ({run.build}, suite {run.commit or 'no commit'})"


def sparkline(values: Sequence[float]) -> str:
    """Return a character for each of `values`, from the lowest ▁ to the highest █; all alike are drawn low."""
    low, high = min(values), max(values)
    steps = [0 if high == low else int((value - low) / (high - low) * (len(_BLOCKS) - 1) + 0.5) for value in values]
    return "".join(_BLOCKS[step] for step in steps)


def plain_lines(lines: Sequence[str]) -> str:
    """Return lines of which none can hold a line break or move the cursor."""
    return "\n".join(plain(line) for line in lines)


def render_promotions(promotions: Sequence[Promotion]) -> str:
    """Return a line for each promotion, oldest first, with who was promoted, when and why."""
    table = Table(
        title="Baselines",
        header=["profile", "run", "verdict", "promoted", "reason", ""],
        rows=[
            [one.profile, one.run, one.verdict, one.promoted, one.reason, "forced" if one.forced else ""]
            for one in promotions
        ],
    )
    return as_text(table) or 'No run was promoted: `invoke baseline --promote latest --reason "…"`.'
