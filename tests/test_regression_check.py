"""`benchmarks/test_benchmark_regression.py`, in a project of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.record import store

if TYPE_CHECKING:
    from pytest import Pytester  # noqa: PT013 - as the other tests name it

CHECK = Path(__file__).parent.parent / "benchmarks" / "test_benchmark_regression.py"
READ = "def test_read(performance_profiler, size):\n    performance_profiler.record_operation(0.01)\n"
WRITE = "def test_write(performance_profiler):\n    performance_profiler.record_operation(0.01)\n"
SIZES = "import pytest\n@pytest.mark.parametrize('size', {sizes})\n"


def run(project: Pytester, *arguments: str, module: str) -> pytest.RunResult:
    project.makepyfile(test_benchmark_regression=CHECK.read_text(), test_custom_performance=module)
    return project.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_the_first_run_has_nothing_to_be_compared_with(project: Pytester) -> None:
    """Without a saved run of the profile the check says so and is skipped."""
    result = run(project, "-rs", module=WRITE)

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*no run of this profile has been saved yet*"])


def test_a_benchmark_that_is_gone_fails_the_run_once(project: Pytester) -> None:
    """What the last run measured and this one does not is named; the run after it starts from what there is."""
    run(project, module=SIZES.format(sizes=[1, 2]) + READ + WRITE)

    gone = run(project, module=WRITE)

    gone.assert_outcomes(passed=1, failed=1)
    gone.stdout.fnmatch_lines(["*and no longer: test_custom_performance.py::test_read*"])
    run(project, module=WRITE).assert_outcomes(passed=2)


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

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*{newest.name}: not a saved run*"])
