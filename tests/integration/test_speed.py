"""How fast a long history is read, beside `pytest-benchmark compare` on the same files and machine."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.saved_runs import write_run

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS, OPERATIONS, ROUNDS = 1000, 60, 100
REPOSITORY = Path(__file__).parents[2]
MEGABYTES = 1e6

# The peak is that of this program alone: `ru_maxrss` would count the process that started it, too.
READER = """
import sys
from pathlib import Path
from perf.record.index import summaries
saved = summaries(Path(sys.argv[1]))
figures = sum(len(run.figures) for run in saved.runs)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(len(saved.runs), len(saved.unreadable), figures, int(peak.split()[1]) * 1024)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """What a program printed, and its wall time in seconds, start-up included."""

    output: str
    seconds: float

    @classmethod
    def run(cls, *command: str) -> Timed:
        start = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=True, timeout=120, cwd=REPOSITORY
        )
        return cls(output=answer.stdout, seconds=time.perf_counter() - start)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A thousand runs of 60 operations with 100 rounds each: 176 MB, removed when done."""
    folder = tmp_path_factory.mktemp("history")
    chance = random.Random(1)
    for number in range(1, RUNS + 1):
        times = {
            f"cache_get_{one}[1KiB]": [chance.lognormvariate(-7, 0.1) for _ in range(ROUNDS)]
            for one in range(OPERATIONS)
        }
        write_run(folder, number=number, commit=f"{number:012x}", times=times)
    yield folder
    shutil.rmtree(folder)


def test_a_thousand_runs_are_read_ten_times_as_fast_as_pytest_benchmark_compares_them(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand runs are read whole in under 300 MB, indexed ten times as fast as pytest-benchmark, else thrice."""
    cold = Timed.run("-c", READER, str(history))
    warm = Timed.run("-c", READER, str(history))
    theirs = Timed.run("-m", "pytest_benchmark", f"--storage={history}", "compare")

    peaks = []
    for ours in (cold, warm):
        *counts, peak = map(int, ours.output.split())
        assert counts == [RUNS, 0, RUNS * OPERATIONS]
        peaks.append(peak / MEGABYTES)
    said = (
        f"\n{RUNS} runs: {cold.seconds:.2f} s and {peaks[0]:.0f} MB without the index, {warm.seconds:.2f} s and "
        f"{peaks[1]:.0f} MB with it; pytest-benchmark compare {theirs.seconds:.1f} s\n"
    )
    with capsys.disabled():
        sys.stdout.write(said)
    assert theirs.output.count("cache_get_") >= RUNS * OPERATIONS
    assert max(peaks) < 300
    assert theirs.seconds / warm.seconds >= 10
    assert theirs.seconds / cold.seconds >= 3


def test_one_run_more_costs_one_file(history: Path) -> None:
    """After a run more, reading takes about what the index takes: not what reading everything anew takes."""
    (history / ".index").unlink(missing_ok=True)
    cold = Timed.run("-c", READER, str(history))
    write_run(history, number=RUNS + 1)

    after = Timed.run("-c", READER, str(history))

    assert after.output.startswith(f"{RUNS + 1} 0 ")
    assert cold.seconds / after.seconds >= 1.5
