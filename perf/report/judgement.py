"""A judgement as people read it: limits first, then every change with its evidence, one plain sentence last."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from perf.judge.changes import MISSING, NEW, NOT_COMPARABLE, service_means
from perf.judge.comparison import IMPROVED, INCONCLUSIVE, PASSED, REGRESSED
from perf.report.tables import Table, as_markdown, as_text, escape, limits_table, plain
from perf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.judge.changes import Change
    from perf.judge.gate import Judgement

_MARKS = {PASSED: "✓", IMPROVED: "+", REGRESSED: "✗", INCONCLUSIVE: "?", MISSING: "?", NOT_COMPARABLE: "?", NEW: "·"}
_CHANGED = {REGRESSED, IMPROVED, NEW, MISSING, NOT_COMPARABLE}
_NAMED = 4
_WIDE_OPEN = 10.0


def render_text(
    judgement: Judgement, *, only_changed: bool = False, tables: Sequence[Table] = (), notes: Sequence[str] = ()
) -> str:
    """Return the judgement for a terminal; `only_changed` leaves out what passed and what is not known.

    `tables` are further evidence; `notes` lines to print before the verdict, such as which files were written.
    """
    shown = _shown(judgement, only_changed=only_changed)
    changes = changes_table(shown, judgement.confidence, judgement.replicates)
    parts = [
        "\n".join(map(plain, _sides(judgement))),
        as_text(limits_table(judgement.limits, judgement.profile)),
        as_text(changes) or "No operation changed.",
        as_text(_means_table(judgement.changes)),
        *map(as_text, tables),
        "\n".join(
            plain(line) for line in _listed("Differs between the two, and may be the cause", judgement.differences)
        ),
        "\n".join(plain(line) for line in _listed("Note", judgement.warnings)),
        plain(judgement.verdict.sentence),
        plain(_next_step(judgement)),
        "\n".join(map(plain, notes)),
        f"verdict: {judgement.verdict.word}",
    ]
    return "\n\n".join(part for part in parts if part)


def render_markdown(judgement: Judgement, *, only_changed: bool = False, tables: Sequence[Table] = ()) -> str:
    """Return the judgement as Markdown, the verdict first, what did not change folded away."""
    changed, everything = (
        as_markdown(changes_table(changes, judgement.confidence, judgement.replicates))
        for changes in (_shown(judgement, only_changed=True), judgement.changes)
    )
    parts = [
        f"## khive performance: {judgement.verdict.word}",
        escape(judgement.verdict.sentence),
        escape(_next_step(judgement)),
        "  \n".join(map(escape, _sides(judgement))),
        as_markdown(limits_table(judgement.limits, judgement.profile)),
        changed or "No operation changed.",
        as_markdown(_means_table(judgement.changes)),
        *map(as_markdown, tables),
        "\n".join(map(escape, _listed("Differs between the two, and may be the cause", judgement.differences))),
        "\n".join(map(escape, _listed("Note", judgement.warnings))),
        "" if only_changed else f"<details><summary>All operations</summary>\n\n{everything}\n\n</details>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sides(judgement: Judgement) -> list[str]:
    history = f", and {judgement.history} before it" if judgement.history else ""
    return [
        f"baseline  {_few(judgement.baseline)}{history}",
        f"current   {_few(judgement.current)}",
        f"asked     slower by more than {judgement.tolerance:.1%}, at a confidence of {judgement.confidence:.1%}",
    ]


def _next_step(judgement: Judgement) -> str:
    return f"What would settle it: {judgement.next_step}" if judgement.next_step else ""


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"- {line}" for line in lines)] if lines else []


def _few(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more


def _shown(judgement: Judgement, *, only_changed: bool) -> Sequence[Change]:
    return changed(judgement) if only_changed else judgement.changes


def changed(judgement: Judgement) -> list[Change]:
    """Return the changes but for what passed and what is not known."""
    return [one for one in judgement.changes if one.verdict in _CHANGED]


def changes_table(changes: Sequence[Change], confidence: float, replicates: str = "runs") -> Table:
    """Return every change with its evidence, service by service, and below them why some have no verdict."""
    return Table(
        title="Changes",
        header=["", "service", "operation", "metric", "old", "new", "change", "interval", "sees", "n", "verdict"],
        rows=[_row(one) for one in sorted(changes, key=lambda one: one.operation.service)],
        legend=(
            f"old, new: medians of n {replicates} each; change: new against old; interval: where it lies with "
            f"{confidence:.0%} confidence on either side;\n"
            "sees: the smallest change that would have been seen nine times in ten; "
            "times and memory: lower is better, throughput: higher.\n"
            "✓ passed  ✗ regressed  + improved  ? no verdict  · new"
        ),
        notes=_reasons(changes),
    )


def _row(change: Change) -> list[object]:
    operation, evidence = change.operation, change.comparison
    at_once = f", {operation.concurrency} at once" if operation.kind == "load" else ""
    interval = _interval(evidence.low, evidence.high) if evidence else "-"
    sees = evidence.smallest_detectable if evidence else None
    runs = f"{change.old_runs}, {change.new_runs}"
    return [
        _MARKS[change.verdict], operation.service, f"{operation.name}{at_once}", change.metric,
        _figure(change.old, change.unit), _figure(change.new, change.unit),
        "-" if change.ratio is None else f"{change.ratio - 1:+.1%}",
        interval, "-" if sees is None else _percent(sees).removeprefix("+"), runs, change.verdict,
    ]  # fmt: skip


def change_in_words(change: Change) -> str:
    """Return one change in a sentence: which operation, from what to what, and how much worse that is."""
    operation = change.operation
    at_once = f" at {operation.concurrency} at once" if operation.kind == "load" else ""
    figures = f"{_figure(change.new, change.unit)} {change.metric}, was {_figure(change.old, change.unit)}"
    worse = "" if change.worse is None else f", {change.worse:.2f} times worse"
    return f"{operation.service} {operation.name}{at_once} ({figures}{worse})"


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else format_quantity(value, unit)


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{_percent(low - 1)} … {_percent(high - 1)}"


def _percent(change: float) -> str:
    """Return a relative change in percents; what few runs leave wide open is not written out."""
    return f"{change:+.1%}" if change < _WIDE_OPEN else f"> {_WIDE_OPEN:.0%}"


def _reasons(changes: Sequence[Change]) -> list[str]:
    """Return why there is no plain verdict, the operations of one reason together."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in changes:
        if one.reason:
            groups[one.verdict, one.reason].append(one.operation.name)
    return [
        f"{_MARKS[verdict]} {verdict}, {reason}: {_few(list(dict.fromkeys(names)))}"
        for (verdict, reason), names in groups.items()
    ]


def _means_table(changes: Sequence[Change]) -> Table:
    return Table(
        title="Each service as a whole",
        header=["service", "operations", "geometric mean"],
        rows=[[one.service, one.operations, f"{one.worse:.3f}"] for one in service_means(changes)],
        legend="geometric mean of how many times worse each operation became: above 1 is worse, below 1 better",
    )
