"""The README is true: its commands run, its code runs, its figures are what the suite prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .clone import ROOT
from .readme import FIRST_BLOCK, README, blocks, commands

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from .clone import Clone

HOW_TO = [command for block in blocks("bash")[1:] for command in commands(block)]


def test_first_block_is_the_two_commands() -> None:
    """The first code block holds the main job and the tests, one line each, and nothing else."""
    assert README.index("```bash") == README.index("```")
    assert [command.rpartition(" ")[2] for command in FIRST_BLOCK] == ["perf", "tests"]


@pytest.mark.parametrize("command", HOW_TO)
def test_how_to_command_works(command: str, clone: Clone, main_job: subprocess.CompletedProcess[str]) -> None:
    """Each how-to command, run as it stands in the README, ends well; a task that judges may say that it cannot yet."""
    assert main_job.returncode == 0

    done = clone.run(command, PERF_STRESS_DURATION_SEC="1")

    judges = command.startswith(("invoke compare", "invoke release-gate", "invoke quick-check"))
    codes = {0, 1, 3} if judges else {0, 1} if "nox -s ab" in command else {0}  # nox turns every failure into 1
    assert done.returncode in codes, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    assert "nox -s ab" not in command or "\nverdict: " in done.stdout, done.stdout[-3000:]
    if judges:
        words = {0: "passed", 1: "failed", 3: "inconclusive"}
        assert done.stdout.splitlines()[-1] == f"verdict: {words[done.returncode]}", done.stdout[-3000:]


def test_example_benchmarks_are_measured_and_judged(clone: Clone) -> None:
    """The README's benchmarks run with the README's limits, each of them is measured, and the run passes."""
    example, thresholds = clone.path / "benchmarks" / "test_notes_performance.py", clone.path / "thresholds.toml"
    before = thresholds.read_text()
    example.write_text(blocks("python")[1])
    thresholds.write_text(before + blocks("toml")[1])
    try:
        done = clone.run("nox -t dev -- -k notes")
    finally:
        example.unlink()
        thresholds.write_text(before)

    assert done.returncode == 0, done.stdout[-3000:]
    for limit in ("save_ms", "throughput_ops_per_sec", "memory_limit_mb"):
        assert f"✓   notes      {limit}" in done.stdout


def test_example_of_percentiles_is_a_valid_table() -> None:
    """The README's table of percentiles gives three limits."""
    from perf.judge.thresholds import resolve

    defaults = (ROOT / "thresholds.toml").read_text().partition("[profiles.dev]")[0]

    limits = resolve(defaults + blocks("toml")[0], {}, "prod").limits

    assert [limit.statistic for limit in limits if limit.name == "cache_get_ms"] == ["p50", "p95", "p99"]


@pytest.mark.parametrize("index", [0, 2, 3, 4])
def test_example_of_the_library_runs(clone: Clone, tmp_path: Path, index: int) -> None:
    """The README's uses of the library without pytest run, their assertions included."""
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[index])

    done = clone.run(f"cd {tmp_path} && {clone.path}/.nox/perf-dev/bin/python {script}")

    assert done.returncode == 0, done.stdout


def test_table_of_verdicts_matches_the_exit_codes() -> None:
    """The README's exit codes are the ones the judge uses."""
    from perf.judge.verdict import EXIT_CODES

    for word, code in EXIT_CODES.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| {word} |"))
        assert row.endswith(f"| {code} |")


def test_every_variable_of_the_settings_is_in_the_readme() -> None:
    """Each limit's short variable can be found in the README, in full or by its ending."""
    from perf.judge.schema import KNOWN_LIMITS

    for service, limits in KNOWN_LIMITS.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| {service} | `PERF"))
        for variable in limits.values():
            assert variable in row or f"`…_{variable.removeprefix(f'PERF_{service.upper()}_')}`" in row
