"""The quick check: a handful of fast operations of real khive against the baseline, in seconds, before a commit."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import perf
from perf.errors import MeasurementError, PerfError
from perf.judge.changes import holm, judge_changes, that_stand
from perf.judge.gate import judge_together
from perf.judge.verdict import FAILED, RunVerdict
from perf.judging import open_archive
from perf.record import store
from perf.record.index import load_summary
from perf.report.judgement import changes_table
from perf.report.tables import as_text, plain
from perf.services.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perf.record.run import Run
    from perf.record.summary import RunSummary

PROFILE = "dev"
TOLERANCE = 1.0
"""Twice as slow: what a look of a few seconds can tell from noise."""

CONFIDENCE = 0.99
SECONDS_PER_BENCHMARK = 0.1
"""Less than a run takes, and enough to tell twice as slow; importing khive takes most of the time."""

SECONDS = 120.0
"""After so long it is given up; it usually takes less than 10."""

_UNNEEDED = ("cacheprovider", "xdist", "forked", "rerunfailures", "hypothesispytest", "anyio", "typeguard")
_SECONDS_TO_CLEAN_UP = 20.0


def main() -> None:
    """Run the quick check as a program, for repositories that have no tasks.py."""
    parser = argparse.ArgumentParser(prog="khive-performance-quick-check", description=quick_check.__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="where .khive/performance is (default: here)")
    try:
        sys.exit(quick_check(parser.parse_args().root, os.environ))
    except PerfError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def quick_check(root: Path, environ: Mapping[str, str]) -> int:
    """Measure the operations marked quick against the baseline of dev below `root`, and return the exit code.

    It is 0 when each was shown not to be twice as slow, 1 when one is or a benchmark fails, 3 when it cannot be said.
    NoHistoryError without a baseline, MeasurementError when nothing could be measured. Nothing is saved.
    """
    archive = open_archive(root)
    (baseline,) = archive.select("baseline", PROFILE)
    print("Measuring a handful of fast operations …", file=sys.stderr)
    with store.claim(archive.folder), scratch_folder(prefix="khive-perf-quick-") as folder:
        path = _measure(folder, environ)
        run, present = store.load(path), load_summary(path)
    selected = {one.operation.test for one in present.figures} | {one.origin.test for one in run.failures}
    history = archive.before(baseline, ())
    changes = judge_changes(
        [_only(baseline, selected)],
        [present],
        [_only(one, selected) for one in history],
        tolerance=TOLERANCE,
        confidence=CONFIDENCE,
    )
    changes = that_stand(changes, 1 - CONFIDENCE, holm)
    verdict = judge_together(_own(run), changes)
    print(as_text(changes_table(changes, CONFIDENCE)))
    print(f"\n{plain(verdict.sentence)}")
    if verdict.word not in {"passed", FAILED} and len(history) < 4:  # noqa: PLR2004 - with the baseline five
        print("Each `nox -t dev -- -m quick` adds a run to the history in seconds; then promote the last one.")
    print(f"verdict: {verdict.word}")
    return verdict.exit_code


def _own(run: Run) -> RunVerdict:
    """Return what the check's own run came to: its limits, and whether its benchmarks failed."""
    reasons = [f"{one.origin.operation}: {one.reason}" for one in run.failures]
    return RunVerdict(word=run.verdict, sentence=f"The run itself {run.verdict}. {' '.join(reasons)}".strip())


def _only(run: RunSummary, tests: set[str]) -> RunSummary:
    return msgspec.structs.replace(run, figures=[one for one in run.figures if one.operation.test in tests])


def _suite() -> Path:
    """Return the folder with the benchmarks and their settings: a checkout, or what the wheel brings."""
    package = Path(perf.__file__).parent
    return package.parent if (package.parent / "benchmarks").is_dir() else package / "suite"


def _measure(folder: Path, environ: Mapping[str, str]) -> Path:
    """Run the quick benchmarks in a process of their own, and return the run they saved in `folder`."""
    suite = _suite()
    command = [
        *(sys.executable, "-m", "pytest", "benchmarks", "-m", "quick", "-q", "--disable-warnings", "--no-header"),
        *("--rootdir", str(suite), "-c", str(suite / "pyproject.toml"), "--perf-profile", PROFILE),
        *(f"--perf-folder={folder}", f"--benchmark-max-time={SECONDS_PER_BENCHMARK}"),
        *(part for name in _UNNEEDED for part in ("-p", f"no:{name}")),
    ]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=suite, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(_SECONDS_TO_CLEAN_UP)
            raise MeasurementError(f"the quick check took longer than {SECONDS:.0f} s and was given up") from None
        except KeyboardInterrupt:
            process.wait(_SECONDS_TO_CLEAN_UP)  # it was interrupted too, and cleans up
            raise
    saved = sorted(folder.glob("*.json"))
    if not saved:
        raise MeasurementError(f"nothing was measured: {_reason(said)}")
    return saved[0]


def _reason(said: str) -> str:
    """Return the line of pytest's output that says why it stopped."""
    own = re.compile(r"[=!]|no tests|\d+ \w+.* in [\d.]+s")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not own.match(line.strip())]
    return plain(lines[-1]) if lines else "pytest said nothing"


if __name__ == "__main__":
    main()
