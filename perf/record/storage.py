"""Benchmarks that the user's own code saves and loads, beside those that saved runs hold."""

from __future__ import annotations

import errno
import math
import os
import textwrap
import warnings
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock

from perf.errors import MeasurementError, SaveError, UnreadableRunError
from perf.record.benchmark import PerformanceBenchmark
from perf.record.index import summaries
from perf.record.store import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.record.summary import Figures, RunSummary

FILE = "benchmarks.jsonl"
FORMAT = 1

_LOCK_SECONDS = 60
_SECONDS_PER_DAY = 86_400


class _Line(msgspec.Struct, frozen=True):
    format: int
    benchmark: PerformanceBenchmark


_LINE = msgspec.json.Decoder(_Line)


class BenchmarkStorage:
    """Benchmarks in a folder, by default the one that runs are saved in, below the folder the suite runs in."""

    def __init__(self, folder: Path | str = FOLDER) -> None:
        self._folder = Path(folder)

    def save_benchmark(self, benchmark: PerformanceBenchmark) -> None:
        """Keep `benchmark` as one line more, whole or not at all.

        MeasurementError if a figure is not a finite number, SaveError if it cannot be kept.
        """
        line = msgspec.json.encode(_Line(format=FORMAT, benchmark=_checked(benchmark))) + b"\n"
        path = self._folder / FILE
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{FILE}.lock"), timeout=_LOCK_SECONDS):
                _append(path, line)
        except (OSError, TimeoutError) as error:
            raise SaveError(f"the benchmark was not kept in {path}: {error}; free space or make it writable") from None

    def load_benchmarks(self, test_name: str, operation_type: str, days_back: float = 30) -> list[PerformanceBenchmark]:
        """Return the benchmarks of an operation of the last days, oldest first, their timestamps in UTC.

        They are those that were saved here, and what the saved runs measured one at a time: for these `test_name` is
        `<service>_performance`, and `operation_type` an operation, or one of its parameters (`cache_get[1KiB]`);
        without them it gives each parameter's figures as a benchmark of its own, whose `operation_type` tells which.
        Only runs like the newest count (same profile, machine and settings), and none without timings.

        What cannot be read is left out with a warning that names it; UnreadableRunError if nothing there can be.
        """
        problems: list[str] = []
        found = [
            *(
                one
                for one in self._saved(problems)
                if (one.test_name, one.operation_type) == (test_name, operation_type)
            ),
            *self._measured(test_name, operation_type, problems),
        ]
        for problem in problems:
            warnings.warn(f"{problem}; it was left out", stacklevel=2)
        now = datetime.now(UTC)
        recent = [one for one in found if (now - one.timestamp).total_seconds() <= days_back * _SECONDS_PER_DAY]
        return sorted(recent, key=lambda benchmark: benchmark.timestamp)

    def _saved(self, problems: list[str]) -> Iterator[PerformanceBenchmark]:
        path = self._folder / FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnreadableRunError(f"{path}: {error.strerror}; make it readable") from None
        whole = content.split(b"\n")[:-1]  # a last line without its end is being saved
        for number, line in enumerate(whole, start=1):
            try:
                yield _decoded(line)
            except (ValueError, RecursionError, msgspec.MsgspecError) as error:
                problems.append(f"{path}, line {number}: not a benchmark ({error}): mend or delete the line")

    def _measured(self, test_name: str, operation_type: str, problems: list[str]) -> Iterator[PerformanceBenchmark]:
        saved = summaries(self._folder)
        problems += [f"{self._folder}{os.sep}{unreadable.reason}" for unreadable in saved.unreadable]
        alike = [run for run in saved.runs if _kind(run) == _kind(saved.runs[-1]) and not run.untimed]
        for run in alike:
            for figures in run.figures:
                key = figures.operation
                asked = test_name == f"{key.service}_performance" and operation_type in {key.operation, key.name}
                if asked and key.kind == "latency":
                    yield _benchmark(test_name, run, figures)


def _kind(run: RunSummary) -> tuple[str, str, str]:
    return run.profile, run.machine, run.settings


def _benchmark(test_name: str, run: RunSummary, figures: Figures) -> PerformanceBenchmark:
    seconds = {name: metric.value for name, metric in figures.metrics.items()}
    return PerformanceBenchmark(
        test_name=test_name,
        operation_type=figures.operation.name,
        timestamp=_utc(datetime.fromisoformat(run.created)),
        metrics={
            "avg_operation_time": seconds["mean"],
            "median_operation_time": seconds["median"],
            "p50_operation_time": seconds["median"],  # as the profiler calls it
            "p95_operation_time": seconds["p95"],
            "min_operation_time": seconds["min"],
            "throughput": 1.0 / seconds["mean"],
        },
    )


def _checked(benchmark: PerformanceBenchmark) -> PerformanceBenchmark:
    """Return `benchmark` as it is kept: plain numbers, and its time in UTC."""
    where = f"the benchmark of {benchmark.operation_type!r}"
    if not isinstance(benchmark.metrics, dict):
        raise MeasurementError(f"{where} has metrics that are no dict: give numbers by name")
    for name, value in benchmark.metrics.items():
        if not isinstance(name, str) or not _is_figure(value):
            raise MeasurementError(
                f"{where} has {name!r} = {textwrap.shorten(repr(value), 40)}: give a finite number by a name"
            )
    try:
        kept = PerformanceBenchmark(
            test_name=benchmark.test_name,
            operation_type=benchmark.operation_type,
            timestamp=_utc(benchmark.timestamp),
            metrics={name: float(value) for name, value in benchmark.metrics.items()},
        )
        return msgspec.json.decode(msgspec.json.encode(kept), type=PerformanceBenchmark)
    except (AttributeError, TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise MeasurementError(f"{where} cannot be kept ({error}): give names as text and a datetime") from None


def _is_figure(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _decoded(line: bytes) -> PerformanceBenchmark:
    found = _LINE.decode(line)
    if found.format != FORMAT:
        raise ValueError(f"format {found.format}, and this suite reads format {FORMAT}")
    return msgspec.structs.replace(found.benchmark, timestamp=_utc(found.benchmark.timestamp))


def _append(path: Path, line: bytes) -> None:
    """Write `line` after what is there, or leave that as it was with an OSError."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and not _ends_a_line(file.fileno(), size):
            line = b"\n" + line  # a save that was cut short must not spoil this one
        try:
            _write(file.fileno(), line)
        except OSError:
            file.truncate(size)
            raise


def _write(file: int, line: bytes) -> None:
    if os.write(file, line) < len(line):
        raise OSError(errno.ENOSPC, "no space left for it")
    os.fsync(file)


def _ends_a_line(file: int, size: int) -> bool:
    return os.pread(file, 1, size - 1) == b"\n"
