"""A judgement in every format, against golden files; `python -m tests.test_judgement_report` writes them anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.judge.changes import judge_changes
from perf.judge.gate import Judgement, judge_together
from perf.judge.limits import LimitVerdict
from perf.judge.thresholds import Limit
from perf.judge.verdict import RunVerdict
from perf.record.run import Metric
from perf.record.summary import Figures, Operation, RunSummary
from perf.report.judgement import render_markdown, render_text
from perf.report.junit import render_junit
from perf.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATENCY = {"cache_get[1KiB]": 0.0002, "cache_set[1KiB]": 0.00021, "cache_<b>|x": 0.002, "session_create": 0.0014}


def _run(number: int, factors: dict[str, float]) -> RunSummary:
    """Return a run of which each operation takes its factor times the usual, within half a percent."""
    noise = 1 + 0.005 * ((number * 7) % 5 - 2) / 2
    figures = [
        Figures(
            Operation(name.partition("_")[0], name, f"benchmarks/test.py::test_{name}", name, "latency", 1),
            {"median": Metric(factors[name] * seconds * noise, "s", "lower")},
            100,
        )
        for name, seconds in LATENCY.items()
        if name in factors
    ]
    load = Operation("cache", "cache_at_once", "benchmarks/test.py::test_cache_at_once[5]", "cache_at_once", "load", 5)
    figures.append(Figures(load, {"throughput": Metric(2400.0 * noise, "1/s", "higher")}, 0))
    return RunSummary(
        number=number, name=f"{number:04}_prod_20261124T120000_aaaaaaaaaaaa.json", profile="prod",
        created=f"2026-11-{number:02}T12:00:00+00:00", commit="aaaaaaaaaaaa", build="khive 0.4.0", verdict="passed",
        machine="2 × CPU", settings="rounds 100", untimed=None, figures=figures,
    )  # fmt: skip


def judgement() -> Judgement:
    """Return one with a regression, an improvement, something missing and something new, and a limit of each kind."""
    usual = dict.fromkeys(("cache_get[1KiB]", "cache_set[1KiB]", "session_create"), 1.0)
    history = [_run(number, usual) for number in range(1, 11)]
    present = [_run(11, {"cache_get[1KiB]": 1.5, "cache_set[1KiB]": 0.5, "cache_<b>|x": 1.0})]
    changes = judge_changes(history[-1:], present, history[:-1], tolerance=0.2, confidence=0.99)
    limit = Limit(
        service="cache",
        name="cache_get_ms",
        operation="cache_get",
        statistic="p95",
        bound=0.003,
        source="thresholds.toml",
    )
    limits = (
        LimitVerdict(limit=limit, verdict="passed", actual=0.0004, samples=100),
        LimitVerdict(limit=limit, verdict="missing", reason="nothing in this run measured it"),
    )
    own = RunVerdict(
        word="inconclusive", sentence="1 limit missing a measurement, 0 limits with too few samples; 1 limit held."
    )
    return Judgement(
        profile="prod",
        baseline=(history[-1].name,),
        history=9,
        current=(present[0].name,),
        began=history[0].created,
        ended=present[0].created,
        tolerance=0.2,
        confidence=0.99,
        limits=limits,
        changes=tuple(changes),
        differences=("lionagi 0.15.9 → 0.15.11",),
        warnings=("0003_prod.json: the file is empty; delete it and measure again",),
        verdict=judge_together(own, changes),
    )


def _json(one: Judgement) -> str:
    return json.dumps(summarise(one, NOW), indent=2, ensure_ascii=False) + "\n"


RENDERERS: dict[str, Callable[[Judgement], str]] = {
    "judgement.txt": lambda one: render_text(one) + "\n",
    "judgement.md": render_markdown,
    "judgement.xml": render_junit,
    "judgement.json": _json,
}


@pytest.mark.parametrize("name", RENDERERS)
def test_the_report_is_as_agreed(name: str) -> None:
    """Every format of one judgement is, to the letter, what its golden file holds."""
    assert RENDERERS[name](judgement()) == (GOLDEN / name).read_text(encoding="utf-8")


def test_nothing_undecided_reads_as_a_pass() -> None:
    """In JUnit what is missing is an error, what regressed a failure, and the whole has a case of its own."""
    from xml.etree import ElementTree as ET

    suite = ET.fromstring(render_junit(judgement()))[0]  # noqa: S314 - our own

    kinds = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert kinds["session_create median"] == ["error"]
    assert kinds["cache_get[1KiB] median"] == ["failure"]
    assert kinds["verdict"] == ["failure"]
    assert suite.attrib["failures"] == "2"


if __name__ == "__main__":
    for name, render in RENDERERS.items():
        (GOLDEN / name).write_text(render(judgement()), encoding="utf-8")
