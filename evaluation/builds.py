"""Two builds in lockstep: false alarms and power of `nox -s ab`, beside pytest-benchmark's rule on the same budget."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evaluation.slowed import write_slowed
from evaluation.table import Table, rate
from perf.judge.ab import LOOKS, judge_builds, judge_pairs
from perf.pairing import BASELINE, CURRENT, Request, compare_builds
from perf.settings import read_settings
from perf.sides import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from perf.record.ab import Compared, PairedRun

KINDS = {
    "pure Python": [
        *(f"dependency_graph[{agents}]" for agents in (20, 50, 100, 200)),
        "consensus", "key_hashing", "gate_field", "plan_field", "role_selection[complex]",
        "complexity_assessment[complex]",
    ],
    "async": [
        "timeout_overhead", "startup", "session_create", "simple_operation[implementer]",
        "simple_operation[researcher]", "session_grow[1]", "session_grow[10]", "session_save[1]", "hook_event_write",
        "hook_events_read",
    ],
    "Redis": [
        *(f"cache_{way}[{size}KiB]" for way in ("get", "set") for size in (1, 10, 100)),
        "cache_miss", "expired_get", "large_object_get[1MiB]", "large_object_set[1MiB]",
    ],
    "file": [
        *(f"registry_{way}[{entries}]" for way in ("save", "load") for entries in (10, 100, 1000)),
        *(f"file_{way}[{size}KiB]" for way in ("read", "write") for size in (1, 10, 100)),
    ],
}  # fmt: skip
"""The benchmarks of each kind of operation."""

UNSLOWED = {
    "key_hashing", "gate_field", "plan_field", "role_selection[complex]", "complexity_assessment[complex]",
    "session_grow[10]", "session_save[1]", "hook_event_write", "hook_events_read", "cache_miss", "expired_get",
}  # fmt: skip
"""Those that the slowed copy does not slow as a whole."""

_SLOW = "(10MiB or (session_grow and 100) or (session_save and 10))"

TOLERANCE = 0.01
CONFIDENCE = 0.99
RULE = "pytest-benchmark mean:5%"


@dataclass(kw_only=True)
class Trial:
    """What comparisons of one kind at one true change came to; `seconds` are those of measuring, of each."""

    asked: int = 0
    regressed: int = 0
    passed: int = 0
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def tables(*, quick: bool) -> Iterator[Table]:
    """Give the tables of comparisons of two builds; each but the last is what was found so far."""
    order = [0.0, 0.03, 0.05, 0.10] if quick else [0.0, 0.03, 0.05, 0.10, 0.0, 0.0, 0.0, 0.03]
    ours: dict[tuple[str, float], Trial] = defaultdict(Trial)
    theirs: dict[tuple[str, float], Trial] = defaultdict(Trial)
    suites: list[PairedRun] = []
    with TemporaryDirectory(prefix="khive-perf-evaluate-") as name:
        folder = Path(name)
        pythons = _environments(folder, order)
        for number, change in enumerate(order):
            names = [one for kind in KINDS.values() for one in kind if not change or one not in UNSLOWED]
            run = compare_builds(_request(pythons[0.0], pythons[change], names), os.environ, _say)
            suites += [run] if not change else []
            _count(run, change, ours)
            if change not in order[:number]:
                seconds = median(second for trial in ours.values() for second in trial.seconds) / 2
                _pytest_benchmark(pythons[0.0], pythons[change], names, seconds, (change, theirs))
            yield _table(ours, theirs, suites)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _environments(folder: Path, changes: Iterable[float]) -> dict[float, str]:
    settings = read_settings(Path.cwd(), os.environ, "dev")
    base = prepare(Path.cwd(), folder, settings, {"baseline": "khive==0.4.0"}, _say)["baseline"]
    [installed] = (Path(base).parents[1] / "lib").glob("python3*/site-packages")
    pythons = {0.0: base}
    for change in sorted(set(changes)):
        if change:
            name = f"slowed{round(1000 * change)}"
            source = write_slowed(installed, folder / name, change)
            pythons[change] = prepare(Path.cwd(), folder, settings, {name: str(source)}, _say)[name]
    return pythons


def _request(baseline: str, current: str, names: Sequence[str]) -> Request:
    return Request(
        root=Path.cwd(),
        profile="dev",
        specs={BASELINE: baseline, CURRENT: current},
        pythons={BASELINE: baseline, CURRENT: current},
        selection=["-k", _expression(names), "-m", "benchmark"],
        tolerance=TOLERANCE,
        confidence=CONFIDENCE,
        budget=3600.0,
        asked=1,
    )


def _expression(names: Sequence[str]) -> str:
    """Return what selects the tests; pytest takes no brackets there, so it may select a few more, but no slow ones."""
    named = " or ".join(dict.fromkeys(f"test_{name.partition('[')[0]}" for name in names))
    return f"({named}) and not {_SLOW}"


def _count(run: PairedRun, change: float, found: dict[tuple[str, float], Trial]) -> None:
    """Add what became of each operation by itself, as if nothing else had been asked."""
    for one in run.compared:
        for kind, names in KINDS.items():
            if one.operation.name in names and not (change and one.operation.name in UNSLOWED):
                trial = found[kind, change]
                verdict, seconds, ratio = _settled(one)
                trial.asked += 1
                trial.regressed += verdict == "regressed"
                trial.passed += verdict == "passed"
                trial.seconds.append(seconds)
                trial.ratios.append(ratio)


def _settled(one: Compared) -> tuple[str, float, float]:
    """Return the verdict at the look that settled it, the seconds of measuring until then, and the ratio."""
    looks = {
        look: judge_pairs(one.pairs[:look], tolerance=TOLERANCE, confidence=CONFIDENCE)
        for look in LOOKS
        if look <= len(one.pairs)
    }
    settled = [look for look, comparison in looks.items() if comparison.verdict != "inconclusive"]
    look = min(settled, default=max(looks))
    return looks[look].verdict, sum(pair.seconds for pair in one.pairs[:look]), looks[look].ratio or 0.0


def _pytest_benchmark(
    baseline: str,
    current: str,
    names: Sequence[str],
    seconds: float,
    into: tuple[float, dict[tuple[str, float], Trial]],
) -> None:
    """Run pytest-benchmark itself on either build, `seconds` an operation, and hold its means against its rule."""
    change, found = into
    means = [_means(python, names, seconds) for python in (baseline, current)]
    for name in means[0].keys() & means[1].keys():
        for kind, members in KINDS.items():
            if name in members and not (change and name in UNSLOWED):
                trial = found[kind, change]
                trial.asked += 1
                trial.regressed += means[1][name] > 1.05 * means[0][name]


def _means(python: str, names: Sequence[str], seconds: float) -> dict[str, float]:
    with TemporaryDirectory() as name:
        command = [
            *(python, "-m", "pytest", "benchmarks", "-q", "-m", "benchmark", "-k", _expression(names)),
            *(f"--benchmark-max-time={seconds:.3f}", f"--perf-folder={name}"),
        ]
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
        [saved] = Path(name).glob("*.json")
        benchmarks = json.loads(saved.read_text("utf-8"))["benchmarks"]
    return {re.sub("^test_", "", one["name"]): one["stats"]["mean"] for one in benchmarks}


def _table(
    ours: Mapping[tuple[str, float], Trial], theirs: Mapping[tuple[str, float], Trial], suites: Sequence[PairedRun]
) -> Table:
    rows = []
    for (kind, change), trial in sorted(ours.items(), key=lambda item: (list(KINDS).index(item[0][0]), item[0][1])):
        other = theirs.get((kind, change))
        rows.append(
            [
                kind,
                f"+{change:.0%}" if change else "none",
                f"{median(trial.ratios) - 1:+.1%}",
                _of(trial, change),
                f"{trial.passed} of {trial.asked}",
                f"{median(trial.seconds):.1f} s",
                f"{max(trial.seconds):.1f} s",
                _of(other, change) if other else "-",
            ]
        )
    failed = sum(any(one.verdict == "regressed" for one in judge_builds(run)) for run in suites)
    return Table(
        title="Two builds in lockstep",
        header=["kind", "true change", "seen", "called regressed", "passed", "measured", "at most", RULE],
        rows=rows,
        note=(
            f"`nox -s ab` at a tolerance of {TOLERANCE:.0%} and a confidence of {CONFIDENCE:.0%}, each operation by "
            "itself; none: the same build twice, so what is called regressed is false; measured: seconds of measuring "
            "an operation, median and most. pytest-benchmark measured either build half as long. Judged together, as "
            f"`nox -s ab` does, {failed} of {len(suites)} comparisons of the same build had a false regression."
        ),
    )


def _of(trial: Trial, change: float) -> str:
    if change:
        return f"{trial.regressed} of {trial.asked}"
    return f"{trial.regressed} of {trial.asked}, {rate(trial.regressed, trial.asked)}" if trial.asked else "-"
