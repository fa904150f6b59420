"""`benchmarks/test_benchmark_regression.py`, in a project of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.record import store

if TYPE_CHECKING:
    from pytest import Pytester  # noqa: PT013 - as the other tests name it

CHECK = Path(__file__).parent.parent / "benchmarks" / "test_benchmark_regression.py"
READ = (
    "def test_read(performance_profiler, size):\n    [performance_profiler.record_operation(0.01) for _ in range(5)]\n"
)
WRITE = "def test_write(performance_profiler):\n    [performance_profiler.record_operation(0.01) for _ in range(5)]\n"
SIZES = "import pytest\n@pytest.mark.parametrize('size', {sizes})\n"


def run(project: Pytester, *arguments: str, module: str) -> pytest.RunResult:
    project.makepyfile(test_benchmark_regression=CHECK.read_text(), test_custom_performance=module)
    return project.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_the_first_run_has_nothing_to_be_compared_with(project: Pytester) -> None:
    """Without a saved run of the profile the check says so and is skipped."""
    result = run(project, "-rs", module=WRITE)

    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*no run of this profile has been saved yet*", "*five runs on this machine*"])


def test_a_benchmark_that_is_gone_fails_the_run_once(project: Pytester) -> None:
    """What the last run measured and this one does not is named; the run after it starts from what there is."""
    run(project, module=SIZES.format(sizes=[1, 2]) + READ + WRITE)

    gone = run(project, module=WRITE)

    gone.assert_outcomes(passed=1, failed=1, skipped=1)
    gone.stdout.fnmatch_lines(["*and no longer: test_custom_performance.py::test_read*"])
    run(project, module=WRITE).assert_outcomes(passed=2, skipped=1)


@pytest.mark.parametrize("arguments", [("-k", "write or longer"), ("test_benchmark_regression.py",)])
def test_a_part_of_a_run_misses_nothing(project: Pytester, arguments: tuple[str, ...]) -> None:
    """Benchmarks that were not selected are not gone, nor is one whose sizes changed."""
    run(project, module=SIZES.format(sizes=[1, 2]) + READ + WRITE)

    part = run(project, *arguments, module=SIZES.format(sizes=[3]) + READ + WRITE)

    assert part.parseoutcomes().get("failed", 0) == 0


def test_a_damaged_last_run_is_not_passed_over(project: Pytester) -> None:
    """When the newest run cannot be read the check fails on it, and does not fall back to an older one."""
    for _ in range(2):
        run(project, module=WRITE)
    newest = max((project.path / store.FOLDER).glob("*.json"))
    newest.write_text("{")

    result = run(project, module=WRITE)

    result.assert_outcomes(passed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines([f"*{newest.name}: not a saved run*"])


def saved(project: Pytester, module: str, runs: int) -> None:
    """Leave as many saved runs of `module` as a history of that length has."""
    run(project, module=module)
    (first,) = (project.path / store.FOLDER).glob("*.json")
    for number in range(2, runs + 1):
        shutil.copy(first, first.with_name(f"{number:04}{first.name[4:]}"))


@pytest.mark.parametrize(("now", "outcome"), [("0.01", {"passed": 3}), ("0.02", {"passed": 2, "failed": 1})])
def test_only_what_became_slower_fails(project: Pytester, now: str, outcome: dict[str, int]) -> None:
    """Against five saved runs twice the time fails the run and is named; the same time passes."""
    saved(project, WRITE, 5)

    result = run(project, module=WRITE.replace("0.01", now))

    assert {word: count for word, count in result.parseoutcomes().items() if word != "warnings"} == outcome
    said = "slower than before: custom operation (20 ms median, was 10 ms, 2.00 times worse)"
    assert (said in result.stdout.str()) == (now == "0.02")


def test_the_check_runs_when_all_is_measured(project: Pytester) -> None:
    """The check comes last, though its module's name does not."""
    saved(project, WRITE, 5)

    result = run(project, "-v", module=WRITE)

    order = [line for line in result.outlines if "::" in line and "PASSED" in line]
    assert "test_nothing_became_slower" in order[-1]


def test_in_parallel_it_is_not_judged_and_says_so(project: Pytester) -> None:
    """Under xdist a worker does not know what the others measured: the check is skipped with its reason."""
    saved(project, WRITE, 5)

    result = run(project, "-n", "1", "-rs", module=WRITE)

    result.stdout.fnmatch_lines(["*what other processes measured is not known here*"])


def test_the_report_says_what_changed(project: Pytester) -> None:
    """`--benchmark-report` has the user's structure, with `regression_detected` as a line that grep finds."""
    saved(project, WRITE, 5)

    result = run(project, "--benchmark-report=reports/report.json", module=WRITE.replace("0.01", "0.03"))

    text = (project.path / "reports" / "report.json").read_text()
    report = json.loads(text)
    assert '"regression_detected": true' in text
    assert report["verdict"] == "failed"
    (regression,) = report["regressions"]
    assert (regression["test_name"], regression["operation_type"]) == ("custom_performance", "operation")
    assert regression["regression_details"]["relative_change"] == pytest.approx(3, rel=0.01)
    assert report["test_summary"]["custom_performance"]["regressions_detected"] == 1
    assert result.ret == 1


def test_without_a_history_the_report_is_inconclusive(project: Pytester) -> None:
    """The first run's report detects nothing and does not call that a pass."""
    run(project, "--benchmark-report=report.json", module=WRITE)

    report = json.loads((project.path / "report.json").read_text())
    assert (report["regression_detected"], report["verdict"]) == (False, "inconclusive")


def test_a_report_that_cannot_be_written_stops_the_run(project: Pytester) -> None:
    """Where the report can never be, nothing is measured: one line, exit code 2."""
    (project.path / "taken").write_text("a file")

    result = run(project, "--benchmark-report=taken/report.json", module=WRITE)

    assert result.ret == 2
    result.stdout.fnmatch_lines(["taken/report.json: not written: *"])
    assert not list((project.path / store.FOLDER).glob("*.json"))


def test_a_run_can_be_saved_elsewhere(project: Pytester) -> None:
    """`--perf-folder` takes the run, and the usual folder stays as it was."""
    run(project, "--perf-folder=elsewhere", module=WRITE)

    assert len(list((project.path / "elsewhere").glob("*.json"))) == 1
    assert not (project.path / store.FOLDER).exists()
