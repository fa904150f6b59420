"""What the user's own code saves and loads: one line of JSON a benchmark, and the figures of saved runs beside them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock, Timeout

from perf.errors import MeasurementError, SaveError, UnreadableRunError
from perf.record import store
from perf.record.benchmark import PerformanceBenchmark
from perf.record.index import summaries

if TYPE_CHECKING:
    from perf.record.summary import Figures

FILE = "benchmarks.jsonl"
"""Where benchmarks are saved one by one, in the folder of the runs."""

_LOCK_SECONDS = 60
_NAMES = {
    "mean": "avg_operation_time",
    "median": "median_operation_time",
    "min": "min_operation_time",
    "p95": "p95_operation_time",
}


class BenchmarkStorage:
    """The benchmarks in `folder`, by default those of the folder the program runs in."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else Path.cwd() / store.FOLDER

    def save_benchmark(self, benchmark: PerformanceBenchmark) -> None:
        """Keep a benchmark, after all others. SaveError says why it was not; what was saved before stays whole."""
        path = self.folder / FILE
        line = msgspec.json.encode(benchmark) + b"\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".benchmarks.lock", timeout=_LOCK_SECONDS):
                _append(path, line)
        except (OSError, Timeout) as error:
            raise SaveError(f"{path}: the benchmark was not saved: {error}; free space or make it writable") from None

    def load_benchmarks(self, test_name: str, operation_type: str, days_back: float = 30) -> list[PerformanceBenchmark]:
        """Return the figures of an operation in the last `days_back` days, oldest first.

        Those saved one by one, and those of saved runs: there `test_name` is a service and "_performance", and
        `operation_type` an operation, with its parameters where it has some ("cache_get[1KiB]"). UnreadableRunError
        on a line that is damaged.
        """
        if not days_back > 0:
            raise MeasurementError(f"days_back {days_back}: must be above 0")
        since = datetime.now(UTC) - timedelta(days=min(days_back, 36_500))
        found = [*self._saved(), *self._measured(test_name, operation_type)]
        wanted = [one for one in found if (one.test_name, one.operation_type) == (test_name, operation_type)]
        return sorted((one for one in wanted if one.timestamp.astimezone(UTC) >= since), key=_when)

    def _saved(self) -> list[PerformanceBenchmark]:
        path = self.folder / FILE
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableRunError(f"{path}: {error.strerror}") from None
        return [_decode(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]

    def _measured(self, test_name: str, operation_type: str) -> list[PerformanceBenchmark]:
        return [
            PerformanceBenchmark(
                test_name=test_name,
                operation_type=operation_type,
                timestamp=datetime.fromisoformat(run.created),
                metrics=_metrics(figures),
            )
            for run in summaries(self.folder).runs
            for figures in run.figures
            if f"{figures.operation.service}_performance" == test_name
            and figures.operation.name == operation_type
            and figures.operation.kind != "process"
        ]


def _metrics(figures: Figures) -> dict[str, float]:
    return {_NAMES.get(name, name): metric.value for name, metric in figures.metrics.items()}


def _when(benchmark: PerformanceBenchmark) -> datetime:
    return benchmark.timestamp.astimezone(UTC)


def _append(path: Path, line: bytes) -> None:
    """Add a line whole; when it cannot be written in full, cut the file back to what it was."""
    with path.open("ab") as file:
        before = file.tell()
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


def _decode(line: bytes, path: Path, number: int) -> PerformanceBenchmark:
    try:
        return msgspec.json.decode(line, type=PerformanceBenchmark)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableRunError(f"{path}:{number}: damaged ({error}): mend or remove the line") from None
