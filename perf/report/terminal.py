"""The report of a run as a person reads it in a terminal: limits first, one plain sentence last."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from perf.distribution import samples_needed
from perf.record.environment import NAMED_PACKAGES
from perf.report.history import sparkline
from perf.report.leaks import leaks_table
from perf.report.scaling import scaling_table
from perf.report.tables import Table, as_text, limits_table
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perf.judge.leaks import GrowthVerdict
    from perf.judge.limits import LimitVerdict
    from perf.judge.scaling import ScalingVerdict
    from perf.judge.verdict import RunVerdict
    from perf.record.run import Failure, Measurement, Run

_KINDS = {"not offered": "·", "known fault": "·", "rerun": "?"}
_BAR_WIDTH = 20
_RAREST = 99.9
_WIDTH = 118


def render(
    run: Run,
    limits: Sequence[LimitVerdict],
    verdict: RunVerdict,
    leaks: Sequence[tuple[Measurement, GrowthVerdict]] = (),
    scalings: Sequence[ScalingVerdict] = (),
) -> str:
    """Return the report of `run`, whose measurements include the pytest-benchmark ones."""
    parts = [
        render_environment(run),
        as_text(limits_table(limits, run.profile)),
        as_text(_loads([one for one in run.measurements if one.kind == "load"])),
        as_text(scaling_table(scalings)),
        as_text(_open_loads([one for one in run.measurements if one.kind == "open load"])),
        as_text(_knees([one for one in run.measurements if one.kind == "knee"])),
        _errors(run.measurements),
        _memory([one for one in run.measurements if one.kind == "memory"]),
        as_text(leaks_table(leaks)),
        _custom(run.measurements),
        _subjects(run.measurements),
        _failures(run.failures),
        verdict.sentence,
    ]
    return "\n\n".join(part for part in parts if part)


def render_environment(run: Run) -> str:
    """Return what was really measured, and where: builds, commits, servers, machine."""
    environment = run.environment
    machine, suite, packages = environment["machine"], environment["suite"], environment["packages"]
    named = [f"{name} {packages[name]}" for name in NAMED_PACKAGES if name in packages]
    lines = [
        f"measured  {' · '.join([_khive(environment['khive']), *named])}",
        f"against   {' · '.join(environment['services'])}" if environment["services"] else "",
        f"by        {' · '.join([_suite(suite), f'profile {run.profile}', run.created])}",
        f"on        {' · '.join([machine['node'], _hardware(machine), machine['system'], environment['python']])}",
        *_effort(run.settings),
    ]
    return "\n".join(line for line in lines if line)


def _effort(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return how hard the run measured, a line for each place where that was set."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for name, setting in settings.items():
        by_source[setting["source"]].append(f"{name.partition('.')[2]} {setting['value']}")
    lines = [f"set by    {source}: {', '.join(values)}" for source, values in by_source.items()]
    return [textwrap.fill(line, _WIDTH, subsequent_indent=" " * 10) for line in lines]


def _suite(suite: Mapping[str, str | None]) -> str:
    return f"suite {suite['version']} at {suite['commit'] or 'no commit'}"


def _hardware(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpus']} × {machine['cpu']} · {format_quantity(machine['memory_bytes'], 'B')}"


def _khive(khive: dict[str, str | None] | None) -> str:
    if khive is None:
        return "no khive"
    commit = f" at {khive['commit']}" if khive["commit"] else ""
    return f"khive {khive['version']} ({khive['origin']}{commit})"


def _loads(measurements: Sequence[Measurement]) -> Table:
    rows = [row for group in _by_operation(measurements) for row in _load_rows(group)]
    header = [
        "service",
        "operation",
        "category",
        "at once",
        "in flight",
        "throughput",
        "",
        "p50",
        "p95",
        "p99",
        "failed",
    ]
    legend = (
        "at once: tasks; in flight: the most operations under way at one moment, 1 where they never give way;\n"
        "throughput: operations done per second; the bar is its share of the best step; times of done operations"
    )
    return Table(title="Load", header=header, rows=rows, legend=legend, notes=_warnings(measurements))


def _open_loads(measurements: Sequence[Measurement]) -> Table:
    header = ["service", "operation", "planned", "sent", "done", "p50", "p95", "p99", "p99.9", "over time",
              "in service", "late", "loop lag", "failed"]  # fmt: skip
    rows = [
        [
            one.origin.service, one.operation, *_shown(one, "planned_rate", "rate", "throughput"),
            *_figures(one, "p50", "p95", "p99"), *(_figures(one, "p99_9") if _enough(one) else ["-"]), _course(one),
            *_shown(one, "p99_service_time", "p99_lateness", "p99_loop_lag"), _failed(one),
        ]
        for one in measurements
    ]  # fmt: skip
    return Table(
        title="Load that arrives at a rate",
        header=header,
        rows=rows,
        legend=(
            "planned, sent, done: operations per second; p50 … p99.9: response times from the intended start, so that\n"
            "a queue counts; over time: the longest of them, moment by moment; in service: p99 from the start; late,\n"
            "loop lag: p99 of how late operations were started, and of how late timers fired"
        ),
        notes=_warnings(measurements),
    )


def _course(one: Measurement) -> str:
    """Draw the longest response time of each moment of a load; a space where nothing that succeeded was due."""
    size = math.ceil(len(one.series) / _BAR_WIDTH) or 1
    parts = [one.series[start : start + size] for start in range(0, len(one.series), size)]
    longest = [max((moment["max"] for moment in part if moment["max"] is not None), default=None) for part in parts]
    known = [value for value in longest if value is not None]
    drawn = iter(sparkline(known) if known else "")
    return "".join(" " if value is None else next(drawn) for value in longest)


def _knees(measurements: Sequence[Measurement]) -> Table:
    return Table(
        title="Highest rate that held",
        header=["service", "operation", "rate", "p95 there", "above it"],
        rows=[
            [
                one.origin.service,
                one.operation,
                *_shown(one, "highest_rate"),
                _p95_at(one, one.metrics["highest_rate"].value),
                one.warnings[0] if one.warnings else "nothing broke",
            ]
            for one in measurements
        ],
        legend="operations per second, doubled until a limit broke twice in a row, then narrowed to within a tenth",
    )


def _p95_at(one: Measurement, rate: float) -> str:
    held = [step["p95_response_time"] for step in one.steps if step["rate"] == rate and not step["broken"]]
    return format_quantity(held[0], "s") if held and held[0] is not None else "-"


def _warnings(measurements: Sequence[Measurement]) -> list[str]:
    return [f"? {one.origin.service} {one.operation}: {text}" for one in measurements for text in one.warnings]


def _enough(one: Measurement) -> bool:
    return one.metrics["successful_operations"].value >= samples_needed(_RAREST)


def _shown(one: Measurement, *names: str) -> list[str]:
    metrics = [one.metrics.get(name) for name in names]
    return [format_quantity(metric.value, metric.unit) if metric else "-" for metric in metrics]


def _errors(measurements: Sequence[Measurement]) -> str:
    lines = [
        f"✗ {one.origin.service} {one.operation}, {one.concurrency} at once: "
        f"{', '.join(_error(one, name, count) for name, count in one.errors.items())}"
        for one in measurements
        if one.errors
    ]
    return "\n".join(["Failed operations", *lines]) if lines else ""


def _error(one: Measurement, name: str, count: int) -> str:
    sample = one.error_samples.get(name)
    return f"{count} × {name}{f', such as {sample}' if sample else ''}"


def _by_operation(measurements: Sequence[Measurement]) -> Iterator[list[Measurement]]:
    def key(one: Measurement) -> tuple[str, str, str]:
        return one.origin.service, one.origin.category, one.operation

    for _, group in groupby(sorted(measurements, key=lambda one: (*key(one), one.concurrency)), key):
        yield list(group)


def _load_rows(group: Sequence[Measurement]) -> Iterator[list[object]]:
    throughputs = [one.metrics["throughput"].value if "throughput" in one.metrics else 0.0 for one in group]
    best = max(throughputs) or 1.0
    for one, throughput in zip(group, throughputs, strict=True):
        bar = "█" * round(_BAR_WIDTH * throughput / best)
        yield [
            one.origin.service, one.operation, one.origin.category, one.concurrency, _in_flight(one),
            format_quantity(throughput, "1/s"), bar, *_figures(one, "p50", "p95", "p99"),
            _failed(one),
        ]  # fmt: skip


def _in_flight(one: Measurement) -> str:
    return f"{one.metrics['max_in_flight'].value:g}" if "max_in_flight" in one.metrics else "-"


def _figures(one: Measurement, *names: str) -> list[str]:
    return _shown(one, *(f"{name}_response_time" for name in names))


def _failed(one: Measurement) -> str:
    return format_quantity(100 * one.metrics["error_rate"].value, "%") if "error_rate" in one.metrics else "-"


def _memory(measurements: Sequence[Measurement]) -> str:
    names = ("operations", "memory_growth", "memory_per_operation", "memory_freed_by_gc", "gc_pause")
    rows = [
        [one.origin.service, one.operation]
        + [format_quantity(one.metrics[name].value, one.metrics[name].unit) for name in names]
        for one in measurements
    ]
    header = ["service", "operation", "calls", "growth", "kept per call", "freed by gc", "gc pause"]
    legend = "growth: resident memory after the calls less before; kept per call: what remains after garbage collection"
    return f"{_table('Memory', header, rows)}\n{legend}" if rows else ""


def _custom(measurements: Sequence[Measurement]) -> str:
    rows = [
        [one.origin.service, one.operation, name, _values(values)]
        for one in measurements
        for name, values in one.custom.items()
    ]
    return _table("Other figures", ["service", "recorded by", "figure", "value"], rows) if rows else ""


def _values(values: Sequence[Any]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        return f"{len(values)} values"
    mean = format_quantity(sum(numbers) / len(numbers), "1")
    return mean if len(numbers) == 1 else f"{mean} (mean of {len(numbers)})"


def _subjects(measurements: Sequence[Measurement]) -> str:
    rows = sorted({(one.origin.service, one.operation, one.subject) for one in measurements if one.kind != "process"})
    return _table("What was measured", ["service", "operation", "subject"], [list(row) for row in rows]) if rows else ""


def _failures(failures: Sequence[Failure]) -> str:
    """List what gave no figure, the tests of one service with one reason together."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in failures:
        groups[one.kind, one.origin.service, one.reason].append(one.origin.test.rpartition("::")[2])
    lines = [
        f"{_KINDS.get(kind, '✗')} {service}, {kind}: {reason}\n    {', '.join(tests)}"
        for (kind, service, reason), tests in groups.items()
    ]
    return "\n".join(["Not measured", *lines]) if lines else ""


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return as_text(Table(title=title, header=header, rows=rows))
